"""Augmented transformer on atoms that corrects ridge regression.

    keras-remul train recipes/xtb_md_transformer_augmented_ridge.py

Test MSE: aspirin 0.0179, ethanol 0.023, naphthalene 0.000421, uracil 0.000816
(1 seed; 5 min on one CPU core, JAX).
Reference: REMUL, arXiv 2410.17878.
"""

from xtb_md_transformer_augmented import RECIPE as ALONE
from xtb_md_transformer_plain_ridge import on_ridge

RECIPE = on_ridge(ALONE)
