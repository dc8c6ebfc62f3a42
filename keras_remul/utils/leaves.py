"""Outputs, labels and references, compared leaf by leaf."""

import keras
import numpy as np
from keras import ops

from keras_remul.utils import dtypes

# Squares of larger numbers are infinite.
_LARGEST = 1e150


class NotFiniteError(ValueError):
    """NaN or infinite numbers in data that are to be measured."""


def to_numpy(data):
    """The leaves as NumPy arrays, those of other frameworks too."""

    def convert(leaf):
        if not ops.is_tensor(leaf) and hasattr(leaf, "detach"):
            leaf = leaf.detach().cpu()  # of PyTorch, on another backend
        return ops.convert_to_numpy(leaf)

    return keras.tree.map_structure(convert, data)


def widened(leaf):
    """float32 at least, also for integers, so that rounding is not measured."""
    _check_real(leaf, "f(x)")
    dtype = dtypes.at_least_float32(dtypes.floating(leaf.dtype))
    return leaf.astype(dtype, copy=False)


def _check_real(leaf, name):
    """Raises ValueError for complex numbers: a part would be lost."""
    if leaf.dtype.kind not in "biuf" and "float" not in leaf.dtype.name:
        raise ValueError(
            f"`{name}` must hold real numbers. Received: dtype {leaf.dtype}. "
            "Give real and imaginary parts as components."
        )


def count_samples(x, name="`x`"):
    """The number of samples that all leaves of x hold.

    Args:
        x: arrays, dicts, lists and tuples of arrays.
        name: name of x in errors.

    Raises:
        ValueError: there are no samples, or the leaves have different numbers.
    """
    shapes = [np.shape(leaf) for leaf in keras.tree.flatten(x)]
    counts = {shape[0] if shape else 0 for shape in shapes}
    if len(counts) != 1 or 0 in counts:
        raise ValueError(
            f"{name} must hold one sample or more along the first axis of each "
            "array, and the same number of samples in all. Received: shapes "
            f"{shapes}"
        )
    return counts.pop()


def by_path(structure, data, name):
    """The leaves of data by their paths below `name`, such as "['forces']".

    Args:
        structure: `outputs` of a `Symmetry`.
        data: the same structure; a list may stand for a tuple.
        name: name of the argument, for errors.

    Returns:
        Dict of paths to leaves, in the order of `structure`, not of the keys of
        `data`.

    Raises:
        ValueError: the structures differ.
    """
    if isinstance(structure, dict):
        same = isinstance(data, dict) and set(data) == set(structure)
        expected = f"a dict with the keys {sorted(structure)}"
        keys = list(structure)
    elif isinstance(structure, (list, tuple)):
        same = isinstance(data, (list, tuple)) and len(data) == len(structure)
        expected = f"a list of {len(structure)} entries"
        keys = range(len(structure))
    else:
        if isinstance(data, (dict, list, tuple)):
            raise ValueError(
                f"Expected `{name}` to be one array. Received: "
                f"{type(data).__name__} of {len(data)} entries"
            )
        return {"": data}
    if not same:
        received = type(data).__name__
        if isinstance(data, dict):
            received = f"a dict with the keys {sorted(data, key=str)}"
        elif isinstance(data, (list, tuple)):
            received = f"{len(data)} entries"
        raise ValueError(
            f"Expected `{name}` to have the structure of the outputs, "
            f"{expected}. Received: {received}"
        )
    return {
        f"[{key!r}]{path}": leaf
        for key in keys
        for path, leaf in by_path(
            structure[key], data[key], f"{name}[{key!r}]"
        ).items()
    }


def nest(structure, values, path=""):
    """`values` by path, in the structure of these paths."""
    if isinstance(structure, dict):
        return {
            key: nest(part, values, f"{path}[{key!r}]")
            for key, part in structure.items()
        }
    if isinstance(structure, (list, tuple)):
        return type(structure)(
            nest(part, values, f"{path}[{i}]")
            for i, part in enumerate(structure)
        )
    return values[path]


def shaped_like(leaf, output, name):
    """A leaf of labels in the shape of the output, without broadcasting.

    `(B,)` is accepted for `(B, 1)` and the reverse, as in `fit`, and `(B, N)`
    for `(B, N, 1)`.

    Raises:
        ValueError: for all other shapes.
    """
    leaf = to_numpy(leaf)
    shape, expected = leaf.shape, output.shape
    if shape in (expected, (*expected, 1)) or (*shape, 1) == expected:
        return leaf.reshape(expected)
    message = (
        f"`{name}` must have the shape of the output, {expected}. Received: "
        f"shape {shape}"
    )
    if leaf.dtype.kind in "iub" and shape in (
        expected[:-1],
        (*expected[:-1], 1),
    ):
        message += (
            ". Squared errors of class labels have no meaning: leave `y` out, "
            "give None for this output, or one-hot vectors for probabilities."
        )
    raise ValueError(message)


class Leaves:
    """Splits outputs of a symmetry into float64 arrays, with 0 at padding.

    Args:
        symmetry: the `Symmetry`.
        mask: mask `(B, N)`, or None.
    """

    def __init__(self, symmetry, mask):
        self.symmetry = symmetry
        self.representations = by_path(symmetry.outputs, symmetry.outputs, "")
        self.mask = None if mask is None else to_numpy(mask).astype(bool)
        if self.mask is not None and not self.mask.any():
            raise ValueError("The mask leaves no node of any sample.")

    def outputs(self, data, name):
        """The leaves of outputs by path.

        Raises:
            NotFiniteError: one holds NaN or infinite numbers outside padding.
        """
        leaves = by_path(self.symmetry.outputs, data, name)
        return {
            path: self._valid(path, to_numpy(leaf), name)
            for path, leaf in leaves.items()
        }

    def labels(self, data, outputs, name):
        """The leaves of labels by path, in the shapes of the outputs.

        Outputs whose labels are None are left out.
        """
        leaves = by_path(self.symmetry.outputs, data, name)
        return {
            path: self._valid(
                path, shaped_like(leaf, outputs[path], name + path), name
            )
            for path, leaf in leaves.items()
            if leaf is not None
        }

    def sizes(self, outputs):
        """The number of components of each sample, `(B,)` by path."""
        ones = {path: np.ones(leaf.shape) for path, leaf in outputs.items()}
        return {p: sums(self._valid(p, one, p)) for p, one in ones.items()}

    def _valid(self, path, leaf, name):
        representation = self.representations[path]
        if self.mask is not None and self.symmetry.is_per_node(
            representation, leaf, self.mask
        ):
            axes = (1,) * (leaf.ndim - 2)
            valid = self.mask.reshape(self.mask.shape + axes)
            leaf = np.where(valid, leaf, 0)
        _check_real(leaf, name + path)
        leaf = np.asarray(leaf, "float64")
        finite = (np.abs(leaf) < _LARGEST).reshape(len(leaf), -1).all(axis=1)
        if not finite.all():
            raise NotFiniteError(
                f"`{name}{path}` holds NaN, infinite or too large numbers for "
                f"{np.sum(~finite)} of {len(leaf)} samples, the first at "
                f"{np.argmin(finite)}: there is nothing to measure."
            )
        return leaf


def sums(leaf):
    """The sum over all components of each sample, `(B,)`."""
    return leaf.reshape(len(leaf), -1).sum(axis=1)
