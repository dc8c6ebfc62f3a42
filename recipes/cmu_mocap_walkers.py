"""Walkers, 0.25 s ahead; trained on some people, tested on another one.

    keras-remul train recipes/cmu_mocap_walkers.py:NAME

The network sees each body in units of its size (`models.OnSkeleton`), with the
lengths of its bones; otherwise as `cmu_mocap_run`. In those that end in `ridge`
all people are seen with the same bones, and the network corrects aligned ridge
regression, which is fitted first. In that which ends in `aligned` it is also
shown all of them rotated onto a reference, and their mirror images (twice as
many samples), and averages over both: the symmetry is exact.

Reference: REMUL, arXiv 2410.17878.
"""

import cmu_mocap_run as run
import objectives

from keras_remul import groups, models, ridge, visualization

BONE = 2.75  # mean length of the bones of those who train it, ASF units
# Mean length of each of `visualization.CMU_BONES`, and of its mirror image.
LEG = [2.54, 7.08, 7.4, 2.11, 1.06]
ARM = [3.43, 5.08, 3.42, 1.71, 0.66, 0.53, 0.76]
BONES = [*LEG, *LEG, 2.13, 2.11, 2.13, 1.58, 1.6, 1.64, *ARM, *ARM]


def network():
    return models.OnSkeleton(
        run.PLAIN.model(), visualization.CMU_BONES, length=BONE
    )


def correction():
    symmetry = run.symmetry(groups.O2(axis="y"))
    units = dict(length_unit=5.0, time_unit=30.0)
    small = models.Transformer(num_layers=2, hidden_dim=64, **units)
    return models.OnSkeleton(
        models.Correction(ridge.make(symmetry, **units), small),
        visualization.CMU_BONES,
        length=BONES,
    )


PLAIN = run.PLAIN.replace(
    dataset="cmu_mocap/walkers",
    model=network,
    epochs=20,
    passes=1,
    weight_decay=0.01,
)
PLAIN_RIDGE = PLAIN.replace(
    model=correction, epochs=12, learning_rate=0.002, checkpoint_every=2
)
RECIPES = {
    "transformer_plain": PLAIN,
    "transformer_augmented": PLAIN.replace(objective=objectives.augmented),
    "transformer_remul": PLAIN.replace(objective=objectives.labels),
    "transformer_plain_ridge": PLAIN_RIDGE,
    "transformer_augmented_ridge": PLAIN_RIDGE.replace(
        objective=objectives.augmented
    ),
    "transformer_remul_ridge": PLAIN_RIDGE.replace(objective=objectives.labels),
    "transformer_remul_aligned": PLAIN_RIDGE.replace(
        objective=objectives.labels, aligned=True, epochs=6, checkpoint_every=1
    ),
}
