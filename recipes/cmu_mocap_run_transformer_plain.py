"""Plain transformer on a runner, 0.25 s ahead; the official split.

Positions are read in units of 5 ASF units, a typical distance of a joint from
the middle of the body, and velocities as the way in 30 frames.

    keras-remul train recipes/cmu_mocap_run_transformer_plain.py

Test MSE 0.221 ± 0.01 (3 seeds; 7 min on one CPU core, JAX).
Reference: REMUL, arXiv 2410.17878: 0.2078 without REMUL.
"""

from keras_remul import datasets, groups, models, weighting
from keras_remul.experiments import Recipe


def symmetry(group):
    return datasets.symmetry("cmu_mocap", group)


RECIPE = Recipe(
    dataset="cmu_mocap/run_09",
    model=lambda: models.Transformer(
        num_layers=3,
        hidden_dim=64,
        num_heads=4,
        length_unit=5.0,
        time_unit=30.0,
    ),
    symmetry=lambda: symmetry(groups.O2(axis="y")),
    objective=lambda: dict(weighting=weighting.Constant(beta=0.0)),
    epochs=50,
    passes=20,
    batch_size=50,
    block=5,
    moved_by=lambda: {
        "SO(2)": symmetry(groups.SO2(axis="y")),
        "SO(3)": symmetry(groups.SO3()),
    },
)
