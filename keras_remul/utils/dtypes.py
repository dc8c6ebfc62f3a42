"""Floating-point dtypes: which one to compute in, which one to return."""

import keras
from keras import ops


def floating(dtype=None):
    """A dtype as a string; that of integers, and None, is floatx."""
    dtype = keras.backend.standardize_dtype(dtype or keras.config.floatx())
    if "float" in dtype or "complex" in dtype:
        return dtype
    return keras.config.floatx()


def at_least_float32(dtype):
    """float32 where a floating-point dtype has less precision, else itself."""
    wide = ("float64", "complex64", "complex128")
    return dtype if dtype in wide else "float32"


def widened(x):
    """x as a tensor to compute with: float32 at least, also for integers."""
    x = ops.convert_to_tensor(x)
    return ops.cast(x, at_least_float32(floating(x.dtype)))


def wider(a, b):
    """The dtype that holds what two floating-point dtypes hold.

    `keras.backend.result_type` makes float32 of two float64.
    """
    a, b = floating(a), floating(b)
    if a == b:
        return a
    return "float64" if "float64" in (a, b) else "float32"


def same_dtype(a, b):
    """Two arrays in the wider of their dtypes."""
    dtype = wider(a.dtype, b.dtype)
    return ops.cast(a, dtype), ops.cast(b, dtype)
