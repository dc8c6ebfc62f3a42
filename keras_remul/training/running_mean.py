"""The means that RemulModel logs."""

import keras
from keras import ops


class RunningMean(keras.metrics.Mean):
    """The mean of the logged values; NaN instead of 0 if there are none."""

    def result(self):
        nothing = ops.full((), float("nan"), dtype=self.dtype)
        return ops.where(self.count > 0, super().result(), nothing)
