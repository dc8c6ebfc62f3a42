"""EGNN, equivariant by construction, on 100 stars with planets."""

from nbody_gravity_mpn_plain import RECIPE as PLAIN

from keras_remul import models

RECIPE = PLAIN.replace(
    model=lambda: models.EGNN(
        num_layers=4, hidden_dim=64, edge_products=["masses"]
    )
)
