"""Models that are themselves after a call that failed."""

import functools

import keras

from keras_remul import backend
from keras_remul.validation import check_no_overflow


class KeepsVariables:
    """Adds to a Keras model that an error in a call leaves it its variables.

    On JAX, Keras takes the values out of a model while `fit`, `evaluate` and
    `predict` run, and does not put them back where these are interrupted: the
    next call fails with "'NoneType' object is not callable". And `predict`
    raises ValueError where large inputs have become NaN or infinity.
    """

    @functools.wraps(keras.Model.fit)
    def fit(self, *args, **kwargs):
        with backend.restored(self):
            return super().fit(*args, **kwargs)

    @functools.wraps(keras.Model.evaluate)
    def evaluate(self, *args, **kwargs):
        with backend.restored(self):
            return super().evaluate(*args, **kwargs)

    @functools.wraps(keras.Model.predict)
    def predict(self, *args, **kwargs):
        with backend.restored(self):
            y = super().predict(*args, **kwargs)
        check_no_overflow(args[0] if args else kwargs.get("x"), y)
        return y
