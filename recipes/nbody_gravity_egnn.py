"""EGNN, equivariant by construction, on 100 stars with planets.

    keras-remul train recipes/nbody_gravity_egnn.py

Test MSE 0.00149 ± 0.0003 (3 seeds; 2 min on one CPU core, JAX).
Reference: EGNN, arXiv 2102.09844.
"""

from nbody_gravity_mpn_plain import RECIPE as PLAIN

from keras_remul import models

RECIPE = PLAIN.replace(
    model=lambda: models.EGNN(
        num_layers=4, hidden_dim=64, edge_products=["masses"]
    )
)
