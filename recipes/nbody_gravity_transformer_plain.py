"""Plain transformer on star and planets, 100 of them, all but aligned."""

from keras_remul import datasets, groups, models, weighting
from keras_remul.recipe import Recipe

RECIPE = Recipe(
    dataset="nbody_gravity/remul",
    model=lambda: models.Transformer(
        num_layers=4,
        hidden_dim=96,
        num_heads=8,
        pair_bias=True,
        edge_products=["masses"],
    ),
    symmetry=lambda: datasets.symmetry("nbody_gravity", groups.O3()),
    objective=lambda: dict(weighting=weighting.Constant(beta=0.0)),
    epochs=100,
    passes=100,
    batch_size=50,
)
