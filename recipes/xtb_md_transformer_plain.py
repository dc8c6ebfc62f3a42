"""Plain transformer on atoms, 50 fs ahead; each atom knows which one it is.

For another molecule: `--set dataset=xtb_md/aspirin`.

    keras-remul train recipes/xtb_md_transformer_plain.py

Test MSE: aspirin 0.195, ethanol 0.0771, naphthalene 0.00415, uracil 0.00457
(1 seed; 1 min on one CPU core, JAX).
Reference: REMUL, arXiv 2410.17878.
"""

from keras_remul import datasets, groups, models, weighting
from keras_remul.experiments import Recipe

RECIPE = Recipe(
    dataset="xtb_md/ethanol",
    model=lambda: models.Transformer(
        num_layers=3,
        hidden_dim=64,
        num_heads=4,
        pair_bias=True,
        time_unit=50.0,
        node_identity=True,
    ),
    symmetry=lambda: datasets.symmetry("xtb_md", groups.O3()),
    objective=lambda: dict(weighting=weighting.Constant(beta=0.0)),
    epochs=20,
    passes=10,
    batch_size=50,
    block=2,
)
