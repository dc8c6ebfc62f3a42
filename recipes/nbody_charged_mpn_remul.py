"""Message-passing network with REMUL on five charged bodies."""

from nbody_charged_mpn_plain import RECIPE as PLAIN

RECIPE = PLAIN.replace(objective=dict)
