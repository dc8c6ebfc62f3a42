"""Ridge regression on all nodes at once: a baseline, and half of a model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_remul.models.linear.linear_nodes import LinearNodes
from keras_remul.models.wrappers import alignment
from keras_remul.representations import MirrorPermutation
from keras_remul.symmetry import Symmetry
from keras_remul.utils.shapes import check_same_shape

PENALTIES = tuple(10.0**k for k in range(-4, 7))
FINE_PENALTIES = tuple(10.0 ** (k / 4) for k in range(-16, 25))


def flat(x: np.ndarray) -> np.ndarray:
    """`(S, N, D)` as `(S, N D)`, in double precision.

    Args:
        x: array `(S, N, D)`.
    """
    return np.reshape(x, (len(x), -1)).astype("float64")


def fit_time(x: dict[str, np.ndarray], y: np.ndarray) -> float:
    """The t of least squares in y = x + t v.

    Args:
        x: dict of `"positions"` and `"velocities"` `(S, N, D)`.
        y: positions `(S, N, D)`.
    """
    v = flat(x["velocities"])
    return float((v * (flat(y) - flat(x["positions"]))).sum() / (v**2).sum())


def drift(x: dict[str, np.ndarray], time: float) -> np.ndarray:
    """x + t v.

    Args:
        x: dict of `"positions"` and `"velocities"` `(S, N, D)`.
        time: t.
    """
    return x["positions"] + time * x["velocities"].astype("float64")


def check_data(
    name: str, data: tuple[dict[str, np.ndarray], np.ndarray]
) -> None:
    """Raises ValueError unless (x, y) are nodes in a fixed order, and finite.

    Args:
        name: name of the data in messages.
        data: (x, y), see `fit`.
    """
    x, y = data
    if "mask" in x and not np.all(x["mask"]):
        raise ValueError(
            f'Expected samples without padding. Received: {name}[0]["mask"] '
            "that leaves nodes out"
        )
    positions = f'{name}[0]["positions"]'
    check_same_shape(f"{name}[1]", y, positions, x["positions"])
    check_same_shape(
        f'{name}[0]["velocities"]', x["velocities"], positions, x["positions"]
    )
    for part in (x["positions"], x["velocities"], y):
        if not np.isfinite(part).all():
            raise ValueError(f"Expected finite data. Received: NaN in `{name}`")


def mean_squared_error(prediction: np.ndarray, y: np.ndarray) -> float:
    """Mean over samples, nodes and coordinates, in double precision.

    Args:
        prediction, y: positions `(S, N, D)`.
    """
    check_same_shape("y", y, "prediction", prediction)
    return float(((prediction - y.astype("float64")) ** 2).mean())


class Ridge:
    """Linear map from all coordinates to the residual of x + t v.

        y = x + t v + W [x - c, T v],    |y - target|^2 + lambda |W|^2 minimal

    t is fitted, T is the time from input to target, c the position of one node
    or the mean. It has no symmetry, and needs nodes in a fixed order.

    Args:
        time: t.
        horizon: T.
        center: index of the node, or None for the mean.
        intercept: whether a constant is added, which is not penalised.
            Defaults to False, as in the published figures.
    """

    def __init__(
        self,
        time: float,
        horizon: float,
        center: int | None = None,
        intercept: bool = False,
    ) -> None:
        self.time, self.horizon, self.center = time, horizon, center
        self.has_intercept = intercept
        self.weights: Any = None
        self.intercept: Any = 0.0
        self.penalty = math.nan  # until `fit`

    def _inputs(self, x):
        positions = x["positions"].astype("float64")
        if self.center is None:
            center = positions.mean(axis=1, keepdims=True)
        else:
            center = positions[:, self.center, None]
        velocities = self.horizon * flat(x["velocities"])
        return np.concatenate([flat(positions - center), velocities], axis=1)

    def fit(
        self,
        train: tuple[dict[str, np.ndarray], np.ndarray],
        validation: tuple[dict[str, np.ndarray], np.ndarray],
        penalties: Sequence[float] = PENALTIES,
    ) -> Ridge:
        """Fits W for each lambda and keeps the best one on validation data.

        The default lambdas are 1e-4, 1e-3, ..., 1e6.

        Raises:
            ValueError: see `check_data`.
        """
        check_data("train", train)
        check_data("validation", validation)
        x, y = train
        inputs, outputs = self._inputs(x), flat(y - drift(x, self.time))
        means = (
            inputs.mean(axis=0) * self.has_intercept,
            outputs.mean(axis=0) * self.has_intercept,
        )
        u, s, vt = np.linalg.svd(inputs - means[0], full_matrices=False)
        projected = u.T @ (outputs - means[1])

        def solve(penalty):
            self.penalty = penalty
            factors = (s / (s**2 + penalty))[:, None]
            self.weights = vt.T @ (factors * projected)
            self.intercept = means[1] - means[0] @ self.weights
            return mean_squared_error(self(validation[0]), validation[1])

        solve(min(penalties, key=solve))
        return self

    def __call__(self, x: dict[str, np.ndarray]) -> np.ndarray:
        residual = self._inputs(x) @ self.weights + self.intercept
        return drift(x, self.time) + residual.reshape(x["positions"].shape)


def make(
    symmetry: Symmetry, length_unit: float = 1.0, time_unit: float = 1.0
) -> keras.Model:
    """Ridge regression as a Keras model, on inputs rotated onto a reference.

    `rho(R)^-1 (x + s v + W [x - mean(x), v] + b)(phi(R) x)`

    with R as in `Alignment`, so that it is equivariant under `symmetry`, for
    SO2, O2, SO3 and O3. For another group it is a `LinearNodes`, which is
    equivariant to translations only.

    Args:
        symmetry: the `Symmetry` of inputs and outputs. A
            `MirrorPermutation` input is used to identify the nodes.
        length_unit, time_unit: see `models.Transformer`.

    Returns:
        A Keras model; `fit` fits it.

    Raises:
        ValueError: the inputs are not a dict.
    """
    if not isinstance(symmetry.inputs, dict):
        raise ValueError(
            "Expected the inputs of `symmetry` to be a dict with the key "
            f'"positions". Received: {symmetry.inputs}'
        )
    identity = _identity(symmetry)
    linear = LinearNodes(identity, length_unit, time_unit)
    if not isinstance(symmetry.group, alignment.GROUPS):
        return linear
    return alignment.Alignment(linear, symmetry, identity=identity)


def aligned(
    model: keras.Model, symmetry: Symmetry, x: dict[str, np.ndarray]
) -> alignment.Alignment:
    """An `Alignment` of nodes that come in a fixed order, with its reference.

    Args:
        model: a Keras model.
        symmetry: as for `make`.
        x: samples whose mean is the reference.

    Raises:
        ValueError: there is no such alignment under `symmetry`, or for x.
    """
    result = alignment.Alignment(model, symmetry, identity=_identity(symmetry))
    result.adapt(x)
    return result


def _identity(symmetry):
    """The key of the input that identifies the nodes, or None."""
    for key, representation in symmetry.inputs.items():
        if isinstance(representation, MirrorPermutation):
            return key
    return None


def fit(
    model: keras.Model,
    train: tuple[dict[str, np.ndarray], np.ndarray],
    validation: tuple[dict[str, np.ndarray], np.ndarray],
) -> float:
    """Fits what `make` made; lambda is chosen on validation data.

    If the group has reflections, each sample and its reflection are used.

    Args:
        model: the result of `make`.
        train, validation: (x, y), with `"positions"` and `"velocities"`
            `(S, N, D)` in x, and nodes that come in a fixed order.

    Returns:
        The lambda.

    Raises:
        ValueError: padding, y of another shape than the positions, or NaN.
    """
    check_data("train", train)
    check_data("validation", validation)
    train, validation = (
        ({key: x[key] for key in x if key != "mask"}, y)
        for x, y in (train, validation)
    )
    linear = model
    if isinstance(model, alignment.Alignment):
        linear = model.model
        model.adapt(train[0])
        train, validation = (
            _ordered(*model.canonical(*data), linear.identity)
            for data in (train, validation)
        )
    linear(keras.tree.map_structure(lambda a: a[:1], train[0]))
    time = fit_time(*train)
    ridge = Ridge(time, linear.time_unit, intercept=True)
    ridge.fit(train, validation, FINE_PENALTIES)
    linear.linear.kernel.assign(ridge.weights)
    linear.linear.bias.assign(ridge.intercept / linear.length_unit)
    linear.velocity_scale.assign(time / linear.time_unit)
    return ridge.penalty


def _ordered(x, y, identity):
    """The nodes in the order that `identity` gives."""
    if identity is None:
        return x, y
    back = np.swapaxes(x[identity], 1, 2)
    return {key: back @ value for key, value in x.items()}, back @ y
