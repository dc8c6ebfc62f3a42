"""A tolerance instead of a weight."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import keras
import numpy as np
from keras import ops

from keras_remul.training.weighting.base import (
    LossWeighting,
    StepMeasures,
)
from keras_remul.utils.arguments import POSITIVE, RATE, checked
from keras_remul.utils.typing import Array, Config

MAX_MARGIN = 2.0  # of more, the model is overfitted, which no beta mends
MEASURES = ("equivariance_error", "relative_equivariance_error")


@keras.saving.register_keras_serializable(package="keras_remul")
class Constrained(LossWeighting):
    """Minimise L_obj subject to "equivariance error <= tolerance".

    beta is the multiplier of the constraint. Each step changes it by

        log beta <- log beta + learning_rate clip(v, -1, 1)
        v = log(margin e / tolerance)

    with e the running mean of the error of the batches: beta grows while the
    error is above the tolerance, and falls while it is below. The step is taken
    in log beta because the error falls as a power of beta over several decades,
    so that one learning rate fits all of them (mirror ascent on the dual
    problem).

    The margin is 1 until `fit` has validation data; from then on it is the
    ratio of the error there to that of the batches, if above 1, so that the
    tolerance is held on data that were not trained on.

    Args:
        tolerance: the required error, positive; in the units of the output for
            `measure="equivariance_error"`, a ratio for
            `"relative_equivariance_error"`.
        measure: `"equivariance_error"`, E' = mean ||f(phi(g) x) - rho(g) f(x)||
            of the batch, or `"relative_equivariance_error"`, E' over mean
            ||f(x)|| (positions relative to the center of the nodes); see
            `evaluate_equivariance`. Defaults to `"equivariance_error"`.
        alpha: weight of the objective. Defaults to 1.0.
        initial_beta: beta at the start. Defaults to 1.0.
        learning_rate: largest change of log beta in a step. Defaults to 0.02.
        memory: decay of the running mean. Defaults to 0.95.
        max_beta: beta stays between 1 / max_beta and max_beta. Defaults to
            1e4.
        margin: whether there is one. Defaults to True.
        **kwargs: `name`, for `keras.Layer`.

    Raises:
        ValueError: the measure is unknown or an argument is out of range. If
            the tolerance is missed, `fit` warns at its end.

    Example:

    >>> RemulModel(model, symmetry, Constrained(tolerance=0.05))

    Reference: dual ascent for approximate equivariance, arXiv 2505.13631.
    """

    @checked(
        tolerance=POSITIVE,
        alpha=POSITIVE,
        initial_beta=POSITIVE,
        learning_rate=POSITIVE,
        memory=RATE,
        max_beta=POSITIVE,
    )
    def __init__(
        self,
        tolerance: float,
        measure: str = "equivariance_error",
        alpha: float = 1.0,
        initial_beta: float = 1.0,
        learning_rate: float = 0.02,
        memory: float = 0.95,
        max_beta: float = 1e4,
        margin: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if measure not in MEASURES:
            raise ValueError(
                f"Argument `measure` must be one of {MEASURES}. Received: "
                f"measure={measure!r}"
            )
        self.tolerance = float(tolerance)
        self.measure = measure
        self.alpha = float(alpha)
        self.initial_beta = float(initial_beta)
        self.learning_rate = float(learning_rate)
        self.memory = float(memory)
        self.max_beta = float(max_beta)
        self.margin = bool(margin)

        def state(name, value):
            return self.add_weight(
                shape=(),
                initializer=keras.initializers.Constant(value),
                trainable=False,
                name=name,
            )

        self.log_beta = state("log_beta", float(np.log(initial_beta)))
        # Negative stands for "not seen yet".
        self.running_error = state("running_error", -1.0)
        self.log_margin: Any = state("log_margin", 0.0) if margin else 0.0

    def loss_weights(self) -> tuple[Array, Array]:
        return self.alpha, ops.exp(ops.convert_to_tensor(self.log_beta))

    def update(self, measured: StepMeasures) -> None:
        error = measured.equivariance_error
        if self.measure == "relative_equivariance_error":
            error = error / ops.maximum(measured.output_norm, 1e-12)
        old = ops.convert_to_tensor(self.running_error)
        mixed = self.memory * old + (1 - self.memory) * error
        running = ops.where(old < 0, error, mixed)
        log_error = ops.log(ops.maximum(running, 1e-12) / self.tolerance)
        violation = ops.clip(log_error + self.log_margin, -1.0, 1.0)
        log_beta = self.log_beta + self.learning_rate * violation
        limit = float(np.log(self.max_beta))
        self.running_error.assign(running)
        self.log_beta.assign(ops.clip(log_beta, -limit, limit))

    def validated(self, logs: Mapping[str, float]) -> None:
        trained = float(ops.convert_to_numpy(self.running_error))
        error = logs.get("equivariance_error", 0.0)
        if self.margin and trained > 0 and error > 0:
            log_margin = np.log(max(error / trained, 1.0))
            self.log_margin.assign(min(log_margin, np.log(MAX_MARGIN)))

    def excess(self, error: float) -> float:
        if self.measure != "equivariance_error":
            return 0.0  # the norm of the outputs is not known here
        return max(error / self.tolerance - 1.0, 0.0)

    def warning(self) -> str | None:
        margin = float(np.exp(ops.convert_to_numpy(self.log_margin)))
        error = margin * float(ops.convert_to_numpy(self.running_error))
        if error <= 1.2 * self.tolerance:
            return None
        beta = float(np.exp(ops.convert_to_numpy(self.log_beta)))
        hint = (
            "beta is at its limit `max_beta`: this model cannot reach it, or "
            "not with this group"
            if beta >= 0.99 * self.max_beta
            else "train for longer, or raise `learning_rate` or `initial_beta`"
        )
        measure = self.measure.replace("_", " ")
        return (
            f"The {measure} at the end of training is {error:.3g}, above "
            f"the tolerance of {self.tolerance:.3g}, with beta = {beta:.3g}; "
            f"{hint}."
        )

    def get_config(self) -> Config:
        return {
            **super().get_config(),
            "tolerance": self.tolerance,
            "measure": self.measure,
            "alpha": self.alpha,
            "initial_beta": self.initial_beta,
            "learning_rate": self.learning_rate,
            "memory": self.memory,
            "max_beta": self.max_beta,
            "margin": self.margin,
        }

    @classmethod
    def from_config(cls, config: Config) -> Self:
        # Configurations of before there was one.
        return cls(**{"margin": False, **config})
