"""`fit` and `evaluate`, with checks of the data before the first step."""

from __future__ import annotations

import warnings
from typing import Any

import keras

from keras_remul.backend import devices, keras_internals
from keras_remul.backend.mixins import ModelMixin
from keras_remul.training import partly_labeled
from keras_remul.training.checks import DataChecks
from keras_remul.training.weighting import LossWeighting
from keras_remul.utils.typing import Tree


class ChecksData(ModelMixin):
    """Mixin of `RemulModel`: its `fit` and `evaluate`."""

    weighting: LossWeighting
    _checks: DataChecks

    def fit(
        self,
        x: Any = None,
        y: Tree | None = None,
        *args: Any,
        unlabeled: Tree | None = None,
        unlabeled_batch_size: int | None = None,
        **kwargs: Any,
    ) -> keras.callbacks.History:
        """As `keras.Model.fit`.

        Args:
            x, y, *args, **kwargs: as for Keras.
            unlabeled: more inputs, arrays in the structure of x, which need no
                labels: the equivariance task sees them too. Needs
                `target="predictions"`, and arrays for x and y; batches of other
                kinds can be of `PartlyLabeled` inputs.
            unlabeled_batch_size: how many of them each step sees. Defaults to
                the size of the batch.

        Raises:
            ValueError: the data do not fit the symmetry or each other, or hold
                NaN.
        """
        data = (x, y, kwargs.get("sample_weight"))
        x = self._checks.checked(*data)
        if unlabeled is not None or unlabeled_batch_size is not None:
            x, kwargs = partly_labeled.for_fit(
                self, x, y, unlabeled, unlabeled_batch_size, args, kwargs
            )
            y, args = None, ()
        if isinstance(kwargs.get("validation_data"), (tuple, list)):
            self._checks.checked(*kwargs["validation_data"])
        if self._checks.is_new("train", data):
            self.train_function = None
        devices.synchronize(self)
        history = super().fit(x, y, *args, **kwargs)
        if warning := self.weighting.warning():
            warnings.warn(warning, stacklevel=2)
        return history

    def evaluate(
        self, x: Any = None, y: Tree | None = None, *args: Any, **kwargs: Any
    ) -> float | list[float] | dict[str, float]:
        data = (x, y, kwargs.get("sample_weight"))
        x = self._checks.checked(*data)
        if self._checks.is_new("test", data):
            self.test_function = None
        result = super().evaluate(x, y, *args, **kwargs)
        if keras_internals.is_validation(kwargs):
            self.weighting.validated(result)
        return result
