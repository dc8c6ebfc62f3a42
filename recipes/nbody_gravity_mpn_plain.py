"""Plain message-passing network on 100 stars with planets, all but aligned."""

from keras_remul import datasets, groups, models, weighting
from keras_remul.recipe import Recipe

RECIPE = Recipe(
    dataset="nbody_gravity/remul",
    model=lambda: models.MessagePassingNetwork(
        num_layers=4, hidden_dim=64, edge_products=["masses"]
    ),
    symmetry=lambda: datasets.symmetry("nbody_gravity", groups.O3()),
    objective=lambda: dict(weighting=weighting.Constant(beta=0.0)),
    epochs=60,
    passes=100,
    batch_size=50,
    block=3,
)
