"""The base class of weightings, which set alpha and beta."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import keras

from keras_remul.utils.typing import Array, Config


class StepMeasures(NamedTuple):
    """The measures of a training step for the weighting; scalars, no gradient.

    Attributes:
        objective: L_obj of the batch.
        equivariance: L_equi of the batch.
        equivariance_error: the equivariance error E' of the batch, mean
            ||f(phi(g) x) - rho(g) f(x)||.
        output_norm: mean ||f(x)||, positions relative to the center of the
            nodes.
        gradient_norms: norms of the gradients of L_obj and of L_equi with
            respect to the weights that `gradient_variables` names, `(2,)`;
            None for weightings that do not ask for them.
    """

    objective: Array
    equivariance: Array
    equivariance_error: Array
    output_norm: Array
    gradient_norms: Array = None


class LossWeighting(keras.layers.Layer):
    """alpha and beta of L = alpha L_obj + beta L_equi, at each step.

    To add one, define `loss_weights`, and `update` if the weights change during
    training. Keep changing state in variables that `__init__` makes with
    `self.add_weight(..., trainable=False)`: they are saved, loaded and updated
    in compiled steps like those of any layer. Both methods run inside the
    compiled step: use `keras.ops`, no Python state.

    Args:
        **kwargs: `name`, for `keras.Layer`.
    """

    # True where `update` wants `StepMeasures.gradient_norms`.
    uses_gradient_norms = False

    def __init__(self, **kwargs: Any) -> None:
        # Losses are float32 whatever the precision of the model.
        super().__init__(dtype="float32", autocast=False, **kwargs)
        self.built = True

    @property
    def uses_objective(self) -> bool:
        """False where alpha is always 0: f(x) is then not computed for it."""
        return True

    @property
    def uses_equivariance(self) -> bool:
        """False where beta is always 0: the second task is then left out."""
        return True

    def loss_weights(self) -> tuple[Array, Array]:
        """(alpha, beta) of this step, scalars."""
        raise NotImplementedError

    def update(self, measured: StepMeasures) -> None:
        """Called in each training step with both tasks, after `loss_weights`.

        Args:
            measured: the `StepMeasures` of the step.
        """

    def advance(self) -> None:
        """Called at the end of each training step.

        That includes the plain steps of `RemulModel(interval=...)`.
        """

    def validated(self, logs: Mapping[str, float]) -> None:
        """Called by `fit` on validation data, between two steps.

        Args:
            logs: dict of the figures of the whole validation data, such as
                `"equivariance_error"`.
        """

    def excess(self, error: float) -> float:
        """By how much an error is above what was asked for, 0 or more.

        Args:
            error: the equivariance error E' of validation data.
        """
        return 0.0

    def gradient_variables(self, model: keras.Model) -> list[keras.Variable]:
        """The variables of the model for `StepMeasures.gradient_norms`.

        Args:
            model: the Keras model that is trained, without `RemulModel`.

        Returns:
            List of trainable variables.
        """
        raise NotImplementedError

    def warning(self) -> str | None:
        """A warning for the end of training, or None."""
        return None

    def get_config(self) -> Config:
        return {"name": self.name}

    def __repr__(self):
        # All that determines it, without the name, which a process numbers.
        config = self.get_config()
        arguments = [
            f"{key}={_text(getattr(self, key))}"
            for key in config
            if key != "name"
        ]
        return f"{type(self).__name__}({', '.join(arguments)})"


def _text(value):
    """repr without addresses, the same in each process."""
    if isinstance(value, keras.optimizers.schedules.LearningRateSchedule):
        pairs = value.get_config().items()
        arguments = ", ".join(f"{k}={v!r}" for k, v in pairs if k != "name")
        return f"{type(value).__name__}({arguments})"
    return getattr(value, "__qualname__", None) or repr(value)


def check_weights(alpha, beta):
    """Raises ValueError if both weights are constant and 0."""
    if not callable(alpha) and not callable(beta) and alpha == beta == 0:
        raise ValueError(
            "Arguments `alpha` and `beta` are both 0: nothing to train."
        )
