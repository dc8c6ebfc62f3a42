"""Models that are themselves after a call that failed."""

import contextlib
import functools

import keras

from keras_remul import backend
from keras_remul.backend.keras_internals import with_sublayers
from keras_remul.utils.validation import check_no_overflow


@contextlib.contextmanager
def _new_functions(model):
    """Where a call fails, the next one traces the model anew.

    TensorFlow lets a function make variables in its first call alone, also
    where that has failed.
    """
    try:
        yield
    except BaseException:
        model.train_function = None
        model.test_function = None
        model.predict_function = None
        raise


class KeepsVariables:
    """Adds to a Keras model that an error in a call leaves it its variables.

    On JAX, Keras takes the values out of a model while `fit`, `evaluate` and
    `predict` run, and does not put them back where these are interrupted: the
    next call fails with "'NoneType' object is not callable". And `predict`
    raises ValueError where large inputs have become NaN or infinity.
    """

    @functools.wraps(keras.Model.fit)
    def fit(self, *args, **kwargs):
        with backend.restored(self), _new_functions(self):
            return super().fit(*args, **kwargs)

    @functools.wraps(keras.Model.evaluate)
    def evaluate(self, *args, **kwargs):
        with backend.restored(self), _new_functions(self):
            return super().evaluate(*args, **kwargs)

    def make_train_function(self, force=False):
        # TensorFlow traces a step again that made variables while traced.
        if self._can_build_optimizer():
            self.optimizer.build(self.trainable_variables)
        return super().make_train_function(force)

    def _can_build_optimizer(self):
        if self.optimizer is None or self.optimizer.built:
            return False
        return all(layer.built for layer in with_sublayers(self))

    @functools.wraps(keras.Model.predict)
    def predict(self, *args, **kwargs):
        with backend.restored(self), _new_functions(self):
            y = super().predict(*args, **kwargs)
        check_no_overflow(args[0] if args else kwargs.get("x"), y)
        return y
