"""A runner, 0.25 s ahead; the official split.

    keras-remul train recipes/cmu_mocap_run.py:NAME

Positions are read in units of 5 ASF units, a typical distance of a joint from
the middle of the body, and velocities as the way in 30 frames. The objective of
REMUL keeps the orientation of the data: runners run upright and one way. g are
turns about the vertical and mirror images; `turns` without these, `so3` all
rotations. `ridge` is the mean with aligned ridge regression.

Reference: REMUL, arXiv 2410.17878: 0.2078 without REMUL, 0.185 with it.
"""

import objectives

from keras_remul import datasets, groups, models
from keras_remul.experiments import Recipe


def symmetry(group):
    return datasets.symmetry("cmu_mocap", group)


PLAIN = Recipe(
    dataset="cmu_mocap/run_09",
    model=lambda: models.Transformer(
        num_layers=3,
        hidden_dim=64,
        num_heads=4,
        length_unit=5.0,
        time_unit=30.0,
    ),
    symmetry=lambda: symmetry(groups.O2(axis="y")),
    objective=objectives.plain,
    epochs=50,
    passes=20,
    batch_size=50,
    checkpoint_every=5,
    moved_by=lambda: {
        "so2": symmetry(groups.SO2(axis="y")),
        "so3": symmetry(groups.SO3()),
    },
)
AUGMENTED = PLAIN.replace(objective=objectives.augmented)
REMUL = PLAIN.replace(objective=objectives.labels)

RECIPES = {
    "transformer_plain": PLAIN,
    "transformer_augmented": AUGMENTED,
    "transformer_remul_turns": REMUL.replace(
        symmetry=lambda: symmetry(groups.SO2(axis="y"))
    ),
    "transformer_remul_so3": REMUL.replace(
        symmetry=lambda: symmetry(groups.SO3())
    ),
    "transformer_remul": REMUL,
    "transformer_plain_ridge": PLAIN.replace(ridge=True),
    "transformer_augmented_ridge": AUGMENTED.replace(ridge=True),
    "transformer_remul_ridge": REMUL.replace(ridge=True),
}
