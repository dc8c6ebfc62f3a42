"""Models that keep their variables after a failed call, and their masks."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Collection
from typing import TYPE_CHECKING, Any, Self

import keras
import numpy as np

from keras_remul import backend
from keras_remul.backend import keras_internals
from keras_remul.backend.mixins import ModelMixin
from keras_remul.utils.typing import Array, StrPath, Tree
from keras_remul.utils.validation import check_no_overflow


@contextlib.contextmanager
def _new_functions(model):
    """After a call that fails, the next one traces the model again.

    TensorFlow lets a function create variables only in its first call, even if
    that failed.
    """
    try:
        yield
    except BaseException:
        model.train_function = None
        model.test_function = None
        model.predict_function = None
        raise


def _build(model, x=None, y=None, *args, sample_weight=None, **kwargs):
    """Makes the variables, if x, and y if there is one, are arrays."""
    data = x, y, sample_weight
    leaves = [leaf for leaf in keras.tree.flatten(data) if leaf is not None]
    if leaves and all(_is_array(leaf) for leaf in leaves):
        backend.build_early(model, data)


def _is_array(leaf):
    if isinstance(leaf, np.ndarray):
        return leaf.ndim > 0 and leaf.dtype.kind in "biuf"
    return keras.ops.is_tensor(leaf) and len(leaf.shape) > 0


class KeepsVariables(ModelMixin):
    """Mixin of a Keras model: an error in a call does not remove its variables.

    On JAX, Keras removes the values from a model while `fit`, `evaluate` and
    `predict` run, and does not restore them if these are interrupted: the next
    call fails with "'NoneType' object is not callable". In addition, `predict`
    raises ValueError if large inputs have become NaN or infinite.

    The metrics of a training step leave out padding, as its losses do: on JAX,
    the masks do not leave the function that Keras differentiates.
    """

    _masks = None

    if TYPE_CHECKING:  # what keras_remul.presets.methods adds
        presets: dict[str, str]

        @classmethod
        def from_preset(
            cls,
            name_or_path: StrPath,
            load_weights: bool = True,
            dtype: str | keras.DTypePolicy | None = None,
            zoo: str | None = None,
            packages: Collection[str] = (),
            **kwargs: Any,
        ) -> Self: ...

        def save_to_preset(self, path: StrPath, **kwargs: Any) -> None: ...

    def compute_loss(
        self,
        x: Tree | None = None,
        y: Tree | None = None,
        y_pred: Tree | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> Array:
        self._masks = keras_internals.masks(y_pred)
        return super().compute_loss(x, y, y_pred, *args, **kwargs)

    def compute_metrics(
        self, x: Tree, y: Tree, y_pred: Tree, sample_weight: Tree | None = None
    ) -> dict[str, Array]:
        masks, self._masks = self._masks, None
        if masks is not None:
            keras_internals.put_masks(y_pred, masks)
        return super().compute_metrics(x, y, y_pred, sample_weight)

    @functools.wraps(keras.Model.fit)
    def fit(self, *args: Any, **kwargs: Any) -> keras.callbacks.History:
        with backend.restored(self), _new_functions(self):
            _build(self, *args, **kwargs)
            return super().fit(*args, **kwargs)

    @functools.wraps(keras.Model.evaluate)
    def evaluate(
        self, *args: Any, **kwargs: Any
    ) -> float | list[float] | dict[str, float]:
        with backend.restored(self), _new_functions(self):
            _build(self, *args, **kwargs)
            return super().evaluate(*args, **kwargs)

    def make_train_function(self, force: bool = False) -> Any:
        # TensorFlow traces a step again that made variables while traced.
        if self._can_build_optimizer():
            self.optimizer.build(self.trainable_variables)
        return super().make_train_function(force)

    def _can_build_optimizer(self):
        if self.optimizer is None or self.optimizer.built:
            return False
        return all(
            layer.built for layer in keras_internals.with_sublayers(self)
        )

    @functools.wraps(keras.Model.predict)
    def predict(self, *args: Any, **kwargs: Any) -> Tree:
        x = args[0] if args else kwargs.get("x")
        with backend.restored(self), _new_functions(self):
            _build(self, x)
            y = super().predict(*args, **kwargs)
        check_no_overflow(x, y)
        return y
