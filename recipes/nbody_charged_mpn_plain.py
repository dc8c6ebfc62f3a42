"""Plain message-passing network on five charged bodies."""

from nbody_charged_transformer_plain import RECIPE as PLAIN

from keras_remul import models

RECIPE = PLAIN.replace(
    model=lambda: models.MessagePassingNetwork(
        num_layers=4, hidden_dim=64, edge_products=["charges"]
    )
)
