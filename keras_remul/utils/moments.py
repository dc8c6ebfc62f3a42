"""Mean and variance of a sequence of nested arrays."""

from typing import Any

import keras
import numpy as np


class Moments:
    """Running mean and variance of nested arrays (Welford's method)."""

    def __init__(self):
        self.count = 0
        self.mean: Any = None  # until the first update
        self._m2: Any = None

    def update(self, data):
        data = keras.tree.map_structure(
            lambda a: np.asarray(a, "float64"), data
        )
        self.count += 1
        if self.mean is None:
            self.mean = data
            self._m2 = keras.tree.map_structure(np.zeros_like, data)
            return
        delta = keras.tree.map_structure(np.subtract, data, self.mean)
        self.mean = keras.tree.map_structure(
            lambda mean, d: mean + d / self.count, self.mean, delta
        )
        self._m2 = keras.tree.map_structure(
            lambda m2, d, new, mean: m2 + d * (new - mean),
            self._m2,
            delta,
            data,
            self.mean,
        )

    def variance(self, exact=False):
        """The variance of each component.

        Args:
            exact: whether the arrays are the whole population. If not, the
                result is the unbiased estimate from a sample.
        """
        divisor = self.count if exact else self.count - 1
        return keras.tree.map_structure(lambda m2: m2 / divisor, self._m2)
