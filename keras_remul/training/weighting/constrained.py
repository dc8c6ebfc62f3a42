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
from keras_remul.utils.arguments import (
    POSITIVE,
    RATE,
    at_least,
    check,
    checked,
)
from keras_remul.utils.typing import Array, Config

MAX_MARGIN = 2.0  # of more, the model is overfitted, which no beta mends
MEASURES = ("equivariance_error", "relative_equivariance_error")
BAND = 0.5  # log beta moves at full speed from this log of error / tolerance
TREND = 0.99  # decay of the mean that the trend is taken from
_TINY = 1e-12


@keras.saving.register_keras_serializable(package="keras_remul")
class Constrained(LossWeighting):
    """Minimise L_obj subject to "equivariance error <= tolerance".

    beta is the multiplier of the constraint. Each step changes it by

        log beta <- log beta + learning_rate r s clip(v / 0.5, -1, 1)
        v = log(margin e / tolerance)
        r = clip(1 + patience d|v|/dt, 0, 1)
        s = 1 / (1 + (beta L_equi / (2 alpha L_obj))^2) for v > 0, otherwise 1

    with e the running mean of the error of the batches: beta grows while the
    error is above the tolerance, and falls while it is below. The step is taken
    in log beta because the error falls as a power of beta over several decades,
    so that one learning rate fits all of them (mirror ascent on the dual
    problem).

    A network needs hundreds of steps to follow beta, and while the learning
    rate of the optimizer is high its error stays above what the same beta leads
    to later. So beta rests while the error goes towards the tolerance by a
    factor of e in `patience` steps, or faster: it would otherwise grow to far
    above what it ends at. And it grows slowly where beta L_equi already is more
    than twice the loss of the task: a larger beta does not make the error fall
    sooner then, but larger gradients disturb the optimizer.

    The margin is 1 until `fit` has validation data. From then on it is the
    ratio of the error there, plus its standard error, to that of the batches,
    if above 1, so that the tolerance is held on data that were not trained on.

    Args:
        tolerance: the required error, positive; in the units of the output for
            `measure="equivariance_error"`, a ratio for
            `"relative_equivariance_error"`. Or a dict of them, of names of
            outputs, or of the factors of a group that is a `Product`, all of
            them: each has a beta of its own. With factors each sample of a
            step is moved by one of them alone, in turns, which costs no more
            passes; what is logged as E' is then that of these elements.
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
        patience: see r, in steps. 0 is plain dual ascent, `log beta <- log beta
            + learning_rate clip(v, -1, 1)`. In a training of few hundred steps
            take less, and a larger `learning_rate`. Defaults to 100.
        **kwargs: `name`, for `keras.Layer`.

    Raises:
        ValueError: the measure is unknown or an argument is out of range. If
            the tolerance is missed, `fit` warns at its end.

    Example:

    >>> RemulModel(model, symmetry, Constrained(tolerance=0.05))
    >>> Constrained({"energy": 0.001, "forces": 0.02})    # of two outputs

    Reference: dual ascent for approximate equivariance, arXiv 2505.13631.
    """

    @checked(
        alpha=POSITIVE,
        initial_beta=POSITIVE,
        learning_rate=POSITIVE,
        memory=RATE,
        max_beta=POSITIVE,
        patience=at_least(0),
    )
    def __init__(
        self,
        tolerance: float | dict[str, float],
        measure: str = "equivariance_error",
        alpha: float = 1.0,
        initial_beta: float = 1.0,
        learning_rate: float = 0.02,
        memory: float = 0.95,
        max_beta: float = 1e4,
        margin: bool = True,
        patience: float = 100.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if measure not in MEASURES:
            raise ValueError(
                f"Argument `measure` must be one of {MEASURES}. Received: "
                f"measure={measure!r}"
            )
        self.tolerance: Any = _checked(tolerance)
        self.measure = measure
        self.alpha = float(alpha)
        self.initial_beta = float(initial_beta)
        self.learning_rate = float(learning_rate)
        self.memory = float(memory)
        self.max_beta = float(max_beta)
        self.margin = bool(margin)
        self.patience = float(patience)
        self._tolerances: Any = self.tolerance
        if self.parts:
            values = list(self.tolerance.values())
            self._tolerances = np.array(values, "float32")

        def state(name, value):
            return self.add_weight(
                shape=np.shape(self._tolerances),
                initializer=keras.initializers.Constant(value),
                trainable=False,
                name=name,
            )

        self.log_beta = state("log_beta", float(np.log(initial_beta)))
        # Negative stands for "not seen yet".
        self.running_error = state("running_error", -1.0)
        self.log_margin: Any = 0.0
        if margin:
            self.log_margin = state("log_margin", 0.0)
            self.batch_error = state("batch_error", 0.0)
            self.batch_square = state("batch_square", 0.0)
        if patience:
            self.trend_error = state("trend_error", 0.0)
            self.log_ratio = state("log_ratio", 0.0)

    @property
    def parts(self) -> tuple[str, ...]:
        return tuple(self.tolerance) if _is_dict(self.tolerance) else ()

    def loss_weights(self) -> tuple[Array, Array]:
        return self.alpha, ops.exp(ops.convert_to_tensor(self.log_beta))

    def update(self, measured: StepMeasures) -> None:
        error = measured.equivariance_error
        seen = error >= 0  # False for a part that no sample is of
        first = ops.convert_to_tensor(self.running_error) < 0

        def mean(variable, new, memory=self.memory):
            before = ops.convert_to_tensor(variable)
            mixed = memory * before + (1 - memory) * new
            return ops.where(seen, ops.where(first, new, mixed), before)

        if self.margin:
            self.batch_error.assign(mean(self.batch_error, error))
            square = mean(self.batch_square, measured.squared_error)
            self.batch_square.assign(square)
        if self.measure == "relative_equivariance_error":
            error = error / ops.maximum(measured.output_norm, _TINY)
        running = mean(self.running_error, error)
        ratio = ops.divide(ops.maximum(running, _TINY), self._tolerances)
        log_error = ops.log(ratio)
        move = log_error + self.log_margin
        if self.patience:
            move = self._damped(measured, log_error, move, mean)
        move = ops.where(seen, ops.clip(move, -1.0, 1.0), 0.0)
        log_beta = self.log_beta + self.learning_rate * move
        limit = float(np.log(self.max_beta))
        self.running_error.assign(running)
        self.log_beta.assign(ops.clip(log_beta, -limit, limit))

    def _damped(self, measured, log_error, violation, mean):
        """The step of log beta, relative to the learning rate."""
        trend = mean(self.trend_error, log_error, TREND)
        # `trend` is so many steps behind.
        slope = (log_error - trend) * ((1 - TREND) / TREND)
        away = self.patience * slope * ops.sign(violation)
        losses = measured.equivariance, self.alpha * measured.objective
        second, first = (ops.log(ops.maximum(loss, _TINY)) for loss in losses)
        log_ratio = mean(self.log_ratio, second - first)
        self.trend_error.assign(trend)
        self.log_ratio.assign(log_ratio)
        # 1 / (1 + (ratio / 2)^2)
        slowed = ops.sigmoid(2.0 * (np.log(2.0) - log_ratio - self.log_beta))
        rate = ops.clip(1.0 + away, 0.0, 1.0)
        rate = ops.where(violation > 0, slowed * rate, rate)
        return rate * ops.clip(violation / BAND, -1.0, 1.0)

    def validated(self, logs: Mapping[str, float], num_samples: int) -> None:
        if not self.margin:
            return
        trained = ops.convert_to_numpy(self.batch_error)
        square = ops.convert_to_numpy(self.batch_square)
        error = np.array(self._errors(logs), "float32")
        error = np.reshape(error, np.shape(trained))
        if not (np.all(trained > 0) and np.all(error > 0)):
            return
        # Standard deviation over samples, relative to the mean.
        spread = np.sqrt(np.maximum(square / trained**2 - 1, 0))
        sure = 1 + spread / np.sqrt(max(num_samples, 1))
        log_margin = np.log(np.clip(sure * error / trained, 1.0, MAX_MARGIN))
        self.log_margin.assign(log_margin)

    def _errors(self, logs):
        """The errors of the parts in logs, 0 where they are not there."""
        names = [f"equivariance_error_{name}" for name in self.parts]
        names = names or ["equivariance_error"]
        return [logs.get(name, 0.0) for name in names]

    def excess(self, logs: Mapping[str, float]) -> float:
        if self.measure != "equivariance_error":
            return 0.0  # the norm of the outputs is not known here
        ratios = np.divide(self._errors(logs), self._tolerances)
        return max(float(np.max(ratios)) - 1.0, 0.0)

    def warning(self) -> str | None:
        margin = np.exp(ops.convert_to_numpy(self.log_margin))
        errors = margin * ops.convert_to_numpy(self.running_error)
        betas = np.exp(ops.convert_to_numpy(self.log_beta))
        found = (np.ravel(a) for a in (errors, betas, self._tolerances))
        names = [f" of {name!r}" for name in self.parts] or [""]
        lines = [
            self._line(name, *figures)
            for name, *figures in zip(names, *found, strict=True)
        ]
        return " ".join(filter(None, lines)) or None

    def _line(self, name, error, beta, tolerance):
        """The warning for one part, or None."""
        if error <= 1.2 * tolerance:
            return None
        hint = (
            "beta is at its limit `max_beta`: this model cannot reach it, or "
            "not with this group"
            if beta >= 0.99 * self.max_beta
            else "train for longer, or raise `learning_rate` or `initial_beta`"
        )
        measure = self.measure.replace("_", " ")
        return (
            f"The {measure}{name} at the end of training is {error:.3g}, above "
            f"the tolerance of {tolerance:.3g}, with beta = {beta:.3g}; "
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
            "patience": self.patience,
        }

    @classmethod
    def from_config(cls, config: Config) -> Self:
        # Configurations of before there were these.
        return cls(**{"margin": False, "patience": 0.0, **config})


def _checked(tolerance):
    """A positive number, or a dict of them in the order of the names."""
    if not _is_dict(tolerance):
        return float(check("tolerance", tolerance, "float", POSITIVE))
    if not tolerance:
        raise ValueError(
            "Argument `tolerance` must be a number, or a dict with the names "
            "of outputs or of factors of the group. Received: tolerance={}"
        )
    values = {
        name: check(f"tolerance[{name!r}]", value, "float", POSITIVE)
        for name, value in tolerance.items()
    }
    return {name: float(values[name]) for name in sorted(values)}


def _is_dict(tolerance):
    return isinstance(tolerance, Mapping)
