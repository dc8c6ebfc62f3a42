"""Checks of the values of data, before they reach a compiled step."""

import keras
import numpy as np
from keras import ops

LARGE = 1e9


def check_count(key, value, least=1):
    """An integer argument as an int.

    Args:
        key: name of the argument.
        value: an integer of Python or NumPy; no bool.
        least: smallest value. Defaults to 1.

    Raises:
        ValueError: it is no integer, or smaller.
    """
    integer = isinstance(value, (int, np.integer))
    if not integer or isinstance(value, bool) or value < least:
        raise ValueError(
            f"Argument `{key}` must be an integer, at least {least}. Received: "
            f"{key}={value!r}"
        )
    return int(value)


def check_finite(data, name, kinds="biufc"):
    """Raises ValueError where a leaf holds NaN, infinity or no numbers.

    Integers and booleans always pass.

    Args:
        data: nested structure of arrays or tensors of any framework, or None.
        name: what the error calls it.
        kinds: kinds of dtypes that are numbers here, as NumPy names them.
    """
    for path, leaf in keras.tree.flatten_with_path(data):
        if leaf is None:
            continue
        where = name + "".join(f"[{key!r}]" for key in path)
        leaf = np.atleast_1d(_to_numpy(leaf))
        if "float" in leaf.dtype.name and leaf.dtype.kind != "f":
            leaf = leaf.astype("float32")  # bfloat16 and narrower
        if leaf.dtype.kind not in kinds:
            raise ValueError(
                f"`{where}` must hold numbers. Received: an array of dtype "
                f"{leaf.dtype}. Strings want a preprocessing layer; samples of "
                "several sizes want padding to one, and a mask; complex labels "
                "are two real ones."
            )
        bad = ~np.isfinite(leaf)
        if bad.any():
            samples = np.unique(np.nonzero(bad)[0])
            raise ValueError(
                f"`{where}` holds {int(bad.sum())} values that are NaN or "
                f"infinite, in {len(samples)} of {len(leaf)} samples; the "
                f"first is sample {samples[0]}. Remove or repair them before "
                "training."
            )


def check_no_overflow(x, y):
    """Raises ValueError where large inputs gave outputs that are no numbers.

    Squares of numbers beyond 1e19 are infinite in float32, and differences of
    those NaN. Outputs of other causes, such as weights with NaN, pass.

    Args:
        x: inputs, nested arrays; a stream of batches is not looked at.
        y: nested arrays, the outputs.
    """
    leaves = [np.asarray(leaf) for leaf in keras.tree.flatten(y)]
    leaves = [leaf for leaf in leaves if leaf.dtype.kind == "f"]
    if all(np.isfinite(leaf).all() for leaf in leaves):
        return
    largest = 0.0
    for leaf in keras.tree.flatten(x):
        if hasattr(leaf, "dtype") and "float" in str(leaf.dtype):
            leaf = np.asarray(_to_numpy(leaf), "float64")
            finite = np.abs(leaf[np.isfinite(leaf)])
            largest = max(largest, finite.max(initial=0.0))
    if largest > LARGE:
        raise ValueError(
            "The outputs hold NaN or infinite numbers, and the inputs numbers "
            f"as large as {largest:.3g}, whose squares are too large. Give the "
            "inputs in another unit, or look for damaged ones."
        )


def _to_numpy(leaf):
    if isinstance(leaf, np.ndarray):
        return leaf
    if hasattr(leaf, "detach"):  # of PyTorch, on any backend
        leaf = leaf.detach().cpu()
        return (leaf.double() if leaf.is_floating_point() else leaf).numpy()
    return np.asarray(ops.convert_to_numpy(leaf))
