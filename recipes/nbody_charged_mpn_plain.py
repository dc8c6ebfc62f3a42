"""Plain message-passing network on five charged bodies.

    keras-remul train recipes/nbody_charged_mpn_plain.py

Test MSE 0.0196 ± 0.002 (3 seeds; 2 min on one CPU core, JAX).
Reference: REMUL, arXiv 2410.17878.
"""

from nbody_charged_transformer_plain import RECIPE as PLAIN

from keras_remul import models

RECIPE = PLAIN.replace(
    model=lambda: models.MessagePassingNetwork(
        num_layers=4, hidden_dim=64, edge_products=["charges"]
    )
)
