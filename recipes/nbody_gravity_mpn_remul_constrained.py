"""As nbody_gravity_mpn_remul, under a constraint: E' at most 0.02."""

from nbody_gravity_mpn_plain import RECIPE as PLAIN

from keras_remul import weighting

RECIPE = PLAIN.replace(
    objective=lambda: dict(
        target="predictions",
        augment=True,
        weighting=weighting.Constrained(tolerance=0.02),
    )
)
