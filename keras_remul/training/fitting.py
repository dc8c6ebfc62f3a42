"""`fit` and `evaluate`, with checks of the data before the first step."""

from __future__ import annotations

import inspect
import warnings
from typing import Any

import keras
import numpy as np

from keras_remul.backend import devices, keras_internals
from keras_remul.backend.mixins import ModelMixin
from keras_remul.training.checks import DataChecks, check_unlabeled
from keras_remul.training.partly_labeled import PartlyLabeledBatches
from keras_remul.training.weighting import LossWeighting
from keras_remul.utils.typing import Tree
from keras_remul.utils.validation import check_finite


class ChecksData(ModelMixin):
    """Mixin of `RemulModel`: its `fit` and `evaluate`."""

    weighting: LossWeighting
    parts: Any
    pairs: bool
    error_tracker: Any
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
        devices.synchronize(self)  # the order of samples is drawn after it
        if unlabeled is not None or unlabeled_batch_size is not None:
            x, kwargs = _with_unlabeled(
                self, x, y, unlabeled, unlabeled_batch_size, args, kwargs
            )
            y, args = None, ()
        if isinstance(kwargs.get("validation_data"), (tuple, list)):
            self._checks.checked(*kwargs["validation_data"])
        if self._checks.is_new("train", data):
            self.train_function = None
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
            count = 0
            if self.pairs:
                count = int(
                    keras.ops.convert_to_numpy(self.error_tracker.count)
                )
            self.weighting.validated(result, self.parts.share(count))
        return result


def _with_unlabeled(remul, x, y, unlabeled, unlabeled_batch_size, args, kwargs):
    """Arguments of `fit` as x, a `PartlyLabeledBatches`, and keywords.

    Args:
        remul: the `RemulModel`.
        x, y: as `fit` was given them.
        unlabeled, unlabeled_batch_size: see `RemulModel.fit`.
        args, kwargs: its other arguments.

    Raises:
        ValueError: they do not fit together.
    """
    given = inspect.signature(keras.Model.fit).bind(
        remul, x, y, *args, **kwargs
    )
    kwargs = {
        name: value
        for name, value in given.arguments.items()
        if name not in ("self", "x", "y")
    }
    if unlabeled is None:
        raise ValueError(
            "Argument `unlabeled_batch_size` needs `unlabeled`, inputs without "
            f"labels. Received: unlabeled_batch_size={unlabeled_batch_size}"
        )
    if y is None or not all(map(_is_array, keras.tree.flatten((x, unlabeled)))):
        raise ValueError(
            "Argument `unlabeled` needs x, y and itself to be arrays. A data "
            "set of another kind can yield (PartlyLabeled(x, more), y) "
            f"instead. Received: x of type {type(x).__name__}, unlabeled of "
            f"type {type(unlabeled).__name__}"
        )
    if kwargs.pop("validation_split", 0.0):
        raise ValueError(
            "Argument `validation_split` cannot be used with `unlabeled`: give "
            "`validation_data`."
        )
    check_unlabeled(remul, x, unlabeled)
    check_finite(unlabeled, "unlabeled")
    batch_size = kwargs.pop("batch_size", None)
    batch_size = 32 if batch_size is None else batch_size
    if unlabeled_batch_size is None:
        unlabeled_batch_size = batch_size
    batches = PartlyLabeledBatches(
        x,
        y,
        kwargs.pop("sample_weight", None),
        unlabeled,
        batch_size=batch_size,
        unlabeled_batch_size=unlabeled_batch_size,
        shuffle=bool(kwargs.pop("shuffle", True)),
        # Of the generator that `keras.utils.set_random_seed` sets.
        seed=np.random.randint(2**31),
    )
    return batches, {**kwargs, "shuffle": False}


def _is_array(leaf):
    return hasattr(leaf, "shape")
