"""The loss of the equivariance task, leaf by leaf."""

import keras


class _FunctionLoss(keras.losses.Loss):
    """A loss from a function fn(y_true, y_pred)."""

    def __init__(self, fn):
        super().__init__(name=getattr(fn, "__name__", "loss"))
        self.fn = fn

    def call(self, y_true, y_pred):
        return self.fn(y_true, y_pred)


def _get(loss):
    loss = keras.losses.get(loss)
    return loss if isinstance(loss, keras.losses.Loss) else _FunctionLoss(loss)


class NestedLoss:
    """The sum of a Keras loss over the leaves of a structure of outputs.

    Args:
        loss: a Keras loss, its name or a function, which then serves every
            leaf; or one for each output, in the structure of the outputs.
        weights: a factor for each leaf, in the structure of the outputs, or
            None for 1. This is `loss_weights` of `compile()`.
    """

    def __init__(self, loss, weights=None):
        nested = isinstance(loss, (dict, list, tuple))
        self.loss = keras.tree.map_structure(_get, loss) if nested else None
        self.shared = None if nested else _get(loss)
        self.weights = weights

    def __call__(self, y_true, y_pred, sample_weight=None):
        y_pred_leaves = keras.tree.flatten(y_pred)
        y_true_leaves = keras.tree.flatten(y_true)
        n = len(y_pred_leaves)
        losses = keras.tree.flatten(self.loss) if self.loss else None
        losses = losses or [self.shared] * n
        if len(losses) != n:
            raise ValueError(
                f"The model has {n} outputs, but the equivariance task got "
                f"{len(losses)} losses. Give `loss` one for each output, or "
                "one for all."
            )
        weights = keras.tree.flatten(self.weights) if self.weights else [1] * n
        per_leaf = keras.tree.flatten(sample_weight)
        if len(per_leaf) != n:  # one array of weights serves every output
            per_leaf = [sample_weight] * n
        terms = zip(
            losses, weights, y_true_leaves, y_pred_leaves, per_leaf, strict=True
        )
        return sum(w * loss(t, p, s) for loss, w, t, p, s in terms)
