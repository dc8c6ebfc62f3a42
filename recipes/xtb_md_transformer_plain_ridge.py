"""Plain transformer on atoms, averaged with ridge regression.

    keras-remul train recipes/xtb_md_transformer_plain_ridge.py

Test MSE: aspirin 0.839, ethanol 0.0447, naphthalene 0.00048, uracil 0.000953
(1 seed; 1 min on one CPU core, JAX).
Reference: REMUL, arXiv 2410.17878.
"""

from xtb_md_transformer_plain import RECIPE as ALONE

RECIPE = ALONE.replace(ridge=True)
