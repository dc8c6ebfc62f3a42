"""Weights that follow a schedule."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import keras
from keras import ops

from keras_remul.training.weighting.base import LossWeighting, check_weights
from keras_remul.utils.arguments import at_least, check
from keras_remul.utils.typing import Array, Config


@keras.saving.register_keras_serializable(package="keras_remul")
class Scheduled(LossWeighting):
    """alpha and beta as functions of the training step.

    A ramp of beta is a schedule. It is not the paper's gradual penalty, which
    adapts the weights to the gradients: see `GradNorm`.

    Args:
        alpha: a number, a `keras.optimizers.schedules.LearningRateSchedule`,
            or a function of the step (a scalar tensor; use `keras.ops`, and
            register it with `keras.saving` if the model is to be saved).
            Defaults to 1.0.
        beta: likewise. Defaults to 1.0.
        **kwargs: `name`, for `keras.Layer`.

    Example:

    >>> ramp = keras.optimizers.schedules.PolynomialDecay(0.01, 1000, 10.0)
    >>> RemulModel(model, symmetry, weighting=Scheduled(beta=ramp))
    """

    def __init__(
        self,
        alpha: float
        | Callable[[Array], Array]
        | keras.optimizers.schedules.LearningRateSchedule = 1.0,
        beta: float
        | Callable[[Array], Array]
        | keras.optimizers.schedules.LearningRateSchedule = 1.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        for name, value in (("alpha", alpha), ("beta", beta)):
            if not (callable(value) or isinstance(value, (int, float))):
                raise ValueError(
                    f"Argument `{name}` must be a number, a Keras schedule or "
                    f"a function of the step. Received: {name}={value!r}"
                )
            if not callable(value):
                check(name, value, "float", at_least(0))
        check_weights(alpha, beta)
        self.alpha = alpha
        self.beta = beta
        self.step = self.add_weight(
            shape=(),
            dtype="int32",
            initializer="zeros",
            trainable=False,
            name="step",
        )

    @property
    def uses_objective(self) -> bool:
        return callable(self.alpha) or self.alpha > 0

    @property
    def uses_equivariance(self) -> bool:
        return callable(self.beta) or self.beta > 0

    def loss_weights(self) -> tuple[Array, Array]:
        return self._at_step(self.alpha), self._at_step(self.beta)

    def _at_step(self, value):
        if not callable(value):
            return value
        return ops.cast(value(ops.convert_to_tensor(self.step)), "float32")

    def advance(self) -> None:
        self.step.assign(self.step + 1)

    def get_config(self) -> Config:
        serialize = keras.saving.serialize_keras_object
        return {
            **super().get_config(),
            "alpha": serialize(self.alpha),
            "beta": serialize(self.beta),
        }

    @classmethod
    def from_config(cls, config: Config) -> Self:
        restore = keras.saving.deserialize_keras_object
        return cls(**{key: restore(value) for key, value in config.items()})
