"""Transformer on moved atoms, 50 fs ahead: as many passes as REMUL.

    keras-remul train recipes/xtb_md_transformer_augmented.py

Test MSE: aspirin 0.041, ethanol 0.0336, naphthalene 0.00856, uracil 0.0102
(1 seed; 3 min on one CPU core, JAX).
Reference: REMUL, arXiv 2410.17878.
"""

from nbody_charged_transformer_augmented import RECIPE as AUGMENTED
from xtb_md_transformer_plain import RECIPE as PLAIN

RECIPE = PLAIN.replace(objective=AUGMENTED.objective)
