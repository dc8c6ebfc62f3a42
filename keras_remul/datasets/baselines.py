"""What a model has to beat: baselines without a network."""

import keras
import numpy as np
from keras import ops

from keras_remul.datasets import loading, registry, tagging

PENALTIES = tuple(10.0**k for k in range(-4, 7))


def _flat(x):
    return np.reshape(x, (len(x), -1)).astype("float64")


def fit_time(x, y):
    """The t of least squares in y = x + t v."""
    v = _flat(x["velocities"])
    return float((v * (_flat(y) - _flat(x["positions"]))).sum() / (v**2).sum())


def _drift(x, time):
    return x["positions"] + time * x["velocities"].astype("float64")


class Ridge:
    """Linear map from all coordinates to the residual of x + t v.

        y = x + t v + W [x - c, T v],    |y - target|^2 + lambda |W|^2 minimal

    t is fitted, T the time from input to target, c the position of one node
    or the mean. It knows nothing of any symmetry, and needs nodes that come in
    a fixed order.

    Args:
        time: t.
        horizon: T.
        centre: index of the node, or None for the mean.
        intercept: whether a constant is added, which is not penalised.
            Defaults to False, as in the published figures.
    """

    def __init__(self, time, horizon, centre=None, intercept=False):
        self.time, self.horizon, self.centre = time, horizon, centre
        self.has_intercept = intercept
        self.weights, self.intercept = None, 0.0

    def _inputs(self, x):
        positions = x["positions"].astype("float64")
        if self.centre is None:
            centre = positions.mean(axis=1, keepdims=True)
        else:
            centre = positions[:, self.centre, None]
        velocities = self.horizon * _flat(x["velocities"])
        return np.concatenate([_flat(positions - centre), velocities], axis=1)

    def fit(self, train, validation):
        """Fits W for each lambda of 1e-4, ..., 1e6; the best on validation."""
        x, y = train
        inputs, outputs = self._inputs(x), _flat(y - _drift(x, self.time))
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
            return _mse(self(validation[0]), validation[1])

        solve(min(PENALTIES, key=solve))
        return self

    def __call__(self, x):
        residual = self._inputs(x) @ self.weights + self.intercept
        return _drift(x, self.time) + residual.reshape(x["positions"].shape)


def _mse(prediction, y):
    return float(((prediction - y.astype("float64")) ** 2).mean())


def baselines(data, symmetry, horizon, centre=None, seed=0):
    """Errors of x, x + T v, x + t v with t fitted, and ridge regression.

    Fitted on `"train"`, lambda chosen on `"validation"`. Errors are means of
    squares over samples, nodes and coordinates.

    Args:
        data: dict of splits to (x, y) with `"positions"` and `"velocities"`.
        symmetry: a `keras_remul.Symmetry`; test data are also moved by random
            elements of its group.
        horizon: T, the time from input to target in units of the velocities.
        centre: node whose position is taken off in the ridge regression, or
            None for the mean.
        seed: seed of the elements. Defaults to 0.

    Returns:
        `{name: {"validation": ..., "test": ..., "test moved": ...}}`, with
        each further split of `data`; `name` says the fitted t and lambda.

    Raises:
        ValueError: where positions or velocities are missing.
    """
    for key in ("positions", "velocities"):
        if key not in data["train"][0]:
            raise ValueError(
                "Baselines need the features 'positions' and 'velocities'. "
                f"Received: {sorted(data['train'][0])}"
            )
    sets = with_moved(data, symmetry, seed)
    del sets["train"]
    time = fit_time(*data["train"])
    ridge = Ridge(time, horizon, centre).fit(data["train"], data["validation"])
    models = {
        "copy: x": lambda x: x["positions"],
        f"drift: x + {horizon:.4g} v": lambda x: _drift(x, horizon),
        f"fitted drift: x + {time:.4g} v": lambda x: _drift(x, time),
        f"ridge: lambda {ridge.penalty:g}": ridge,
    }
    return {
        name: {split: _mse(model(x), y) for split, (x, y) in sets.items()}
        for name, model in models.items()
    }


def with_moved(data, symmetry, seed=0):
    """The splits, and `"test moved"`, by random elements of the group."""
    x, y = data["test"]
    g = symmetry.sample(len(y), seed=seed)
    moved = symmetry.transform_inputs(g, x), symmetry.transform_outputs(g, y)
    moved = keras.tree.map_structure(ops.convert_to_numpy, moved)
    return {**data, "test moved": moved}


def of_dataset(name, seed=0, **kwargs):
    """The baselines of a data set by name.

    Args:
        name: as for `datasets.load`, `"name/config"`.
        seed: seed of the elements that move the test data. Defaults to 0.
        **kwargs: those of `datasets.load`.

    Returns:
        `(measure, rows)`: `"MSE"` and the result of `baselines`; or `"AUC"`,
        the area under the ROC curve, and that of `tagging.baselines`.
    """
    builder = loading.builder_maker(name)()
    data = loading.load_all(name, **kwargs)
    symmetry = registry.symmetry(name)
    if builder.horizon is None:
        return "AUC", tagging.baselines(with_moved(data, symmetry, seed))
    centre = registry.entry(name).centre
    return "MSE", baselines(data, symmetry, builder.horizon, centre, seed)
