"""Transformer on a runner, turned and mirrored: as many passes as REMUL."""

from cmu_mocap_run_transformer_plain import RECIPE as PLAIN
from nbody_charged_transformer_augmented import RECIPE as AUGMENTED

RECIPE = PLAIN.replace(objective=AUGMENTED.objective)
