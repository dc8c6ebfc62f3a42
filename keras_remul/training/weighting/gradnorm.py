"""Weights that balance the gradients of the two tasks."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_remul.training.weighting.base import (
    LossWeighting,
    StepMeasures,
)
from keras_remul.utils.arguments import POSITIVE, at_least, checked
from keras_remul.utils.typing import Array, Config

_TINY = 1e-30  # below all norms and losses that are not 0
_LEAST = 1e-3  # of a weight


@keras.saving.register_keras_serializable(package="keras_remul")
class GradNorm(LossWeighting):
    """The gradual penalty: weights such that both tasks train at similar rates.

    With W the weights of one layer and i one of the two tasks,

        G_i = ||grad_W (w_i L_i)||
        r_i = (L_i / L_i(0)) / mean_j (L_j / L_j(0))
        d_i = clip(log(mean(G) r_i^gamma / G_i), -1, 1)
        log w_i <- log w_i + learning_rate d_i

    and w is scaled to w_1 + w_2 = 2. The weight of a task grows if its gradient
    is smaller than its share, and falls if it is larger. In equilibrium G_i =
    mean(G) r_i^gamma, the minimum of the loss of GradNorm, `sum_i |G_i -
    mean(G) r_i^gamma|`. A step along the gradient of that loss would grow with
    the scale of the losses; this step, in log w, depends only on ratios. No
    second derivatives are computed, and no gradient reaches the model.

    Args:
        gamma: strength of the balancing; 0 asks for equal norms. Defaults to
            1.5.
        learning_rate: largest change of log w in a step. Defaults to 0.025.
        layer: the layer of the model, or its name, whose weights are W.
            Defaults to the last layer with trainable weights. Both tasks must
            depend on W; gradients for a late layer are cheap. If no gradient
            reaches W, as in a layer that the outputs do not use, the weights
            stay 1 and `fit` warns.
        **kwargs: `name`, for `keras.Layer`.

    Example:

    >>> RemulModel(model, symmetry, weighting=GradNorm())

    Reference: "GradNorm", arXiv 1711.02257; as the gradual penalty in arXiv
    2410.17878.
    """

    uses_gradient_norms = True

    @checked(gamma=at_least(0), learning_rate=POSITIVE)
    def __init__(
        self,
        gamma: float = 1.5,
        learning_rate: float = 0.025,
        layer: keras.Layer | str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.gamma = float(gamma)
        self.learning_rate = float(learning_rate)
        self.layer = getattr(layer, "name", layer)

        def state(name, initializer):
            return self.add_weight(
                shape=(2,), initializer=initializer, trainable=False, name=name
            )

        self.task_weights = state("task_weights", "ones")
        # Zero stands for "not seen yet".
        self.first_losses = state("first_losses", "zeros")

    def loss_weights(self) -> tuple[Array, Array]:
        alpha, beta = ops.unstack(ops.convert_to_tensor(self.task_weights))
        return alpha, beta

    def update(self, measured: StepMeasures) -> None:
        losses = ops.stack([measured.objective, measured.equivariance])
        seen = ops.convert_to_tensor(self.first_losses)
        first = ops.where(seen > 0, seen, losses)
        progress = losses / ops.maximum(first, _TINY)
        rate = progress / ops.maximum(ops.mean(progress), _TINY)
        weights = ops.convert_to_tensor(self.task_weights)
        norms = measured.gradient_norms
        weighted = weights * norms
        target = ops.mean(weighted) * ops.power(rate, self.gamma)
        gap = ops.log(ops.maximum(target, _TINY)) - ops.log(
            ops.maximum(weighted, _TINY)
        )
        moved = weights * ops.exp(self.learning_rate * ops.clip(gap, -1.0, 1.0))
        moved = ops.maximum(2.0 * moved / ops.sum(moved), _LEAST)
        moved = 2.0 * moved / ops.sum(moved)
        usable = ops.all(norms > 0)
        self.first_losses.assign(ops.where(usable, first, seen))
        self.task_weights.assign(ops.where(usable, moved, weights))

    def warning(self) -> str | None:
        if np.all(ops.convert_to_numpy(self.first_losses) > 0):
            return None
        layer = "the last layer" if self.layer is None else repr(self.layer)
        return (
            "GradNorm left both weights at 1: no gradient of one of the losses "
            f"reached the weights of {layer}. Name a layer that the outputs "
            "use, GradNorm(layer=...)."
        )

    def gradient_variables(self, model: keras.Model) -> list[keras.Variable]:
        variables = model.trainable_variables
        places = [v.path.rpartition("/")[0] for v in variables]
        if not variables:
            raise ValueError("The model has no trainable weights to measure.")
        if self.layer is None:
            return [
                v
                for v, place in zip(variables, places, strict=True)
                if place == places[-1]
            ]
        chosen = [
            v
            for v, place in zip(variables, places, strict=True)
            if self.layer in place.split("/")
        ]
        if not chosen:
            raise ValueError(
                f"Argument `layer`: the model has no layer {self.layer!r} with "
                f"trainable weights. It has: {sorted(set(places))}"
            )
        return chosen

    def get_config(self) -> Config:
        return {
            **super().get_config(),
            "gamma": self.gamma,
            "learning_rate": self.learning_rate,
            "layer": self.layer,
        }
