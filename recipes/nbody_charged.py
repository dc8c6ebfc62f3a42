"""Five charged bodies; `keras-remul train recipes/nbody_charged.py:NAME`.

The attention of the transformer sees the distances and the products of the
charges of all pairs, through a bias; everything else it has to learn.

Reference: REMUL, arXiv 2410.17878; EGNN, arXiv 2102.09844, 0.0070 published.
"""

import objectives

from keras_remul import datasets, groups, models
from keras_remul.experiments import Recipe

PLAIN = Recipe(
    dataset="nbody_charged",
    model=lambda: models.Transformer(
        num_layers=4,
        hidden_dim=96,
        num_heads=8,
        pair_bias=True,
        edge_products=["charges"],
    ),
    symmetry=lambda: datasets.symmetry("nbody_charged", groups.O3()),
    objective=objectives.plain,
)
SIZES = dict(num_layers=4, hidden_dim=64, edge_products=["charges"])
MPN = PLAIN.replace(model=lambda: models.MessagePassingNetwork(**SIZES))

RECIPES = {
    "transformer_plain": PLAIN,
    "transformer_augmented": PLAIN.replace(objective=objectives.augmented),
    "transformer_remul_labels": PLAIN.replace(objective=objectives.labels),
    "transformer_remul": PLAIN.replace(objective=objectives.remul),
    "mpn_plain": MPN,
    "mpn_remul": MPN.replace(objective=objectives.remul),
    "egnn": MPN.replace(model=lambda: models.EGNN(**SIZES)),
}
