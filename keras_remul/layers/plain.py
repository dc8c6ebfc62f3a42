"""Calls of sublayers, without the overhead of a Keras call where possible.

Each function has the same result as a call of the layer. See `backend.plain`
for when the overhead is skipped.
"""

import keras

from keras_remul import backend
from keras_remul.backend.plain import is_plain, plain_weights


def dense(layer, x):
    """`layer(x)` of a `keras.layers.Dense`.

    Args:
        layer: the built layer.
        x: `(..., C)`.

    Returns:
        `(..., C')`.
    """
    weights = plain_weights([layer], (), x.dtype)
    if weights is None:
        return layer(x)
    y = backend.linear(x, *weights[0])
    return layer.activation(y) if is_active(layer) else y


def of_rows(sublayers, dtype):
    """Functions that call layers on some of the rows of an array.

    Args:
        sublayers: built `keras.layers.Dense`.
        dtype: that of the array.

    Returns:
        List of functions from `(..., C)` to `(..., C')`; or None, where a layer
        is to be called once, on the whole: it is not plain, or has another
        activation than silu, which may look at all rows.
    """
    known = keras.activations.linear, keras.activations.silu
    if any(layer.activation not in known for layer in sublayers):
        return None
    weights = plain_weights(sublayers, (), dtype)
    if weights is None:
        return None
    return [
        _of_rows(*pair, active=is_active(layer))
        for layer, pair in zip(sublayers, weights, strict=True)
    ]


def _of_rows(kernel, bias, active):
    if active:
        return lambda x: backend.silu(backend.linear(x, kernel, bias))
    return lambda x: backend.linear(x, kernel, bias)


def is_active(layer):
    """Whether a `keras.layers.Dense` has an activation."""
    return layer.activation is not keras.activations.linear


def norm(layer, x):
    """`layer(x)` of a `keras.layers.LayerNormalization` of the last axis."""
    weights = plain_weights((), [layer], x.dtype)
    if weights is None:
        return layer(x)
    return backend.layer_norm(x, *weights[0], epsilon=layer.epsilon)


def apply(layer, cls, x, **kwargs):
    """`layer(x, **kwargs)` of one of our layers, of the class `cls`."""
    dtype = keras.backend.standardize_dtype(x.dtype)
    if is_plain(layer, cls) and dtype == layer.compute_dtype:
        return layer.call(x, **kwargs)
    return layer(x, **kwargs)
