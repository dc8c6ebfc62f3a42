"""Message-passing network with REMUL on five charged bodies."""

from nbody_charged_mpn_plain import RECIPE as PLAIN
from nbody_charged_transformer_remul import RECIPE as REMUL

RECIPE = PLAIN.replace(objective=REMUL.objective)
