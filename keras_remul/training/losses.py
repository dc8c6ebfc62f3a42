"""The loss of the equivariance task, leaf by leaf."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from keras_remul.utils.structures import per_output
from keras_remul.utils.typing import Array, Tree


class _FunctionLoss(keras.losses.Loss):
    """A loss from a function fn(y_true, y_pred)."""

    def __init__(self, fn):
        super().__init__(name=getattr(fn, "__name__", "loss"))
        self.fn = fn

    def call(self, y_true, y_pred):
        return self.fn(y_true, y_pred)


def get(
    loss: str | Callable[..., Array] | keras.losses.Loss,
) -> keras.losses.Loss:
    """A `keras.losses.Loss` from one, its name, or a function.

    Args:
        loss: a Keras loss, its name, or a function of labels and predictions.
    """
    loss = keras.losses.get(loss)
    return loss if isinstance(loss, keras.losses.Loss) else _FunctionLoss(loss)


class NestedLoss:
    """The sum of a Keras loss over the leaves of a structure of outputs.

    Args:
        loss: a Keras loss, its name or a function, used for every leaf; or one
            for each output, see `per_output`.
        weights: a factor for each output likewise, or None for 1. This is
            `loss_weights` of `compile()`.
        names: names of the outputs where these are in a list.
        between_predictions: whether both arguments are predictions. Losses
            whose minimum is not where both agree are then replaced or refused,
            see `consistency`.

    Raises:
        ValueError: the minimum of the loss is not where both sides agree; or,
            when called, `loss` does not fit the outputs.
    """

    def __init__(
        self,
        loss: Tree,
        weights: Tree | None = None,
        names: Sequence[str] | None = None,
        between_predictions: bool = False,
    ) -> None:
        make = consistency if between_predictions else get
        self.losses = keras.tree.map_structure(
            lambda one: None if one is None else make(one), loss
        )
        self.weights, self.names = weights, names

    def __call__(
        self, y_true: Tree, y_pred: Tree, sample_weight: Tree | None = None
    ) -> Array:
        terms = self.terms(y_true, y_pred, sample_weight)
        return sum(keras.tree.flatten(terms), start=0.0)

    def terms(
        self, y_true: Tree, y_pred: Tree, sample_weight: Tree | None = None
    ) -> Tree:
        """The loss of each leaf, in the structure of `y_pred`.

        Args:
            y_true, y_pred, sample_weight: as for a Keras loss, nested.
        """
        parts = [
            keras.tree.flatten(per_output(values, y_pred, self.names, argument))
            for values, argument in (
                (self.losses, "loss"),
                (1.0 if self.weights is None else self.weights, "loss_weights"),
                (y_true, "y"),
                (y_pred, "y_pred"),
                (sample_weight, "sample_weight"),
            )
        ]
        terms = []
        for loss, weight, target, prediction, w in zip(*parts, strict=True):
            term = 0.0 if loss is None else loss(target, prediction, w)
            terms.append(term if weight is None else weight * term)
        return keras.tree.pack_sequence_as(y_pred, terms)


class Divergence(keras.losses.Loss):
    """The Jensen-Shannon divergence of two predicted distributions.

    `JS(p, q) = (KL(p, m) + KL(q, m)) / 2,  m = (p + q) / 2`

    It is symmetric, and between 0, for p = q, and log 2. It replaces a
    cross-entropy if both sides are predictions: the cross-entropy would not
    have its minimum where both agree.

    Args:
        classes: True for probabilities of classes, which sum to 1 over `axis`;
            False if each component is a separate probability.
        from_logits: whether the predictions are logits.
        axis: axis of the classes. Defaults to -1.
        **kwargs: `name` and `reduction`, for `keras.losses.Loss`.

    Reference: Lin, "Divergence measures based on the Shannon entropy", IEEE
    Transactions on Information Theory 37 (1991) 145.
    """

    def __init__(
        self, classes: bool, from_logits: bool, axis: int = -1, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.classes, self.from_logits = classes, from_logits
        self.axis = axis

    def call(self, y_true: Array, y_pred: Array) -> Array:
        p, q = map(self._probabilities, (y_true, y_pred))
        m = (p + q) / 2
        terms = (_relative_entropy(p, m) + _relative_entropy(q, m)) / 2
        if self.classes:
            return ops.sum(terms, axis=self.axis)
        others = _relative_entropy(1 - p, 1 - m) + _relative_entropy(
            1 - q, 1 - m
        )
        return ops.mean(terms + others / 2, axis=-1)

    def _probabilities(self, y):
        if not self.from_logits:
            return ops.clip(y, 0.0, 1.0)
        return ops.softmax(y, self.axis) if self.classes else ops.sigmoid(y)


def _relative_entropy(p, m):
    """p log(p / m), and 0 where p = 0."""
    tiny = keras.config.epsilon()
    return p * (ops.log(ops.maximum(p, tiny)) - ops.log(ops.maximum(m, tiny)))


_CROSS_ENTROPIES = {
    keras.losses.CategoricalCrossentropy: True,
    keras.losses.SparseCategoricalCrossentropy: True,
    keras.losses.CategoricalFocalCrossentropy: True,
    keras.losses.CategoricalGeneralizedCrossEntropy: True,
    keras.losses.KLDivergence: True,
    keras.losses.BinaryCrossentropy: False,
    keras.losses.BinaryFocalCrossentropy: False,
}
# Their least value, if they have one, is not where both sides agree.
_ONE_SIDED = (
    keras.losses.Hinge,
    keras.losses.SquaredHinge,
    keras.losses.CategoricalHinge,
    keras.losses.Poisson,
    keras.losses.CTC,
    keras.losses.Dice,
    keras.losses.Tversky,
    keras.losses.Circle,
)


def consistency(
    loss: str | Callable[..., Array] | keras.losses.Loss,
) -> keras.losses.Loss:
    """A loss between two predictions, from the loss of the task.

    Distances (squared and absolute errors, Huber, ...) are used as they are.
    Cross-entropies are replaced by the `Divergence` of the predicted
    distributions. Your own function or class is used as it is: it must have its
    minimum where both arguments are equal.

    Args:
        loss: a Keras loss, its name, or a function.

    Raises:
        ValueError: for a Keras loss whose minimum is not where both sides
            agree, such as a hinge.
    """
    found, arguments = keras.losses.get(loss), {}
    if isinstance(found, functools.partial):
        found, arguments = found.func, found.keywords
    name = getattr(found, "__name__", "").replace("_", "")
    for kind in (*_CROSS_ENTROPIES, *_ONE_SIDED):
        # The function `keras.losses.binary_crossentropy` as its class.
        if kind.__name__.lower() == name and found is getattr(
            keras.losses, found.__name__, None
        ):
            loss = kind(**arguments)
    made = get(loss)
    for kind, classes in _CROSS_ENTROPIES.items():
        if isinstance(made, kind):
            config = made.get_config()
            return Divergence(
                classes,
                config.get("from_logits", False),
                config.get("axis", -1) if classes else -1,
                reduction=made.reduction,
                name=made.name,
            )
    if isinstance(made, _ONE_SIDED):
        raise ValueError(
            'With target="predictions" both sides of the loss are '
            f"predictions, and {type(made).__name__} has no minimum where "
            'they agree. Give another one: RemulModel(..., loss="mse").'
        )
    return made
