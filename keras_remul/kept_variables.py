"""Models that are themselves after a call that failed."""

import functools

import keras

from keras_remul import backend


class KeepsVariables:
    """Adds to a Keras model that an error in a call leaves it its variables.

    On JAX, Keras takes the values out of a model while `fit`, `evaluate` and
    `predict` run, and does not put them back where these are interrupted: the
    next call fails with "'NoneType' object is not callable".
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
            return super().predict(*args, **kwargs)
