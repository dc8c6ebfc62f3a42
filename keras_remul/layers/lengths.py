"""Lengths of vectors that may be zero."""

from keras import ops

from keras_remul.utils.dtypes import at_least_float32, floating


def lengths(v, epsilon, axis=-1, keepdims=True):
    """sqrt(sum v^2 + epsilon), whose gradient is finite for v = 0.

    Computed in float32 at least: in float16 a small epsilon becomes zero, and
    the squares overflow from 256 on.
    """
    dtype = floating(v.dtype)
    square = ops.square(ops.cast(v, at_least_float32(dtype)))
    square = ops.sum(square, axis=axis, keepdims=keepdims)
    return ops.cast(ops.sqrt(square + epsilon), dtype)
