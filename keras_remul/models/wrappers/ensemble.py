"""Weighted mean of models."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_remul.models.wrappers.base import Wrapper
from keras_remul.utils.typing import Config, Tree


@keras.saving.register_keras_serializable(package="keras_remul")
class Ensemble(Wrapper):
    """The weighted mean of what several models predict.

    `y = sum_k w_k f_k(x)`

    Args:
        models: list of Keras models with the same inputs and outputs.
        weights: list of floats w_k. Defaults to equal weights of sum 1.
        **kwargs: `name`, `dtype` and `trainable`, for `keras.Model`.

    Call arguments:
        inputs: the inputs of the models.
        training: passed on.

    Returns:
        The outputs, in the structure of those of the first model. A value is
        masked if it is masked for one of the models.

    Raises:
        ValueError: there are no models, a model occurs twice, the number of
            weights differs, or outputs have different shapes.

    Example:
        >>> model = Ensemble([first, second], weights=[0.7, 0.3])
        >>> model.save_to_preset("folder", x=x)
    """

    parts = ("models",)

    def __init__(
        self,
        models: Sequence[keras.Model],
        weights: Sequence[float] | None = None,
        **kwargs: Any,
    ) -> None:
        if not isinstance(models, (list, tuple)):
            raise ValueError(
                "Argument `models` must be a list of keras.Model. Received: "
                f"models={models!r}"
            )
        models = list(models)
        if weights is None:
            weights = [1.0 / max(len(models), 1)] * len(models)
        if not models or len(weights) != len(models):
            raise ValueError(
                "Expected `models` and as many `weights`. Received: "
                f"{len(models)} models, weights={weights}"
            )
        if not all(math.isfinite(w) for w in weights):
            raise ValueError(
                f"Argument `weights` must be finite. Received: {weights}"
            )
        if len({id(model) for model in models}) < len(models):
            raise ValueError(
                "Argument `models` must not hold a model twice: a "
                "loaded ensemble would have two. Add up its `weights`."
            )
        super().__init__(models, **kwargs)
        self.shares = [float(w) for w in weights]

    def call(self, inputs: Tree, training: bool | None = None) -> Tree:
        outputs = [model(inputs, training=training) for model in self.models]
        y = keras.tree.map_structure(self._mean, *outputs)
        masks = [
            functools.reduce(ops.logical_and, given) if given else None
            for given in (
                [mask for mask in of_leaf if mask is not None]
                for of_leaf in zip(*map(self.read_masks, outputs), strict=True)
            )
        ]
        return self.with_masks(y, masks)

    def _mean(self, *values):
        shapes = [tuple(value.shape) for value in values]
        if any(len(shape) != len(shapes[0]) for shape in shapes) or any(
            None not in axis and any(size != axis[0] for size in axis)
            for axis in zip(*shapes, strict=True)
        ):
            raise ValueError(
                "Expected `models` whose outputs have the same shape. "
                f"Received: shapes {shapes}"
            )
        terms = zip(self.shares, values, strict=True)
        return sum(share * value for share, value in terms)

    def get_config(self) -> Config:
        return {**super().get_config(), "weights": list(self.shares)}
