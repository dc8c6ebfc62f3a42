"""Batches of which some samples have no labels."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import keras
import numpy as np

from keras_remul.training import pair
from keras_remul.utils.leaves import count_samples, to_numpy
from keras_remul.utils.typing import Tree
from keras_remul.utils.validation import check_count


class PartlyLabeled(NamedTuple):
    """The inputs of a batch with labels, and further inputs without.

    A data set that yields `(PartlyLabeled(x, more), y)` trains a `RemulModel`
    with `target="predictions"` on both: the objective and the metrics see x and
    y, the equivariance task sees x and the further inputs, which need no label.
    `fit(x, y, unlabeled=more)` makes such batches of arrays.

    Attributes:
        x: inputs that have labels, arrays `(B, ...)`, nested.
        unlabeled: more inputs, `(U, ...)`, in the structure of x.
    """

    x: Tree
    unlabeled: Tree


def split(x: Tree) -> tuple[Tree, Tree | None]:
    """x and the inputs without labels, None if there are none.

    Args:
        x: inputs, or a `PartlyLabeled`.
    """
    return (x.x, x.unlabeled) if isinstance(x, PartlyLabeled) else (x, None)


def passes(size: int, rng: np.random.Generator) -> Iterator[int]:
    """The indices 0 .. size - 1 in random order, again and again.

    Args:
        size: their number.
        rng: a generator of NumPy.
    """
    while True:
        yield from rng.permutation(size).tolist()


def take(indices: Iterator[int], shape: tuple[int, int]) -> np.ndarray:
    """The next ones of `passes`, as a row for each batch.

    Args:
        indices: of `passes`.
        shape: numbers of batches, and of indices for each.
    """
    found = itertools.islice(indices, math.prod(shape))
    return np.fromiter(found, int).reshape(shape)


class PartlyLabeledBatches(keras.utils.PyDataset):
    """Arrays as batches `(PartlyLabeled(x, unlabeled), y, sample_weight)`.

    One pass over the samples with labels is an epoch. Those without labels come
    in a random order of their own, as many in each batch.

    Args:
        x, y, sample_weight: nested arrays; weights may be None.
        unlabeled: nested arrays in the structure of x.
        batch_size: samples with labels in a batch.
        unlabeled_batch_size: samples without in a batch.
        shuffle: whether the samples with labels are in a new order in each
            epoch.
        seed: integer seed of both orders.
    """

    def __init__(
        self,
        x: Tree,
        y: Tree,
        sample_weight: Tree | None,
        unlabeled: Tree,
        batch_size: int,
        unlabeled_batch_size: int,
        shuffle: bool,
        seed: int | None,
    ) -> None:
        super().__init__()
        data = (x, y) if sample_weight is None else (x, y, sample_weight)
        self.labeled, self.unlabeled = (
            keras.tree.map_structure(
                lambda a: None if a is None else to_numpy(a), arrays
            )
            for arrays in (data, unlabeled)
        )
        self.batch_size = check_count("batch_size", batch_size)
        self.unlabeled_batch_size = check_count(
            "unlabeled_batch_size", unlabeled_batch_size
        )
        self.shuffle = shuffle
        self.rng = np.random.default_rng(seed)
        self.size = count_samples(x)
        self.others = passes(count_samples(unlabeled), self.rng)
        self.on_epoch_end()

    def __len__(self) -> int:
        return -(-self.size // self.batch_size)

    def on_epoch_end(self) -> None:
        self.order = np.arange(self.size)
        if self.shuffle:
            self.rng.shuffle(self.order)
        shape = len(self), self.unlabeled_batch_size
        self.other_rows = take(self.others, shape)

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        first = index * self.batch_size
        rows = self.order[first : first + self.batch_size]
        x, *rest = pair.rows(self.labeled, rows)
        others = pair.rows(self.unlabeled, self.other_rows[index])
        return PartlyLabeled(x, others), *rest
