"""Message-passing network with REMUL, target="labels", on charged bodies."""

from nbody_charged_mpn_plain import RECIPE as PLAIN

RECIPE = PLAIN.replace(objective=dict)
