"""Batches of arrays that stay on disk."""

import secrets

import keras
import numpy as np


class Batches(keras.utils.PyDataset):
    """Batches (x, y) of arrays, see `datasets.stream`.

    Args:
        arrays: dict of arrays, which may be mapped into memory, with a leading
            sample axis.
        target: the key of y; the other arrays are x.
        batch_size: samples of a batch.
        shuffle: whether the order is random, and another one in each epoch.
        seed: integer seed of the orders, or None for a random one.
        **kwargs: those of `keras.utils.PyDataset`.
    """

    def __init__(self, arrays, target, batch_size, shuffle, seed, **kwargs):
        super().__init__(**kwargs)
        if not isinstance(batch_size, int) or batch_size < 1:
            raise ValueError(
                "Argument `batch_size` must be an integer, at least 1. "
                f"Received: batch_size={batch_size!r}"
            )
        self.arrays, self.target = arrays, target
        self.batch_size, self.shuffle = batch_size, shuffle
        self.seed = secrets.randbits(32) if seed is None else seed
        self.epoch = 0
        self._order = self._new_order()

    def _new_order(self):
        size = len(self.arrays[self.target])
        if not self.shuffle:
            return np.arange(size)
        return np.random.default_rng([self.seed, self.epoch]).permutation(size)

    def __len__(self):
        return -(-len(self._order) // self.batch_size)

    def __getitem__(self, index):
        first = index * self.batch_size
        rows = self._order[first : first + self.batch_size]
        batch = {key: array[rows] for key, array in self.arrays.items()}
        return batch, batch.pop(self.target)

    def on_epoch_end(self):
        self.epoch += 1
        self._order = self._new_order()
