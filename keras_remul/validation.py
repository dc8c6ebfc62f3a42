"""Checks of the values of data, before they reach a compiled step."""

import keras
import numpy as np
from keras import ops


def check_finite(data, name):
    """Raises ValueError where a leaf holds NaN, infinity or no numbers.

    Integers and booleans always pass.

    Args:
        data: nested structure of arrays or tensors of any framework, or None.
        name: what the error calls it.
    """
    for path, leaf in keras.tree.flatten_with_path(data):
        if leaf is None:
            continue
        where = name + "".join(f"[{key!r}]" for key in path)
        leaf = np.atleast_1d(_to_numpy(leaf))
        if "float" in leaf.dtype.name and leaf.dtype.kind != "f":
            leaf = leaf.astype("float32")  # bfloat16 and narrower
        if leaf.dtype.kind not in "biufc":
            raise ValueError(
                f"`{where}` must hold numbers. Received: an array of dtype "
                f"{leaf.dtype}. Strings want a preprocessing layer; samples of "
                "several sizes want padding to one, and a mask."
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


def _to_numpy(leaf):
    if isinstance(leaf, np.ndarray):
        return leaf
    if hasattr(leaf, "detach"):  # of PyTorch, on any backend
        leaf = leaf.detach().cpu()
        return (leaf.double() if leaf.is_floating_point() else leaf).numpy()
    return np.asarray(ops.convert_to_numpy(leaf))
