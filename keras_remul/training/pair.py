"""The pair (x, phi(g) x): one batch, one forward pass, two predictions.

Inputs without labels, if there are any, come after x, and after phi(g) x.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import keras
from keras import ops

from keras_remul.utils.typing import Array, Elements, Tree

# Evaluation draws this many elements and gives sample i of the data the
# element i, modulo their number: it depends on the place of a sample in the
# data alone, not on the batch that it came in.
EVALUATION_ELEMENTS = 1024
EVALUATION_SEED = 20241017


class Pair(NamedTuple):
    """The batch (x, phi(g) x), passed in place of x.

    Attributes:
        x: the inputs; first, because Keras counts the samples of the first
            leaf.
        g: the elements; None where the batch is x alone.
        index: the samples that g transforms, `(K,)`; None for each one once.
        unlabeled: inputs without labels, all of which g transforms; or None.
        turns: the part of the second task that each element g is of, `(K,)`;
            None where they are of all parts.
    """

    x: Tree
    g: Elements = None
    index: Array | None = None
    unlabeled: Tree | None = None
    turns: Array | None = None

    def of_moved(self, data, unlabeled=None):
        """The entries of `data` that belong to the samples of phi(g) x.

        Args:
            data: for x.
            unlabeled: the same for the inputs without labels, if there are any.
        """
        return concatenate(take(data, self.index), unlabeled)

    def stacked(self, symmetry):
        """All inputs, then moved ones, as one batch in the structure of x."""
        sources = self.of_moved(self.x, self.unlabeled)
        moved = symmetry.transform_inputs(self.g, sources)
        return concatenate(concatenate(self.x, self.unlabeled), moved)

    def sizes(self):
        """The numbers of samples with labels and without."""
        others = 0 if self.unlabeled is None else batch_size(self.unlabeled)
        return batch_size(self.x), others


class Predictions(NamedTuple):
    """The predictions for a `Pair`.

    The masks are those that Keras attached to the predictions, stored here
    because slicing would lose them. They have the structure of the outputs,
    with None for no mask.

    Attributes:
        clean: f(x).
        clean_mask: its masks.
        moved: f(phi(g) x), and of moved inputs without labels; or None.
        moved_mask: its masks.
        unlabeled: f of the inputs without labels, or None.
    """

    clean: Tree
    clean_mask: Tree
    moved: Tree = None
    moved_mask: Tree = None
    unlabeled: Tree = None

    @classmethod
    def split(cls, y, masks, sizes=None):
        """Splits the predictions for a `Pair`.

        Args:
            y: predictions.
            masks: list of the masks of their leaves.
            sizes: `Pair.sizes()`; None where the batch is x alone.
        """
        outputs = y, keras.tree.pack_sequence_as(y, masks)
        if sizes is None:
            return cls(*outputs)
        n, others = sizes
        first, rest = (
            [rows(data, part) for data in outputs]
            for part in (slice(None, n), slice(n + others, None))
        )
        unlabeled = None
        if not isinstance(others, int) or others:
            unlabeled = rows(y, slice(n, n + others))
        return cls(*first, *rest, unlabeled=unlabeled)


def rows(data, part):
    """The rows `part`, a slice or indices, of nested arrays."""
    return keras.tree.map_structure(
        lambda a: None if a is None else a[part], data
    )


def concatenate(data, more):
    """Nested arrays, one after the other; `more` may be None.

    A leaf that is None stays None.
    """
    if more is None:
        return data
    return keras.tree.map_structure(
        # Integers that were moved are floats now.
        lambda a, b: (
            None
            if a is None
            else ops.concatenate([ops.cast(a, b.dtype), b], axis=0)
        ),
        data,
        more,
    )


def weights_of_moved(x, weights):
    """Sample weights of a `Pair` for the equivariance task.

    Inputs without labels have the weight 1.

    Args:
        x: the `Pair`.
        weights: weights of the samples with labels, nested, or None.
    """
    ones = None
    if weights is not None and x.unlabeled is not None:
        n = batch_size(x.unlabeled)
        ones = keras.tree.map_structure(
            lambda w: (
                None
                if w is None
                else ops.ones((n, *ops.shape(w)[1:]), dtype=w.dtype)
            ),
            weights,
        )
    return x.of_moved(weights, ones)


def take(data, index):
    """The samples `index` of nested arrays; None is all of them."""
    if index is None:
        return data
    return keras.tree.map_structure(
        lambda a: None if a is None else ops.take(a, index, axis=0), data
    )


def batch_size(x):
    """B, of nested arrays `(B, ...)`."""
    return ops.shape(keras.tree.flatten(x)[0])[0]


def select(n, fraction, num_samples):
    """Selects the samples to transform: the first ones, `num_samples` times.

    Args:
        n: number of samples.
        fraction: share of them that is transformed.
        num_samples: elements g for each of these.

    Returns:
        Their number without repetitions, and an index, or None for each one
        once.
    """
    if fraction == 1 and num_samples == 1:
        return n, None
    if isinstance(n, int):  # a static shape, which JAX needs
        count = math.ceil(fraction * n)
    else:
        count = ops.cast(ops.ceil(fraction * ops.cast(n, "float32")), "int32")
    return count, ops.tile(ops.arange(count, dtype="int32"), [num_samples])


def draw(symmetry, n, num_samples, seed, replica=(0, 1)):
    """Elements `(num_samples n, ...)` for n samples.

    Args:
        symmetry: the `Symmetry`.
        n: number of samples of this replica.
        num_samples: elements for each of them.
        seed: a `SeedGenerator`.
        replica: index and number of the replicas that share the batch. Each
            draws for all and keeps its part, so that the g are the same as for
            one replica with the whole batch.
    """
    place, count = replica
    g = symmetry.sample(num_samples * count * n, seed=seed)
    if count == 1:
        return g
    first = ops.arange(num_samples) * (count * n) + place * n
    return take(g, ops.reshape(first[:, None] + ops.arange(n), (-1,)))


def place(n, seen, replica=(0, 1)):
    """The place in the data of the first of the next n samples.

    Args:
        n: number of samples of this replica.
        seen: number of samples that this replica had before.
        replica: index and number of the replicas that share each batch.
    """
    index, count = replica
    return ops.cast(seen, "int32") * count + index * n


def draw_by_place(symmetry, n, first):
    """The elements of evaluation for n samples.

    Args:
        symmetry: the `Symmetry`.
        n: number of samples.
        first: the `place` of the first of them.
    """
    g = symmetry.sample(EVALUATION_ELEMENTS, seed=EVALUATION_SEED)
    index = ops.mod(first + ops.arange(n, dtype="int32"), EVALUATION_ELEMENTS)
    return take(g, index)


def transform_batch(symmetry, x, y, sample_weight, g, index=None):
    """(phi(g) x, rho(g) y, sample_weight) of the samples `index`."""
    x, y, sample_weight = (take(data, index) for data in (x, y, sample_weight))
    moved_x = symmetry.transform_inputs(g, x)
    moved_y = symmetry.transform_outputs(g, y, symmetry.get_mask(x))
    return moved_x, moved_y, sample_weight
