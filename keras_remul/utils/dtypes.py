"""Floating-point dtypes: which one to compute in, which one to return."""

import keras
from keras import ops


def floating(dtype=None):
    """A dtype as a string; floatx for integers and None."""
    dtype = keras.backend.standardize_dtype(dtype or keras.config.floatx())
    if "float" in dtype or "complex" in dtype:
        return dtype
    return keras.config.floatx()


def at_least_float32(dtype):
    """The floating-point dtype, or float32 if that is more precise."""
    wide = ("float64", "complex64", "complex128")
    return dtype if dtype in wide else "float32"


def widened(x):
    """x as a tensor to compute with: float32 at least, also for integers."""
    x = ops.convert_to_tensor(x)
    return ops.cast(x, at_least_float32(floating(x.dtype)))


def wider(a, b):
    """The wider of two floating-point dtypes.

    `keras.backend.result_type` returns float32 for two float64.
    """
    a, b = floating(a), floating(b)
    if a == b:
        return a
    return "float64" if "float64" in (a, b) else "float32"


def same_dtype(a, b):
    """Two arrays in the wider of their dtypes."""
    dtype = wider(a.dtype, b.dtype)
    return ops.cast(a, dtype), ops.cast(b, dtype)
