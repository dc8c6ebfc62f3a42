"""Transformer with REMUL on atoms, 50 fs ahead.

    keras-remul train recipes/xtb_md_transformer_remul.py

Test MSE: aspirin 0.0449, ethanol 0.0442, naphthalene 0.0125, uracil 0.0133
(1 seed; 2 min on one CPU core, JAX).
Reference: REMUL, arXiv 2410.17878.
"""

from nbody_charged_transformer_remul import RECIPE as REMUL
from xtb_md_transformer_plain import RECIPE as PLAIN

RECIPE = PLAIN.replace(objective=REMUL.objective)
