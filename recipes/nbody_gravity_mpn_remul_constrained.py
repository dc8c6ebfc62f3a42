"""As nbody_gravity_mpn_remul, under a constraint: E' at most 0.02.

    keras-remul train recipes/nbody_gravity_mpn_remul_constrained.py

Test MSE 0.00238 ± 1.3e-05 (3 seeds; 3 min on one CPU core, JAX).
Reference: REMUL, arXiv 2410.17878: 0.00194, a transformer.
"""

from nbody_gravity_mpn_plain import RECIPE as PLAIN

from keras_remul import weighting

RECIPE = PLAIN.replace(
    objective=lambda: dict(
        target="predictions",
        augment=True,
        weighting=weighting.Constrained(tolerance=0.02),
    )
)
