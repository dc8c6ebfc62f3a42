"""Batches of arrays that stay on disk."""

import functools
import secrets

import keras
import numpy as np

from keras_remul.backend import devices
from keras_remul.backend.devices.processes import own_rows
from keras_remul.datasets.registry import divide
from keras_remul.utils.validation import check_count

BLOCK = 256  # rows that lie side by side on disk and are read together
WINDOW = 256  # blocks that are mixed with each other


class Batches(keras.utils.PyDataset):
    """Batches (x, y) of arrays, see `datasets.stream`.

    Args:
        shards: list of dicts of arrays, which may be mapped into memory, with
            a leading sample axis; the samples of the first come first.
        target: the key of y, or a tuple of keys, where y is a dict; the other
            arrays are x.
        batch_size: samples of a batch.
        shuffle: whether the order is random, and different in each epoch.
        seed: integer seed of the orders, or None for a random one.
        **kwargs: those of `keras.utils.PyDataset`.

    Attributes:
        epoch: number of the order that is read next. `fit` reads the orders
            epoch + 1, epoch + 2, ...

    Raises:
        ValueError: for a `batch_size` below 1, and for shards that differ in
            their keys, in the shapes of a sample or in dtypes.
    """

    def __init__(self, shards, target, batch_size, shuffle, seed, **kwargs):
        super().__init__(**kwargs)
        batch_size = check_count("batch_size", batch_size)
        if seed is not None:
            seed = check_count("seed", seed, least=0)
        kinds = [
            {key: (a.shape[1:], a.dtype) for key, a in shard.items()}
            for shard in shards
        ]
        for kind in kinds[1:]:
            if kind != kinds[0]:
                raise ValueError(
                    "What is streamed together must have the same features. "
                    f"Received: {kinds[0]} and {kind}"
                )
        self.shards, self.target = shards, target
        self.batch_size, self.shuffle, self.seed = batch_size, shuffle, seed
        self.epoch = 0
        self._own_seed = secrets.randbits(32)
        sizes = [len(next(iter(shard.values()))) for shard in shards]
        self._ends = np.cumsum(sizes)
        self._starts = self._ends - sizes
        if not self._ends[-1]:
            raise ValueError("What is streamed must hold a sample at least.")

    def __len__(self):
        return -(-int(self._ends[-1]) // self.batch_size)

    def __getitem__(self, index):
        index = range(len(self))[index]  # IndexError; -1 is the last
        first = index * self.batch_size
        last = min(first + self.batch_size, int(self._ends[-1]))
        rows = np.arange(first, last)
        if not self.shuffle:
            return divide(self._read(rows), self.target)
        place, count = devices.process()
        if count > 1 and self.seed is None:
            raise ValueError(
                "Argument `seed` of a stream must be given where several "
                "processes train on it: they would read other orders."
            )
        seed = self._own_seed if self.seed is None else self.seed
        order = order_of(int(self._ends[-1]), seed, self.epoch)
        rows = order.rows(first, last)
        own = own_rows(len(rows), place, count)
        batch = self._read(rows[own])
        if count > 1:
            batch = {
                key: _spread(array, own, len(rows))
                for key, array in batch.items()
            }
        return divide(batch, self.target)

    def _read(self, rows):
        """The samples `rows`, in this order, from all shards."""
        shards = np.searchsorted(self._ends, rows, side="right")
        batch = {
            key: np.empty((len(rows), *array.shape[1:]), array.dtype)
            for key, array in self.shards[0].items()
        }
        for i in np.unique(shards):
            here = shards == i
            for key, array in self.shards[i].items():
                batch[key][here] = array[rows[here] - self._starts[i]]
        return batch

    def on_epoch_end(self):
        self.epoch += 1


def _spread(array, places, size):
    """A batch of `size` with `array` at `places`; NaN, or 0, elsewhere."""
    filling = np.nan if array.dtype.kind == "f" else 0
    result = np.full((size, *array.shape[1:]), filling, array.dtype)
    result[places] = array
    return result


@functools.lru_cache(maxsize=4)
def order_of(size, seed, epoch):
    """The `Order` of an epoch."""
    return Order(size, [seed, epoch])


class Order:
    """A random order of rows, any part of which can be computed alone.

    Blocks of rows are permuted, and then the rows within each group of `WINDOW`
    blocks; up to 65,536 rows form one group. So a disk is read in blocks, each
    once, and no permutation of all rows is in memory.

    Args:
        size: number of rows.
        seed: list of integers.
    """

    def __init__(self, size, seed):
        self.size, self.seed = size, seed
        rng = np.random.default_rng(seed)
        self._blocks = rng.permutation(size // BLOCK)
        # The rows that are left over, always last, are others in each epoch.
        self._shift = rng.integers(size)
        self._window = functools.lru_cache(maxsize=2)(self._new_window)

    def rows(self, first, last):
        """The rows at the places `first` to `last` - 1, `(last - first,)`."""
        length = BLOCK * WINDOW
        windows = range(first // length, (last - 1) // length + 1)
        found = np.concatenate([self._window(i) for i in windows])
        start = windows[0] * length
        return found[first - start : last - start]

    def _new_window(self, i):
        blocks = self._blocks[i * WINDOW : (i + 1) * WINDOW]
        rows = (blocks[:, None] * BLOCK + np.arange(BLOCK)).reshape(-1)
        if len(blocks) < WINDOW:  # the last one
            left_over = np.arange(len(self._blocks) * BLOCK, self.size)
            rows = np.concatenate([rows, left_over])
        rows = np.random.default_rng([*self.seed, i]).permutation(rows)
        return (rows + self._shift) % self.size
