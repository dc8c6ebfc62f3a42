"""Transformer with REMUL on atoms that corrects ridge regression.

The targets of the second task are labels, as in the paper. Where most is
said by the regression, which is equivariant, consistency of predictions has a
minimum that is easy to find and of no use: no correction at all.

    keras-remul train recipes/xtb_md_transformer_remul_ridge.py

Test MSE: aspirin 0.0182, ethanol 0.0249, naphthalene 0.00042, uracil 0.000816
(1 seed; 3 min on one CPU core, JAX).
Reference: REMUL, arXiv 2410.17878.
"""

from xtb_md_transformer_plain_ridge import RECIPE as PLAIN

RECIPE = PLAIN.replace(objective=dict)
