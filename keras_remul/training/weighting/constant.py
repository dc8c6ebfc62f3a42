"""Constant weights."""

from __future__ import annotations

from typing import Any

import keras

from keras_remul.training.weighting.base import LossWeighting, check_weights
from keras_remul.utils.arguments import at_least, checked
from keras_remul.utils.typing import Array, Config


@keras.saving.register_keras_serializable(package="keras_remul")
class Constant(LossWeighting):
    """The constant penalty: L = alpha L_obj + beta L_equi.

    A larger beta makes the model more equivariant; if it is too large, the task
    error grows. beta = 0 is plain training, at the same cost. With alpha = 0
    and `target="labels"` the model sees only moved samples, transformed by
    random g, also at that cost. This is data augmentation, as
    `RemulModel(augment=True)` with beta = 0.

    Args:
        alpha: weight of the objective, at least 0. Defaults to 1.0.
        beta: weight of the equivariance loss, at least 0. Defaults to 1.0.
        **kwargs: `name`, for `keras.Layer`.

    Example:

    >>> RemulModel(model, symmetry, weighting=Constant(beta=10.0))

    Reference: arXiv 2410.17878.
    """

    @checked(alpha=at_least(0), beta=at_least(0))
    def __init__(
        self, alpha: float = 1.0, beta: float = 1.0, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        check_weights(alpha, beta)
        self.alpha = float(alpha)
        self.beta = float(beta)

    @property
    def uses_objective(self) -> bool:
        return self.alpha > 0

    @property
    def uses_equivariance(self) -> bool:
        return self.beta > 0

    def loss_weights(self) -> tuple[Array, Array]:
        return self.alpha, self.beta

    def get_config(self) -> Config:
        return {**super().get_config(), "alpha": self.alpha, "beta": self.beta}
