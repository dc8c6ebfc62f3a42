"""Products of coordinates, which a GPU must not round.

By default a GPU rounds the factors of a matrix product to some 10 bits (TF32).
For scalars this is ordinary noise. But it rounds the components of a vector
separately, so that a product changes when the vector is rotated: layers would
be equivariant only to 1e-3.
"""

import keras
from keras import ops

from keras_remul import backend


def exact_product(x, matrix):
    """x times a matrix `(C, C')` over the last axis, in full precision.

    Args:
        x: `(..., C)`.
        matrix: `(C, C')`.

    Returns:
        `(..., C')`.
    """
    rows = ops.reshape(x, (-1, x.shape[-1]))
    shape = (*ops.shape(x)[:-1], matrix.shape[-1])
    return ops.reshape(backend.matmul(rows, matrix), shape)


class VectorDense(keras.layers.Dense):
    """Mixes channels of vectors `(..., 3, C)`, without bias, unrounded."""

    def __init__(self, units, **kwargs):
        super().__init__(units, use_bias=False, **kwargs)

    def call(self, inputs, training=None):
        return exact_product(inputs, ops.convert_to_tensor(self.kernel))
