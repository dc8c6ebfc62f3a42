"""As nbody_gravity_mpn_remul; GradNorm balances the two gradients."""

from nbody_gravity_mpn_plain import RECIPE as PLAIN

from keras_remul import weighting

RECIPE = PLAIN.replace(
    objective=lambda: dict(
        target="predictions",
        augment=True,
        weighting=weighting.GradNorm(),
    )
)
