"""The loss around trained weights."""

from __future__ import annotations

import keras
import numpy as np

from keras_remul.training import RemulModel
from keras_remul.training.losses import NestedLoss
from keras_remul.utils.leaves import shaped_like, to_numpy
from keras_remul.utils.typing import Tree


def loss_landscape(
    model: keras.Model,
    x: Tree,
    y: Tree,
    loss: str | keras.losses.Loss = "mse",
    span: float = 1.0,
    points: int = 21,
    seed: int = 0,
    batch_size: int = 500,
) -> np.ndarray:
    """The loss on a plane through the weights of a model.

    L(a, b) = loss(f(x; w + a d + b e), y) for a and b from -span to span

    with two random directions d and e. These are filter-normalised: for each
    output unit of a kernel (index j of the last axis), d[..., j] has the norm
    of w[..., j], so that landscapes of different models can be compared;
    weights with one axis (biases, scales) keep their value.

    Args:
        model: a Keras model (for a `RemulModel`, the wrapped model). Its
            weights are changed and then restored, also after an error.
        x, y: data of the loss, arrays or structures of them; labels in the
            shapes of the outputs, `(B,)` for `(B, 1)`, or integer classes for
            a sparse cross-entropy.
        loss: a Keras loss or its name. Defaults to `"mse"`.
        span: half the length of the sides of the plane; at 1 a change is as
            large as the weights. Defaults to 1.0.
        points: points per side; with an odd number, w itself is in the middle.
            Defaults to 21.
        seed: integer seed of the directions. Defaults to 0.
        batch_size: samples per forward pass. Defaults to 500.

    Returns:
        Array `(points, points)`, indexed by a and b. Infinite or NaN where
        the model overflows.

    Raises:
        ValueError: the model is not built, there are fewer than two points, or
            the labels do not fit the outputs.

    Example:

    >>> surface = loss_landscape(model, x_test, y_test, span=0.5)
    >>> surface.min() == surface[10, 10]
    True

    Reference: "Visualizing the loss landscape of neural nets", arXiv
    1712.09913, section 4.
    """
    model = model.model if isinstance(model, RemulModel) else model
    if not model.built:
        raise ValueError("The model has no weights yet: call it on x first.")
    if points < 2:
        raise ValueError(
            f"Argument `points` must be at least 2. Received: {points}"
        )
    y = _matched(y, model.predict(x, batch_size=batch_size, verbose=0), loss)
    nested = NestedLoss(loss)
    variables = model.trainable_variables
    weights = to_numpy(list(variables))
    rng = np.random.default_rng(seed)
    d, e = ([_direction(rng, w) for w in weights] for _ in range(2))
    steps = np.linspace(-span, span, points)
    result = np.empty((points, points))
    try:
        for i, a in enumerate(steps):
            for j, b in enumerate(steps):
                for k, variable in enumerate(variables):
                    variable.assign(weights[k] + a * d[k] + b * e[k])
                y_pred = model.predict(x, batch_size=batch_size, verbose=0)
                result[i, j] = float(nested(y, y_pred))
    finally:
        for variable, value in zip(variables, weights, strict=True):
            variable.assign(value)
    return result


def _matched(y, y_pred, loss):
    """The labels in the shapes of the predictions; class labels unchanged."""
    name = loss if isinstance(loss, str) else getattr(loss, "name", None)

    def match(leaf, output):
        leaf = to_numpy(leaf)
        by_class = leaf.dtype.kind in "iu" and leaf.ndim < output.ndim
        if by_class and (name is None or "sparse" in name):
            return leaf
        return shaped_like(leaf, output, "y")

    try:
        keras.tree.assert_same_structure(y, y_pred)
    except ValueError as error:
        raise ValueError(
            f"`y` must have the structure of the outputs. {error}"
        ) from None
    return keras.tree.map_structure(match, y, y_pred)


def _direction(rng, weight):
    """Noise with the norm of the weights for each output unit."""
    if weight.ndim < 2:
        return np.zeros_like(weight)
    noise = rng.normal(size=weight.shape)
    axes = tuple(range(weight.ndim - 1))
    lengths = [
        np.sqrt(np.sum(a.astype("float64") ** 2, axis=axes))
        for a in (weight, noise)
    ]
    return (noise * lengths[0] / lengths[1]).astype(weight.dtype)
