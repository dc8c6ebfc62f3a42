"""Comparison of shapes, before arrays are subtracted."""


def check_same_shape(name, value, other_name, other):
    """Raises ValueError unless two arrays have the same shape.

    NumPy and the backends would broadcast `(B,)` against `(B, 1)` to `(B, B)`.

    Args:
        name, other_name: names of the arrays in errors.
        value, other: arrays.
    """
    if tuple(value.shape) != tuple(other.shape):
        raise ValueError(
            f"Expected `{name}` to have the shape of `{other_name}`, "
            f"{tuple(other.shape)}. Received: shape {tuple(value.shape)}"
        )
