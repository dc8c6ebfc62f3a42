"""Where in a model the features change when the input is transformed."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import keras
import numpy as np
from keras import ops

from keras_remul.backend.keras_internals import with_sublayers
from keras_remul.evaluation.orbit import draw
from keras_remul.training import RemulModel
from keras_remul.utils.leaves import count_samples, to_numpy
from keras_remul.utils.typing import Tree

if TYPE_CHECKING:
    from keras_remul.symmetry import Symmetry


def equivariance_profile(
    model: keras.Model,
    x: Tree,
    symmetry: Symmetry,
    num_samples: int = 4,
    seed: int = 0,
    batch_size: int = 256,
) -> dict[str, float]:
    """Measures how much g changes the output h of each layer.

    profile[layer] = mean_x,g ||h(phi(g) x) - h(x)|| / mean_x ||h(x)||

    This is an error of *invariance*. It is not known how the features inside a
    model should transform. So 0 means that the features do not change with g,
    and a large number means that they do, not that they are wrong: in an
    exactly equivariant model, invariant features score 0, but vector features
    rotate with g. About 1.4 means that the features of x and phi(g) x are
    unrelated. Compare layers of one kind, models of one architecture, or one
    model before and after training. A large mean that all inputs share (a bias)
    makes the number smaller.

    Norms are over all features of one sample in a layer. With a mask, padded
    nodes of features `(B, N, ...)` are left out.

    Args:
        model: a Keras model, also a subclassed or nested one (for a
            `RemulModel`, the wrapped model). It is called with
            `training=False`, outside compiled functions.
        x: inputs, arrays in the structure of `symmetry.inputs`.
        symmetry: the `Symmetry`; its outputs are not used.
        num_samples: elements g per input; of a finite group with no more
            elements, all are used. Defaults to 4.
        seed: integer seed of the draws. Defaults to 0.
        batch_size: inputs per forward pass. Defaults to 256.

    Returns:
        Dict of floats by the path of each layer, in the order in which the
        calls end: sublayers come before their layer. NaN for features that are
        zero or not finite. Further calls of a layer that is used several times
        have a suffix, `"#2"` and so on. Layers without floating-point outputs
        are left out.

    Raises:
        ValueError: `model` is not a Keras model, x does not fit the symmetry,
            or `num_samples` < 1.

    Example:

    >>> profile = equivariance_profile(model, x_test, symmetry)
    >>> profile["transformer/block_0"]
    0.74
    """
    if not isinstance(model, keras.Model):
        raise ValueError(
            "Argument `model` must be a keras.Model, whose layers can be "
            f"listed. Received: {model!r}"
        )
    if num_samples < 1:
        raise ValueError(
            "Argument `num_samples` must be at least 1. "
            f"Received: {num_samples}"
        )
    symmetry.check_inputs(x)
    if isinstance(model, RemulModel):
        model = model.model
    n = count_samples(x)
    elements = list(draw(symmetry.group, n, num_samples, seed))
    changes, sizes = {}, {}
    for start in range(0, n, batch_size):
        part = slice(start, start + batch_size)
        batch = keras.tree.map_structure(
            lambda a, part=part: ops.convert_to_tensor(a[part]), x
        )
        mask = symmetry.get_mask(batch)
        mask = None if mask is None else to_numpy(mask)
        before = _features(model, batch)
        for name, value in before.items():
            sizes.setdefault(name, []).append(_norms(value, mask))
        for of_all in elements:
            g = keras.tree.map_structure(lambda a, part=part: a[part], of_all)
            after = _features(model, symmetry.transform_inputs(g, batch))
            for name, value in before.items():
                gap = [u - v for u, v in zip(after[name], value, strict=True)]
                changes.setdefault(name, []).append(_norms(gap, mask))
    result = {}
    for name in sizes:
        size = np.concatenate(sizes[name]).mean()
        change = np.concatenate(changes[name]).mean()
        result[name] = float(change / size) if size else float("nan")
    return result


def _features(model, x):
    """The outputs of each layer, lists of float64 arrays by its path."""
    calls = []
    with contextlib.ExitStack() as stack:
        for layer in with_sublayers(model)[1:]:
            stack.enter_context(_recorded(layer, calls))
        model(x, training=False)
    result, counts = {}, {}
    for layer, output in calls:
        leaves = [
            np.asarray(ops.convert_to_numpy(leaf), "float64")
            for leaf in keras.tree.flatten(output)
            if ops.is_tensor(leaf) and keras.backend.is_float_dtype(leaf.dtype)
        ]
        if not leaves:
            continue
        name = layer.path or layer.name
        counts[name] = counts.get(name, 0) + 1
        if counts[name] > 1:
            name = f"{name}#{counts[name]}"
        result[name] = leaves
    return result


@contextlib.contextmanager
def _recorded(layer, calls):
    """Records the results of `layer.call`, in models of all three kinds."""
    original = layer.call

    def call(*args, **kwargs):
        output = original(*args, **kwargs)
        calls.append((layer, output))
        return output

    # Past Layer.__setattr__, which would take this for a part of the layer.
    object.__setattr__(layer, "call", call)
    try:
        yield
    finally:
        object.__delattr__(layer, "call")


def _norms(leaves, mask):
    total = 0.0
    for leaf in leaves:
        if mask is not None and leaf.shape[:2] == mask.shape and leaf.ndim > 2:
            valid = mask.astype(leaf.dtype)
            leaf = leaf * valid.reshape(valid.shape + (1,) * (leaf.ndim - 2))
        total = total + np.square(leaf).reshape(len(leaf), -1).sum(axis=1)
    return np.sqrt(total)
