"""Functions of distances that vanish smoothly at a cut-off."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from keras_remul.utils.arguments import POSITIVE, at_least, checked
from keras_remul.utils.typing import Array, Config, Shape

# Of the envelope at and beyond the cut-off: its logarithm has to be finite.
SMALLEST = 1e-12


def log_envelope(square, cutoff):
    """The logarithm of an envelope that falls smoothly from 1 to 0.

    `f(d) = (1 - (d / c)^2)^3`, with two continuous derivatives at the cut-off
    c, and polynomial in d^2, so that it has all of them at d = 0.

    Args:
        square: squared distances, of any shape.
        cutoff: c, in the units of the distances.

    Returns:
        log f, of the shape of `square`; log 1e-12 from near c on.
    """
    inside = 1.0 - square / cutoff**2
    # Not `maximum`, of which Keras on PyTorch makes float32.
    least = SMALLEST ** (1.0 / 3.0)
    return 3.0 * ops.log(ops.where(inside > least, inside, least))


@keras.saving.register_keras_serializable(package="keras_remul")
class RadialBasis(keras.layers.Layer):
    """Gaussians of distances, evenly spaced up to a cut-off.

    `b_n(d) = exp(-(d - mu_n)^2 / (2 w^2))`, with w the spacing of the centers
    mu_n from 0 to c.

    Args:
        num_basis: number of Gaussians, two or more.
        cutoff: c.
        **kwargs: `name`, `dtype` and the like, for `keras.layers.Layer`.

    Call arguments:
        distances: `(..., 1)`.

    Returns:
        `(..., num_basis)`.

    Raises:
        ValueError: `num_basis` is below 2, or `cutoff` not above 0.

    Example:
        >>> RadialBasis(16, cutoff=5.0)(keras.ops.ones((8, 1))).shape
        (8, 16)

    Reference:
        Schütt et al., "SchNet: a continuous-filter convolutional neural network
        for modeling quantum interactions", arXiv 1706.08566.
    """

    @checked(num_basis=at_least(2), cutoff=POSITIVE)
    def __init__(self, num_basis: int, cutoff: float, **kwargs: Any) -> None:
        # Distances are no 16-bit numbers.
        super().__init__(autocast=False, **kwargs)
        self.num_basis = num_basis
        self.cutoff = float(cutoff)

    def call(self, distances: Array) -> Array:
        spacing = self.cutoff / (self.num_basis - 1)
        centers = ops.arange(self.num_basis, dtype=distances.dtype)
        return ops.exp(-0.5 * ops.square(distances / spacing - centers))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (*input_shape[:-1], self.num_basis)

    def get_config(self) -> Config:
        return {
            **super().get_config(),
            "num_basis": self.num_basis,
            "cutoff": self.cutoff,
        }
