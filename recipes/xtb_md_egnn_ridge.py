"""EGNN on atoms, averaged with ridge regression.

    keras-remul train recipes/xtb_md_egnn_ridge.py

Test MSE: aspirin 0.233, ethanol 0.0201, naphthalene 0.00048, uracil 0.000953
(1 seed; 5 min on one CPU core, JAX).
Reference: EGNN, arXiv 2102.09844.
"""

from xtb_md_egnn import RECIPE as ALONE

RECIPE = ALONE.replace(ridge=True)
