"""Transformer on rotated copies, two per sample: as many passes as REMUL."""

from nbody_charged_transformer_plain import RECIPE as PLAIN

from keras_remul import weighting

RECIPE = PLAIN.replace(
    objective=lambda: dict(
        weighting=weighting.Constant(alpha=0.0, beta=1.0), transforms=2
    )
)
