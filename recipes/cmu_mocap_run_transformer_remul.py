"""Transformer with REMUL on a runner: turns about the vertical, mirror images.

The objective keeps the orientation of the data: runners run upright and one
way.
"""

from cmu_mocap_run_transformer_plain import RECIPE as PLAIN

RECIPE = PLAIN.replace(objective=dict)
