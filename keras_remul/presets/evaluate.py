"""The figures of a card, measured again."""

import keras
import numpy as np

from keras_remul import datasets
from keras_remul.evaluation import evaluate_equivariance
from keras_remul.presets.folder import from_preset, read_metadata


def measure(model, symmetry, data):
    """Task error and equivariance of a model that moves nodes.

    Args:
        model: from the inputs to new positions `(B, N, D)`.
        symmetry: its `Symmetry`.
        data: x and y of the training and of the test split, a pair of pairs.

    Returns:
        Dictionary of floats: the figures of `evaluate_equivariance` on the
        test split for 10 g per sample, relative to the motion; `test_mse`;
        and `train_mse`, of the first 1000 samples.
    """
    (x_train, y_train), (x, y) = data
    few = keras.tree.map_structure(lambda a: a[:1000], x_train)
    result = evaluate_equivariance(
        model, x, symmetry, y, samples=10, reference=x["positions"]
    )
    return {
        "train_mse": mean_squared_error(model, few, y_train[:1000]),
        "test_mse": mean_squared_error(model, x, y),
        **result,
    }


def mean_squared_error(model, x, y):
    """Mean over samples, nodes and coordinates."""
    y_pred = model.predict(x, batch_size=500, verbose=0)
    return float(np.mean((y_pred - y) ** 2))


def evaluate_preset(name_or_path, data_dir=None, zoo=None):
    """Measures the figures on a preset's card again, on this machine.

    Args:
        name_or_path, zoo: see `from_preset`.
        data_dir: folder of the data sets, see `datasets.load`.

    Returns:
        Dictionary from the name of each figure to a pair of floats, what the
        card says and what was found. Those of equivariance are means over 10
        random g, which differ between backends: they agree to a few percent.

    Raises:
        ValueError: the preset names no data set of this library.
    """
    facts = read_metadata(name_or_path, zoo)
    if "dataset" not in facts or "metrics" not in facts:
        raise ValueError(
            f"Preset {str(name_or_path)!r} names no data set and figures that "
            "could be measured again."
        )
    splits = ["train", "test"]
    data = datasets.load(facts["dataset"], split=splits, data_dir=data_dir)
    model = from_preset(name_or_path, zoo)
    found = measure(model, facts["symmetry"], data)
    card = facts["metrics"]
    return {key: (card[key], found[key]) for key in card if key in found}
