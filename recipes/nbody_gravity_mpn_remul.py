"""Message-passing network with REMUL on 100 stars with planets."""

from nbody_charged_transformer_remul import RECIPE as REMUL
from nbody_gravity_mpn_plain import RECIPE as PLAIN

RECIPE = PLAIN.replace(objective=REMUL.objective)
