"""What RemulModel logs."""

import keras
from keras import ops


class RunningMean(keras.metrics.Mean):
    """The mean of what was logged; NaN where nothing was, rather than 0."""

    def result(self):
        nothing = ops.full((), float("nan"), dtype=self.dtype)
        return ops.where(self.count > 0, super().result(), nothing)
