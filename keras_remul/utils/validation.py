"""Checks of the values of data, before they reach a compiled step."""

import keras
import numpy as np
from keras import ops

from keras_remul.utils.arguments import at_least, check

LARGE = 1e9


def check_count(key, value, least=1):
    """An integer argument as an int.

    Args:
        key: name of the argument.
        value: an integer of Python or NumPy, not a bool.
        least: smallest value. Defaults to 1.

    Raises:
        ValueError: it is not an integer, or is smaller.
    """
    return check(key, value, "int", at_least(least))


def check_finite(data, name, kinds="biufc"):
    """Raises ValueError if a leaf holds NaN, infinity or no numbers.

    Integers and booleans always pass.

    Args:
        data: nested structure of arrays or tensors of any framework, or None.
        name: its name in errors.
        kinds: accepted kinds of dtypes, as NumPy names them.
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
                f"{leaf.dtype}. Strings need a preprocessing layer; samples of "
                "several sizes need padding and a mask; complex labels must be "
                "split into two real ones."
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
    """Raises ValueError if large inputs gave outputs that are not finite.

    Squares of numbers above 1e19 are infinite in float32, and their differences
    NaN. Outputs that are not finite for other reasons, such as weights with
    NaN, are accepted.

    Args:
        x: inputs, nested arrays; a stream of batches is not checked.
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
            "inputs in another unit, or remove damaged ones."
        )


def _to_numpy(leaf):
    if isinstance(leaf, np.ndarray):
        return leaf
    if hasattr(leaf, "detach"):  # of PyTorch, on any backend
        leaf = leaf.detach().cpu()
        return (leaf.double() if leaf.is_floating_point() else leaf).numpy()
    return np.asarray(ops.convert_to_numpy(leaf))
