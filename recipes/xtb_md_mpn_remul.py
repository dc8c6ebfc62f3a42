"""Message-passing network with REMUL on atoms, 50 fs ahead.

    keras-remul train recipes/xtb_md_mpn_remul.py

Test MSE: aspirin 0.146, ethanol 0.0439, naphthalene 0.0593, uracil 0.0195
(1 seed; 6 min on one CPU core, JAX).
Reference: REMUL, arXiv 2410.17878.
"""

from nbody_charged_transformer_remul import RECIPE as REMUL
from xtb_md_mpn_plain import RECIPE as PLAIN

RECIPE = PLAIN.replace(objective=REMUL.objective)
