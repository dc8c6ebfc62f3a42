"""Weights that balance the gradients of the two tasks."""

import keras
from keras import ops

from keras_remul.weighting.base import LossWeighting, check_positive


@keras.saving.register_keras_serializable(package="keras_remul")
class GradNorm(LossWeighting):
    """The gradual penalty: weights such that both tasks train at like rates.

    With W the weights of one layer and i one of the two tasks,

        G_i = ||grad_W (w_i L_i)||
        r_i = (L_i / L_i(0)) / mean_j (L_j / L_j(0))
        L_grad = sum_i |G_i - mean(G) r_i^gamma|    (second term held fixed)

    and w takes a step along -dL_grad/dw, is kept positive and scaled to
    w_1 + w_2 = 2. As G_i is w_i times a norm that does not depend on w, this
    derivative is that norm times the sign of the difference; nothing of second
    order is computed, and no gradient reaches the model.

    Args:
        gamma: strength of the balancing; 0 asks for equal norms. Defaults to
            1.5.
        learning_rate: of w. Defaults to 0.025.
        layer: the layer of the model, or its name, whose weights are W.
            Defaults to the last that has trainable weights. W is what both
            tasks share; a late layer makes its gradients cheap.

    Example:

    >>> RemulModel(model, symmetry, weighting=GradNorm())

    Reference: "GradNorm", arXiv 1711.02257; as the gradual penalty in arXiv
    2410.17878.
    """

    uses_gradient_norms = True

    def __init__(self, gamma=1.5, learning_rate=0.025, layer=None, **kwargs):
        super().__init__(**kwargs)
        check_positive(learning_rate=learning_rate)
        if not gamma >= 0:
            raise ValueError(
                f"Argument `gamma` must not be negative. Received: {gamma}"
            )
        self.gamma = float(gamma)
        self.learning_rate = float(learning_rate)
        self.layer = layer.name if hasattr(layer, "name") else layer

        def state(name, initializer):
            return self.add_weight(
                shape=(2,), initializer=initializer, trainable=False, name=name
            )

        self.task_weights = state("task_weights", "ones")
        # Zero stands for "not seen yet".
        self.first_losses = state("first_losses", "zeros")

    def loss_weights(self):
        alpha, beta = ops.unstack(ops.convert_to_tensor(self.task_weights))
        return alpha, beta

    def update(self, measured):
        tiny = 1e-12
        losses = ops.stack([measured.objective, measured.equivariance])
        first = ops.convert_to_tensor(self.first_losses)
        first = ops.where(first > 0, first, losses)
        progress = losses / ops.maximum(first, tiny)
        rate = progress / ops.maximum(ops.mean(progress), tiny)
        weights = ops.convert_to_tensor(self.task_weights)
        norms = measured.gradient_norms
        weighted = weights * norms
        target = ops.mean(weighted) * ops.power(rate, self.gamma)
        slope = ops.sign(weighted - target) * norms
        weights = ops.maximum(weights - self.learning_rate * slope, 1e-3)
        self.first_losses.assign(first)
        self.task_weights.assign(2.0 * weights / ops.sum(weights))

    def gradient_variables(self, model):
        variables = model.trainable_variables
        if self.layer is None:
            owner = variables[-1].path.rpartition("/")[0]
            return [v for v in variables if v.path.rpartition("/")[0] == owner]
        chosen = [v for v in variables if self.layer in v.path.split("/")[:-1]]
        if not chosen:
            names = sorted({v.path.rpartition("/")[0] for v in variables})
            raise ValueError(
                f"Argument `layer`: the model has no layer {self.layer!r} with "
                f"trainable weights. It has: {names}"
            )
        return chosen

    def get_config(self):
        return {
            **super().get_config(),
            "gamma": self.gamma,
            "learning_rate": self.learning_rate,
            "layer": self.layer,
        }

    def __repr__(self):
        return (
            f"GradNorm(gamma={self.gamma}, "
            f"learning_rate={self.learning_rate}, layer={self.layer!r})"
        )
