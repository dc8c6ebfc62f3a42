"""Transformer with REMUL on five charged bodies.

The objective sees each system moved by a random g, as augmentation does, and
the predictions for it and for one more g are pulled together.
"""

from nbody_charged_transformer_plain import RECIPE as PLAIN

RECIPE = PLAIN.replace(
    objective=lambda: dict(target="predictions", augment=True)
)
