"""As nbody_gravity_mpn_remul; beta rises from 0 to 2 in the first half."""

import keras
from nbody_gravity_mpn_plain import RECIPE as PLAIN

from keras_remul import weighting

RECIPE = PLAIN.replace(
    objective=lambda: dict(
        target="predictions",
        augment=True,
        weighting=weighting.Scheduled(
            beta=keras.optimizers.schedules.PolynomialDecay(0.0, 6000, 2.0)
        ),
    )
)
