"""EGNN on atoms that corrects ridge regression.

    keras-remul train recipes/xtb_md_egnn_ridge.py

Test MSE: aspirin 0.0227, ethanol 0.0212, naphthalene 0.00042, uracil 0.000814
(1 seed; 7 min on one CPU core, JAX).
Reference: EGNN, arXiv 2102.09844.
"""

from xtb_md_egnn import RECIPE as ALONE
from xtb_md_transformer_plain_ridge import on_ridge

RECIPE = on_ridge(ALONE, shows_start=False)
