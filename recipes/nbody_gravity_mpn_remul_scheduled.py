"""As nbody_gravity_mpn_remul; beta rises from 0 to 2 in the first half.

    keras-remul train recipes/nbody_gravity_mpn_remul_scheduled.py

Test MSE 0.00138 ± 0.00012 (3 seeds; 3 min on one CPU core, JAX).
Reference: REMUL, arXiv 2410.17878: 0.00194, a transformer.
"""

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
