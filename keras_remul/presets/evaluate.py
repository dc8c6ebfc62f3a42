"""The figures of a card, measured again."""

import keras
import numpy as np

from keras_remul import datasets
from keras_remul.evaluation import (
    evaluate_equivariance,
    evaluate_potential,
    evaluate_rotations,
)
from keras_remul.models import Potential
from keras_remul.presets.folder import load_preset
from keras_remul.symmetry import Symmetry
from keras_remul.utils.leaves import shaped_like
from keras_remul.utils.web import redact

ROTATED, ROTATIONS = 200, 20  # samples of a potential, rotations of each
_NEEDED = {"dataset": (str, list), "metrics": dict, "symmetry": Symmetry}


def measure(model, symmetry, data):
    """Task error and equivariance of a model.

    Args:
        model: a `Potential`, or a model from the inputs to new positions
            `(B, N, D)`.
        symmetry: its `Symmetry`.
        data: dict of splits to (x, y), with `"test"`.

    Returns:
        Dictionary of floats, see `measure_motion` and `measure_potential`.
    """
    if isinstance(model, Potential):
        return measure_potential(model, symmetry, data)
    return measure_motion(model, symmetry, data)


def measure_motion(model, symmetry, data):
    """Task error and equivariance of a model that moves nodes.

    Args:
        model, symmetry, data: as for `measure`.

    Returns:
        Dictionary of floats: the figures of `evaluate_equivariance` on the
        test split for 10 g per sample, relative to the motion; and the mean
        squared error of each split except validation, `test_mse` and so on, on
        `"train"` for the first 1000 samples.
    """
    result = {}
    for split, (x, y) in data.items():
        if split == "train":
            x, y = keras.tree.map_structure(lambda a: a[:1000], (x, y))
        if split != "validation":
            result[f"{split}_mse"] = mean_squared_error(model, x, y)
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


def mean_squared_error(model, x, y):
    """Mean over samples, nodes and coordinates."""
    y_pred = model.predict(x, batch_size=500, verbose=0)
    return float(np.mean((y_pred - shaped_like(y, y_pred, "y")) ** 2))


def evaluate_preset(name_or_path, data_dir=None, zoo=None):
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
    found = measure(model, facts["symmetry"], data)
    card = facts["metrics"]
    return {key: (card[key], found[key]) for key in card if key in found}
