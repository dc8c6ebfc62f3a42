"""Atoms, 50 fs ahead; each knows which one it is.

    keras-remul train recipes/xtb_md.py:NAME --set dataset=xtb_md/aspirin

With `ridge` the network corrects ridge regression, which is equivariant. There
the targets of the second task are labels, as in the paper: predictions are most
consistent where the network corrects nothing, a minimum of no use.

Reference: REMUL, arXiv 2410.17878; EGNN, arXiv 2102.09844.
"""

import objectives

from keras_remul import datasets, groups, models, ridge
from keras_remul.experiments import Recipe

KNOWS = dict(time_unit=50.0, node_identity=True)
SIZES = dict(num_layers=4, hidden_dim=64, **KNOWS)
PLAIN = Recipe(
    dataset="xtb_md/ethanol",
    model=lambda: models.Transformer(
        num_layers=3, hidden_dim=64, num_heads=4, pair_bias=True, **KNOWS
    ),
    symmetry=lambda: datasets.symmetry("xtb_md", groups.O3()),
    objective=objectives.plain,
    epochs=20,
    passes=10,
    batch_size=50,
    checkpoint_every=2,
)


def on_ridge(recipe, **kwargs):
    """The recipe, with its network on top of aligned ridge regression."""
    return recipe.replace(
        model=lambda: models.Correction(
            ridge.make(recipe.symmetry(), time_unit=50.0),
            recipe.model(),
            **kwargs,
        )
    )


AUGMENTED = PLAIN.replace(objective=objectives.augmented)
MPN = PLAIN.replace(model=lambda: models.MessagePassingNetwork(**SIZES))
EGNN = PLAIN.replace(model=lambda: models.EGNN(**SIZES))

RECIPES = {
    "transformer_plain": PLAIN,
    "transformer_augmented": AUGMENTED,
    "transformer_remul": PLAIN.replace(objective=objectives.remul),
    "mpn_plain": MPN,
    "mpn_remul": MPN.replace(objective=objectives.remul),
    "egnn": EGNN,
    "transformer_plain_ridge": on_ridge(PLAIN),
    "transformer_augmented_ridge": on_ridge(AUGMENTED),
    "transformer_remul_ridge": on_ridge(PLAIN).replace(
        objective=objectives.labels
    ),
    "egnn_ridge": on_ridge(EGNN, shows_start=False),
}
