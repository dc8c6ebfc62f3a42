"""The figures of a card, measured again."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from keras_remul import datasets
from keras_remul.datasets import registry
from keras_remul.evaluation import (
    compare_errors,
    evaluate_equivariance,
    evaluate_potential,
    evaluate_rotations,
    evaluate_tagger,
    standard_error,
)
from keras_remul.evaluation.tagging import are_tags
from keras_remul.models import Potential
from keras_remul.presets.folder import load_preset
from keras_remul.symmetry import Symmetry
from keras_remul.utils.addresses import redact
from keras_remul.utils.leaves import shaped_like
from keras_remul.utils.typing import StrPath

ROTATED, ROTATIONS = 200, 20  # samples of a potential, rotations of each
_NEEDED = {"dataset": (str, list), "metrics": dict, "symmetry": Symmetry}


def measure(model, symmetry, data, independent=True):
    """Task error and equivariance of a model.

    Args:
        model: a `Potential`, a model from the inputs to new positions
            `(B, N, D)`, or, where labels are 0 and 1, one to logits `(B, 1)`.
        symmetry: its `Symmetry`.
        data: dict of splits to (x, y), with `"test"`.
        independent: whether the samples are drawn independently. Defaults to
            True.

    Returns:
        Dictionary of floats, see `measure_motion`, `measure_potential` and
        `measure_tagger`.
    """
    if isinstance(model, Potential):
        return measure_potential(model, symmetry, data)
    if are_tags(data["test"][1]):
        return measure_tagger(model, symmetry, data)
    return measure_motion(model, symmetry, data, independent)


def measure_motion(model, symmetry, data, independent=True):
    """Task error and equivariance of a model that moves nodes.

    Args:
        model, symmetry, data, independent: as for `measure`.

    Returns:
        Dictionary of floats: the figures of `evaluate_equivariance` on the
        test split for 10 g per sample, relative to the motion; and the mean
        squared error of each split except validation, `test_mse` and so on, on
        `"train"` for the first 1000 samples. Of the squared errors of the test
        samples also `test_mse_median` and, if they are independent,
        `test_mse_standard_error`, that of their mean.
    """
    result = {}
    for split, (x, y) in data.items():
        if split == "train":
            x, y = keras.tree.map_structure(lambda a: a[:1000], (x, y))
        if split == "test":
            result |= _scatter("test_mse", squared_errors(model, x, y))
        elif split != "validation":
            result[f"{split}_mse"] = mean_squared_error(model, x, y)
    if not independent:
        del result["test_mse_standard_error"]
    x, y = data["test"]
    return result | evaluate_equivariance(
        model, x, symmetry, y, num_samples=10, origin=x["positions"]
    )


def measure_potential(model, symmetry, data):
    """Errors of a potential, and how they depend on the orientation.

    Args:
        model, symmetry, data: as for `measure`.

    Returns:
        Dictionary of floats: errors of each split but `"train"` as
        `evaluate_potential` has them, `test_forces_mae` and so on; and of the
        first 200 samples of the test split, with 20 rotations of each, those of
        `evaluate_rotations`, with `forces_rmse_moved` and
        `forces_rmse_symmetrized`, meV/Angstrom, of the forces of one of them
        and of their mean.
    """
    result = {}
    for split, (x, y) in data.items():
        if split != "train":
            found = evaluate_potential(model, x, y)
            for key, value in found.items():
                result[f"{split}_{key}"] = value
    x, y = keras.tree.map_structure(lambda a: a[:ROTATED], data["test"])
    found = evaluate_rotations(model, x, num_samples=ROTATIONS)
    for key in ("energy_spread", "forces_error", "forces_relative"):
        result[key] = found[key]
    found = evaluate_equivariance(
        model, x, symmetry, model.targets(x, y), ROTATIONS, batch_size=32
    )["outputs"]["forces"]
    for name, key in (("moved", "mse"), ("symmetrized", "symmetrized_mse")):
        result[f"forces_rmse_{name}"] = 1000.0 * found[key] ** 0.5
    return result


def measure_tagger(model, symmetry, data):
    """How well a tagger tells tags apart, and how it depends on the frame.

    Args:
        model, symmetry, data: as for `measure`.

    Returns:
        Dictionary of floats, of the test split: the figures of
        `evaluate_tagger` as `test_auc` and so on, and with a random g for each
        sample as `auc_moved` and so on; `equivariance_error` and
        `relative_equivariance_error` of the logits of the first 200 samples.
    """
    x, y = data["test"]
    found = evaluate_tagger(model, x, y)
    result = {f"test_{key}": value for key, value in found.items()}
    result |= measure_moved(model, symmetry, x, y)
    x = keras.tree.map_structure(lambda a: a[:ROTATED], x)
    found = evaluate_equivariance(model, x, symmetry, num_samples=ROTATIONS)
    for key in ("equivariance_error", "relative_equivariance_error"):
        result[key] = found[key]
    return result


def measure_moved(model, symmetry, x, y, name=None):
    """Figures on samples that are moved by a group.

    Args:
        model: see `measure`.
        symmetry: a `Symmetry`.
        x, y: the samples.
        name: of the group, for the keys. Defaults to None: that of the model.

    Returns:
        Dictionary of floats: of a tagger, the figures of `evaluate_tagger`,
        as `auc_moved`, or `auc_moved_by_` the name; else the mean squared
        error, for 10 elements of each sample, as `mse_moved_by_` the name.
    """
    end = "moved" if name is None else f"moved_by_{name}"
    if are_tags(y):
        found = evaluate_tagger(model, x, y, symmetry)
        return {_ended(key, end): value for key, value in found.items()}
    found = evaluate_equivariance(model, x, symmetry, y, num_samples=10)
    return {f"mse_{end}": found["mse"]}


def _ended(key, end):
    """ "auc_standard_error", "moved" -> "auc_moved_standard_error"."""
    figure, error, _ = key.partition("_standard_error")
    return f"{figure}_{end}{error}"


def measure_unused(model, dataset, data_dir=None):
    """The mean squared error on further systems, and how it scatters.

    Args:
        model: see `measure`.
        dataset: its name, such as `"nbody_charged/unused"`.
        data_dir: see `datasets.load`.

    Returns:
        Dictionary of `unused_mse`, its standard error and the median.
    """
    x, y = datasets.load(dataset, "test", data_dir=data_dir, verbose=0)
    return _scatter("unused_mse", squared_errors(model, x, y))


def _scatter(name, errors):
    """The mean of the errors of samples, its standard error, the median."""
    return {
        name: float(errors.mean()),
        f"{name}_standard_error": standard_error(errors),
        f"{name}_median": float(np.median(errors)),
    }


def mean_squared_error(model, x, y):
    """Mean over samples, nodes and coordinates."""
    return float(squared_errors(model, x, y).mean())


def squared_errors(model, x, y):
    """The squared error of each sample, a mean over nodes and coordinates."""
    y_pred = model.predict(x, batch_size=500, verbose=0)
    squares = (y_pred - shaped_like(y, y_pred, "y")) ** 2
    return squares.reshape(len(squares), -1).astype("float64").mean(axis=1)


def compare_presets(
    first: StrPath,
    second: StrPath,
    dataset: str | None = None,
    data_dir: StrPath | None = None,
    zoo: str | None = None,
    **kwargs: Any,
) -> dict[str, float]:
    """Whether one preset has smaller errors than another on the same samples.

    Args:
        first, second: names or folders, see `from_preset`.
        dataset: name of the data set whose test split is used, such as
            `"nbody_charged/unused"`. Defaults to that of both presets.
        data_dir: folder of the data sets, see `datasets.load`.
        zoo: see `from_preset`.
        **kwargs: `trials`, `num_resamples`, `level` and `seed` of
            `compare_errors`.

    Returns:
        The dictionary of `compare_errors`, of the squared errors of the test
        samples.

    Raises:
        ValueError: the presets are of different data sets and none is given,
            or they are taggers; see also `from_preset` and `compare_errors`.

    Example:

    >>> found = compare_presets(
    ...     "nbody_charged_transformer_remul",
    ...     "nbody_charged_transformer_augmented",
    ... )
    """
    loaded = [load_preset(name, zoo) for name in (first, second)]
    named = {str(facts.get("dataset")) for _, facts, _ in loaded}
    if dataset is None and (len(named) > 1 or named == {"None"}):
        raise ValueError(
            "Expected two presets of one data set, or its name as `dataset`. "
            f"Received: presets of {sorted(named)}"
        )
    x, y = datasets.load(
        dataset or named.pop(), "test", data_dir=data_dir, verbose=0
    )
    if are_tags(y):
        raise ValueError(
            "Squared errors say nothing about taggers. Compare the areas and "
            "standard errors of `evaluate_tagger`."
        )
    errors = [squared_errors(model, x, y) for model, _, _ in loaded]
    return compare_errors(*errors, **kwargs)


def evaluate_preset(
    name_or_path: StrPath,
    data_dir: StrPath | None = None,
    zoo: str | None = None,
) -> dict[str, tuple[Any, Any]]:
    """Measures the figures on a preset's card again, on this machine.

    Args:
        name_or_path, zoo: see `from_preset`.
        data_dir: folder of the data sets, see `datasets.load`.

    Returns:
        Dictionary from the name of each figure to a pair of floats, that on the
        card and the measured one. Figures of equivariance are means over 10
        random g, which differ between backends: they agree to a few percent.

    Raises:
        ValueError: the preset names no data set of this library, no figures or
            no symmetry; see also `from_preset`.
        OSError: it could not be downloaded.
    """
    model, facts, _ = load_preset(name_or_path, zoo)
    missing = [
        key
        for key, kind in _NEEDED.items()
        if not isinstance(facts.get(key), kind)
    ]
    if missing:
        raise ValueError(
            f"Preset {redact(name_or_path)} lacks {missing} in its "
            "metadata, which are needed to measure its figures."
        )
    data = datasets.load_all(facts["dataset"], data_dir=data_dir)
    independent = registry.independent(facts["dataset"])
    found = measure(model, facts["symmetry"], data, independent)
    card = facts["metrics"]
    return {key: (card[key], found[key]) for key in card if key in found}
