"""Message-passing network with REMUL, target="labels", on 100 stars."""

from nbody_gravity_mpn_plain import RECIPE as PLAIN

RECIPE = PLAIN.replace(objective=dict)
