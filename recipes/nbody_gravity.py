"""A star and planets, 100 systems, all but aligned.

    keras-remul train recipes/nbody_gravity.py:NAME

Reference: REMUL, arXiv 2410.17878: 0.00194, a transformer; EGNN, arXiv
2102.09844; GradNorm, arXiv 1711.02257.
"""

import functools

import keras
import objectives

from keras_remul import datasets, groups, models, weighting
from keras_remul.experiments import Recipe

SIZES = dict(num_layers=4, hidden_dim=64, edge_products=["masses"])
MPN = Recipe(
    dataset="nbody_gravity/remul",
    model=lambda: models.MessagePassingNetwork(**SIZES),
    symmetry=lambda: datasets.symmetry("nbody_gravity", groups.O3()),
    objective=objectives.plain,
    epochs=60,
    passes=100,
    batch_size=50,
    checkpoint_every=3,
)


def weighted(make):
    """REMUL with another weighting."""
    return MPN.replace(objective=lambda: objectives.remul(weighting=make()))


def rising():
    """beta rises from 0 to 2 in the first half."""
    return weighting.Scheduled(
        beta=keras.optimizers.schedules.PolynomialDecay(0.0, 6000, 2.0)
    )


# At equal rows: 12,000 steps of 50 rows through the network for each, and as
# many labelled systems for validation as for training. The learning rates are
# each the best of four, with factors of 2, by the error on 5000 systems.
ROWS = MPN.replace(validation_size=100)
TWICE = dict(batch_size=25, passes=50)

# 13 systems with labels in each step and 12 without, each of them twice.
PARTLY = dict(batch_size=13, passes=26, unlabeled_batch_size=12)

# E' is at most 0.02.
bounded = functools.partial(weighting.Constrained, tolerance=0.02)

RECIPES = {
    "mpn_plain": MPN,
    "mpn_augmented": MPN.replace(objective=objectives.augmented),
    "mpn_remul_labels": MPN.replace(objective=objectives.labels),
    "mpn_remul": MPN.replace(objective=objectives.remul),
    "mpn_remul_scheduled": weighted(rising),
    "mpn_remul_gradnorm": weighted(weighting.GradNorm),
    "mpn_remul_constrained": weighted(bounded),
    "egnn": MPN.replace(model=lambda: models.EGNN(**SIZES)),
    "mpn_augmented_rows": ROWS.replace(
        objective=objectives.augmented_once, learning_rate=5e-4
    ),
    "mpn_remul_rows": ROWS.replace(
        objective=lambda: objectives.remul(weighting=rising()),
        learning_rate=2e-3,
        **TWICE,
    ),
    "mpn_remul_unlabeled": ROWS.replace(
        objective=lambda: objectives.remul(weighting=rising()),
        learning_rate=4e-3,
        **PARTLY,
    ),
    "egnn_rows": ROWS.replace(
        model=lambda: models.EGNN(**SIZES), learning_rate=2.5e-4
    ),
}
