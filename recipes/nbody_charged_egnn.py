"""EGNN, equivariant by construction, on five charged bodies.

    keras-remul train recipes/nbody_charged_egnn.py

Test MSE 0.0073 ± 0.00029 (3 seeds; 3 min on one CPU core, JAX).
Reference: EGNN, arXiv 2102.09844, 0.0070 published.
"""

from nbody_charged_transformer_plain import RECIPE as PLAIN

from keras_remul import models

RECIPE = PLAIN.replace(
    model=lambda: models.EGNN(
        num_layers=4, hidden_dim=64, edge_products=["charges"]
    )
)
