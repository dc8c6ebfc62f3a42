"""Transformer with REMUL, target="labels", on five charged bodies."""

from nbody_charged_transformer_plain import RECIPE as PLAIN

RECIPE = PLAIN.replace(objective=dict)
