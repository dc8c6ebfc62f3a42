"""Transformer with REMUL on atoms that corrects ridge regression.

The targets of the second task are labels, as in the paper. Where most is
said by the regression, which is equivariant, consistency of predictions has a
minimum that is easy to find and of no use: no correction at all. With two g
per sample a step costs what one of the augmented twin costs.

    keras-remul train recipes/xtb_md_transformer_remul_ridge.py

@
Reference: REMUL, arXiv 2410.17878.
"""

from xtb_md_transformer_plain_ridge import RECIPE as PLAIN

RECIPE = PLAIN.replace(objective=lambda: dict(transforms=2))
