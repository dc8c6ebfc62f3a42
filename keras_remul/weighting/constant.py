"""Constant weights."""

import keras

from keras_remul.weighting.base import LossWeighting


@keras.saving.register_keras_serializable(package="keras_remul")
class Constant(LossWeighting):
    """The constant penalty: L = alpha L_obj + beta L_equi.

    beta is the knob: the larger, the more equivariant the model and, past some
    point, the less of its capacity serves the task. beta = 0 is plain
    training, at the cost of plain training.

    Args:
        alpha: weight of the objective, at least 0. Defaults to 1.0.
        beta: weight of the equivariance loss, at least 0. Defaults to 1.0.

    Example:

    >>> RemulModel(model, symmetry, weighting=Constant(beta=10.0))

    Reference: arXiv 2410.17878.
    """

    def __init__(self, alpha=1.0, beta=1.0, **kwargs):
        super().__init__(**kwargs)
        for name, value in (("alpha", alpha), ("beta", beta)):
            if not value >= 0:
                raise ValueError(
                    f"Argument `{name}` must not be negative. Received: "
                    f"{name}={value}"
                )
        if alpha == beta == 0:
            raise ValueError(
                "Arguments `alpha` and `beta` are both 0: nothing to train."
            )
        self.alpha = float(alpha)
        self.beta = float(beta)

    @property
    def uses_equivariance(self):
        return self.beta > 0

    def loss_weights(self):
        return self.alpha, self.beta

    def get_config(self):
        return {**super().get_config(), "alpha": self.alpha, "beta": self.beta}

    def __repr__(self):
        return f"Constant(alpha={self.alpha}, beta={self.beta})"
