"""Five charged bodies; `keras-remul train recipes/nbody_charged.py:NAME`.

The attention of the transformer sees the distances and the products of the
charges of all pairs, through a bias; everything else it has to learn.

Recipes that end in `rows` are for a comparison at equal cost: each step has 100
rows through the network, and each run 18,000 steps. REMUL has two rows a sample
and so batches of 50; the others have one, batches of 100 and two passes an
epoch. `c` adds charge conjugation to O(3): all charges flipped.

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

ONE_ROW = dict(batch_size=100, passes=2, unused="nbody_charged/unused")
TWO_ROWS = dict(batch_size=50, passes=1, unused="nbody_charged/unused")
AUGMENTED = PLAIN.replace(objective=objectives.augmented_once, **ONE_ROW)
REMUL = PLAIN.replace(objective=objectives.remul, **TWO_ROWS)


def space_and_charges():
    group = {"space": groups.O3(), "charges": groups.Negation()}
    return datasets.symmetry("nbody_charged", groups.Product(group))


RECIPES = {
    "transformer_plain": PLAIN,
    "transformer_augmented": PLAIN.replace(objective=objectives.augmented),
    "transformer_remul_labels": PLAIN.replace(objective=objectives.labels),
    "transformer_remul": PLAIN.replace(objective=objectives.remul),
    "mpn_plain": MPN,
    "mpn_remul": MPN.replace(objective=objectives.remul),
    "egnn": MPN.replace(model=lambda: models.EGNN(**SIZES)),
    "transformer_augmented_rows": AUGMENTED,
    "transformer_augmented_c_rows": AUGMENTED.replace(
        symmetry=space_and_charges
    ),
    "transformer_remul_rows": REMUL,
    "transformer_remul_c_rows": REMUL.replace(symmetry=space_and_charges),
    "egnn_rows": MPN.replace(model=lambda: models.EGNN(**SIZES), **ONE_ROW),
}
