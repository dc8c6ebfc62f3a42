"""Plain message-passing network on atoms, 50 fs ahead.

    keras-remul train recipes/xtb_md_mpn_plain.py

Test MSE: aspirin 3.94, ethanol 0.0828, naphthalene 0.0543, uracil 0.0133
(1 seed; 3 min on one CPU core, JAX).
Reference: REMUL, arXiv 2410.17878.
"""

from xtb_md_transformer_plain import RECIPE as TRANSFORMER

from keras_remul import models

RECIPE = TRANSFORMER.replace(
    model=lambda: models.MessagePassingNetwork(
        num_layers=4, hidden_dim=64, time_unit=50.0, node_identity=True
    )
)
