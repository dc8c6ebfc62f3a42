"""Plain transformer on five charged bodies: no symmetry in the objective."""

from keras_remul import models, weighting
from keras_remul.recipe import Recipe

RECIPE = Recipe(
    dataset="nbody_charged",
    model=lambda: models.Transformer(num_layers=4, hidden_dim=96, num_heads=8),
    objective=lambda: dict(weighting=weighting.Constant(beta=0.0)),
)
