"""EGNN, equivariant by construction, on atoms, 50 fs ahead.

    keras-remul train recipes/xtb_md_egnn.py

Test MSE: aspirin 0.0285, ethanol 0.0201, naphthalene 0.00473, uracil 0.00486
(1 seed; 5 min on one CPU core, JAX).
Reference: EGNN, arXiv 2102.09844.
"""

from xtb_md_transformer_plain import RECIPE as TRANSFORMER

from keras_remul import models

RECIPE = TRANSFORMER.replace(
    model=lambda: models.EGNN(
        num_layers=4, hidden_dim=64, time_unit=50.0, node_identity=True
    )
)
