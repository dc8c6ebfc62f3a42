"""Norms of outputs, for equivariance errors."""

from __future__ import annotations

import keras
from keras import ops

from keras_remul.symmetry import Symmetry
from keras_remul.utils.dtypes import widened
from keras_remul.utils.typing import Array, Tree


def sample_norms(
    difference: Tree, symmetry: Symmetry, mask: Array | None = None
) -> Array:
    """The Euclidean norm of each sample's outputs, all leaves together.

    Args:
        difference: arrays `(B, ...)` in the structure of `symmetry.outputs`.
        symmetry: the `Symmetry`.
        mask: mask `(B, N)`; padded nodes of the leaves per node count as 0.

    Returns:
        Array `(B,)`.
    """
    total = 0.0
    for representation, leaf in symmetry.output_leaves(difference):
        square = ops.square(widened(leaf))
        if mask is not None and symmetry.is_per_node(
            representation, square, mask
        ):
            # Not a product: padding may hold anything, NaN too.
            square = ops.where(_of_rank(mask, square), square, 0.0)
        rows = ops.reshape(square, (ops.shape(square)[0], -1))
        total = total + ops.sum(rows, axis=-1)
    return ops.sqrt(total)


def _of_rank(mask, leaf):
    """The mask `(B, N)` as booleans that broadcast against `(B, N, ...)`."""
    axes = ops.shape(mask) + (1,) * (len(leaf.shape) - 2)
    return ops.reshape(ops.cast(mask, "bool"), axes)


def centered(
    output: Tree, symmetry: Symmetry, mask: Array | None = None
) -> Tree:
    """Outputs with positions relative to the center of their nodes.

    The origin is arbitrary; a large distance from it would make relative errors
    small.

    Args:
        output: outputs in the structure of `symmetry.outputs`.
        symmetry: the `Symmetry`.
        mask: mask `(B, N)` where some nodes are padding.

    Returns:
        The structure of the outputs. A point per sample, without nodes, is
        taken relative to the mean of the batch.
    """

    def center(representation, leaf):
        if not representation.moves_origin:
            return leaf
        leaf = widened(leaf)
        if not symmetry.is_per_node(representation, leaf, mask):
            return leaf - ops.mean(leaf, axis=0, keepdims=True)
        if mask is None:
            return leaf - ops.mean(leaf, axis=1, keepdims=True)
        valid = _of_rank(mask, leaf)
        count = ops.sum(ops.cast(valid, leaf.dtype), axis=1, keepdims=True)
        total = ops.sum(ops.where(valid, leaf, 0.0), axis=1, keepdims=True)
        return leaf - total / ops.maximum(count, 1)

    return keras.tree.map_structure(center, symmetry.outputs, output)
