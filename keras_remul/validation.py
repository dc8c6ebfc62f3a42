"""Checks of the values of data, before they reach a compiled step."""

import keras
import numpy as np
from keras import ops


def check_finite(data, name):
    """Raises ValueError where a floating-point leaf holds NaN or infinity.

    Args:
        data: nested structure of arrays or tensors, or None.
        name: what the error calls it.
    """
    for path, leaf in keras.tree.flatten_with_path(data):
        if leaf is None:
            continue
        if not isinstance(leaf, np.ndarray):
            leaf = ops.convert_to_numpy(leaf)
        if not np.issubdtype(leaf.dtype, np.floating):
            continue
        bad = ~np.isfinite(leaf)
        if bad.any():
            where = name + "".join(f"[{key!r}]" for key in path)
            samples = np.unique(np.nonzero(bad)[0])
            raise ValueError(
                f"`{where}` holds {int(bad.sum())} values that are NaN or "
                f"infinite, in {len(samples)} of {len(leaf)} samples; the "
                f"first is sample {samples[0]}. Remove or repair them before "
                "training."
            )
