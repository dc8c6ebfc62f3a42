"""Transformer with REMUL on 100 stars and their planets."""

from nbody_gravity_transformer_plain import RECIPE as PLAIN

RECIPE = PLAIN.replace(
    objective=lambda: dict(target="predictions", augment=True)
)
