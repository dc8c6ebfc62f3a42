"""Calls of sublayers, straight to the arithmetic where there is no more to it.

Each function does what a call of the layer does. See `backend.plain` for when
the short way is taken.
"""

import keras
from keras import ops

from keras_remul import backend
from keras_remul.backend.plain import is_plain, value


def dense(layer, x):
    """`layer(x)` of a `keras.layers.Dense`, as a product of flat matrices.

    Args:
        layer: the built layer.
        x: `(..., C)`.

    Returns:
        `(..., C')`.
    """
    if is_plain(layer, keras.layers.Dense):
        kernel = value(layer._kernel)
        if x.dtype == kernel.dtype:
            bias = None if layer.bias is None else value(layer.bias)
            y = backend.linear(x, kernel, bias)
            if layer.activation is keras.activations.linear:
                return y
            return layer.activation(y)
    y = layer(ops.reshape(x, (-1, x.shape[-1])))
    return ops.reshape(y, (*ops.shape(x)[:-1], y.shape[-1]))


def norm(layer, x):
    """`layer(x)` of a `keras.layers.LayerNormalization` of the last axis."""
    plain = is_plain(layer, keras.layers.LayerNormalization)
    if plain and layer.axis == [-1] and layer.scale and layer.center:
        gamma = value(layer.gamma)
        if x.dtype == gamma.dtype:
            return backend.layer_norm(
                x, gamma, value(layer.beta), layer.epsilon
            )
    return layer(x)


def apply(layer, cls, x, **kwargs):
    """`layer(x, **kwargs)` of one of our layers, of the class `cls`."""
    dtype = keras.backend.standardize_dtype(x.dtype)
    if is_plain(layer, cls) and dtype == layer.compute_dtype:
        return layer.call(x, **kwargs)
    return layer(x, **kwargs)
