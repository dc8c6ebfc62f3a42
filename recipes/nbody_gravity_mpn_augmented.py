"""Message-passing network on rotated copies: as many passes as REMUL."""

from nbody_charged_transformer_augmented import RECIPE as AUGMENTED
from nbody_gravity_mpn_plain import RECIPE as PLAIN

RECIPE = PLAIN.replace(objective=AUGMENTED.objective)
