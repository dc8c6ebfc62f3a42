"""Transformer with REMUL on atoms that corrects ridge regression.

    keras-remul train recipes/xtb_md_transformer_remul_ridge.py

@
Reference: REMUL, arXiv 2410.17878.
"""

from xtb_md_transformer_plain_ridge import on_ridge
from xtb_md_transformer_remul import RECIPE as ALONE

RECIPE = on_ridge(ALONE)
