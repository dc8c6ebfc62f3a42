"""Walkers, 0.25 s ahead; trained on some people, tested on another one.

    keras-remul train recipes/cmu_mocap_walkers.py:NAME

The network sees each body in units of its size (`models.OnSkeleton`), with the
lengths of its bones; otherwise as `cmu_mocap_run`.

Reference: REMUL, arXiv 2410.17878.
"""

import cmu_mocap_run as run
import objectives

from keras_remul import models, visualization

BONE = 2.75  # mean length of the bones of those who train it, ASF units


def network():
    return models.OnSkeleton(
        run.PLAIN.model(), visualization.CMU_BONES, length=BONE
    )


PLAIN = run.PLAIN.replace(
    dataset="cmu_mocap/walkers",
    model=network,
    epochs=20,
    passes=1,
    weight_decay=0.01,
)
RECIPES = {
    "transformer_plain": PLAIN,
    "transformer_augmented": PLAIN.replace(objective=objectives.augmented),
    "transformer_remul": PLAIN.replace(objective=objectives.labels),
}
