"""Weights that follow a schedule."""

import keras
from keras import ops

from keras_remul.training.weighting.base import LossWeighting, check_weights


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

    def __init__(self, alpha=1.0, beta=1.0, **kwargs):
        super().__init__(**kwargs)
        for name, value in (("alpha", alpha), ("beta", beta)):
            if not (callable(value) or isinstance(value, (int, float))):
                raise ValueError(
                    f"Argument `{name}` must be a number, a Keras schedule or "
                    f"a function of the step. Received: {name}={value!r}"
                )
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
    def uses_objective(self):
        return callable(self.alpha) or self.alpha > 0

    @property
    def uses_equivariance(self):
        return callable(self.beta) or self.beta > 0

    def loss_weights(self):
        return self._at_step(self.alpha), self._at_step(self.beta)

    def _at_step(self, value):
        if not callable(value):
            return value
        return ops.cast(value(ops.convert_to_tensor(self.step)), "float32")

    def advance(self):
        self.step.assign(self.step + 1)

    def get_config(self):
        serialize = keras.saving.serialize_keras_object
        return {
            **super().get_config(),
            "alpha": serialize(self.alpha),
            "beta": serialize(self.beta),
        }

    @classmethod
    def from_config(cls, config):
        restore = keras.saving.deserialize_keras_object
        return cls(**{key: restore(value) for key, value in config.items()})
