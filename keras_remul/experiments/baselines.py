"""Baselines without a network."""

import functools

from keras_remul.datasets import loading, registry
from keras_remul.experiments import tagging
from keras_remul.models.linear import ridge
from keras_remul.models.wrappers import alignment
from keras_remul.utils.leaves import to_numpy


def baselines(data, symmetry, horizon, center=None, seed=0):
    """Errors of x, x + T v, x + t v with t fitted, and ridge regressions.

    There are two ridge regressions: one on the given coordinates, as in
    published figures; the other, if the group allows it, on coordinates rotated
    onto a reference, with an intercept, see `ridge.make`.

    Fitted on `"train"`, lambda chosen on `"validation"`. Errors are means of
    squares over samples, nodes and coordinates.

    Args:
        data: dict of splits to (x, y) with `"positions"` and `"velocities"`.
        symmetry: a `keras_remul.Symmetry`; test data are also transformed by
            random elements of its group ("moved").
        horizon: T, the time from input to target in units of the velocities.
        center: node whose position is subtracted in the ridge regression, or
            None for the mean.
        seed: seed of the elements. Defaults to 0.

    Returns:
        `{name: {"validation": ..., "test": ..., "test_moved": ...}}`, with each
        further split of `data`; `name` holds the fitted t and lambda.

    Raises:
        ValueError: positions or velocities are missing.
    """
    for key in ("positions", "velocities"):
        if key not in data["train"][0]:
            raise ValueError(
                "Baselines need the features 'positions' and 'velocities'. "
                f"Received: {sorted(data['train'][0])}"
            )
    sets = with_moved(data, symmetry, seed)
    train = sets.pop("train")
    time = ridge.fit_time(*train)
    plain = ridge.Ridge(time, horizon, center).fit(train, data["validation"])
    models = {
        "copy: x": lambda x: x["positions"],
        f"drift: x + {horizon:.4g} v": lambda x: ridge.drift(x, horizon),
        f"fitted drift: x + {time:.4g} v": lambda x: ridge.drift(x, time),
        f"ridge: lambda {plain.penalty:g}": plain,
    }
    if isinstance(symmetry.group, alignment.GROUPS):
        aligned = ridge.make(symmetry, time_unit=horizon)
        penalty = ridge.fit(aligned, train, data["validation"])
        name = f"ridge, aligned: lambda {penalty:g}"
        models[name] = functools.partial(aligned.predict, verbose=0)
    return {
        name: {
            split: ridge.mean_squared_error(model(x), y)
            for split, (x, y) in sets.items()
        }
        for name, model in models.items()
    }


def with_moved(data, symmetry, seed=0):
    """The splits, and `"test_moved"`: transformed by random elements."""
    x, y = data["test"]
    g = symmetry.sample(len(y), seed=seed)
    moved = symmetry.transform_inputs(g, x), symmetry.transform_outputs(g, y)
    moved = to_numpy(moved)
    return {**data, "test_moved": moved}


def of_dataset(name, symmetry=None, seed=0, **kwargs):
    """The baselines of a data set by name.

    Args:
        name: as for `datasets.load`, `"name/config"`.
        symmetry: its `Symmetry`. Defaults to that of `datasets.symmetry`.
        seed: seed of the elements that transform the test data. Defaults to 0.
        **kwargs: those of `datasets.load`.

    Returns:
        `(measure, rows)`: `"MSE"` and the result of `baselines`; or `"AUC"`,
        the area under the ROC curve, and that of `tagging.baselines`.

    Raises:
        ValueError: for energies and forces.
    """
    if len(registry.entry(name).targets) > 1:
        raise ValueError(
            "There are no baselines of energies and forces. Received: "
            f"name={name!r}"
        )
    builder = loading.builder_maker(name)()
    data = loading.load_all(name, **kwargs)
    symmetry = symmetry or registry.symmetry(name)
    if builder.horizon is None:
        return "AUC", tagging.baselines(with_moved(data, symmetry, seed))
    center = registry.entry(name).center
    return "MSE", baselines(data, symmetry, builder.horizon, center, seed)
