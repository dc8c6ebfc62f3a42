"""The measures of a model, and their names in tables and on cards.

The keys are those of `evaluate_equivariance`, of results of recipes, and of
the `metrics` of a preset.
"""

from collections.abc import Callable
from typing import NamedTuple


class Measure(NamedTuple):
    """The names of a figure.

    Attributes:
        title: in words.
        column: at the head of a column, in a few letters.
        best: `min`, or `max` where the largest is the best.
    """

    title: str
    column: str
    best: Callable = min


EQUIVARIANCE_ERROR = (
    "E' is the equivariance error: the mean of || f(phi(g) x) - rho(g) f(x) || "
    "over samples x and random group elements g."
)
MEASURES = {
    "test_mse": Measure("test MSE", "test MSE"),
    "test_mse_standard_error": Measure(
        "test MSE, its standard error over test samples", "± over samples"
    ),
    "test_mse_median": Measure(
        "median over test samples of their MSE", "median"
    ),
    "unused_mse": Measure("MSE on unused systems", "unused systems"),
    "unused_mse_standard_error": Measure(
        "MSE on unused systems, its standard error", "± over these"
    ),
    "unused_mse_median": Measure("median on unused systems", "median of these"),
    "test_ood_mse": Measure("test MSE, out of distribution", "test_ood MSE"),
    "mse": Measure("test MSE, mean over the group", "test MSE, moved"),
    "mse_moved_by_so2": Measure("test MSE, moved by SO(2)", "by SO(2)"),
    "mse_moved_by_so3": Measure("test MSE, moved by SO(3)", "by SO(3)"),
    "symmetrized_mse": Measure(
        "test MSE, symmetrised over the group", "symmetrised"
    ),
    "equivariance_error": Measure("equivariance error E'", "E'"),
    "relative_equivariance_error": Measure(
        "E', relative to the motion", "E', relative"
    ),
    "average_equivariance_error": Measure("average error E", "E"),
    "orbit_variance": Measure("orbit variance", "variance"),
    "orbit_variance_share": Measure(
        "share of the MSE that is orbit variance", "orbit variance"
    ),
    "train_mse": Measure("training MSE", "training MSE"),
    "validation_mse": Measure("validation MSE", "validation MSE"),
    "share_of_network": Measure(
        "share of the network in the average", "share of the network"
    ),
    "parameters": Measure("parameters", "parameters"),
    "seconds": Measure("seconds of training", "seconds"),
}
_SPLITS = {
    "test": "",
    "test_large": ", larger molecules",
    "test_hot": ", higher temperature",
    "validation": ", validation",
}
_ERRORS = {"mae": "mean absolute error", "rmse": "root mean square error"}
for _split, _words in _SPLITS.items():
    for _key, _error in _ERRORS.items():
        MEASURES[f"{_split}_energy_{_key}"] = Measure(
            f"energy{_words}, {_error}, meV/atom",
            f"{_split} energy {_key.upper()}",
        )
        MEASURES[f"{_split}_forces_{_key}"] = Measure(
            f"forces{_words}, {_error}, meV/Angstrom",
            f"{_split} forces {_key.upper()}",
        )
MEASURES |= {
    "test_net_torque": Measure(
        "net torque, share of the sum of all norms of r x F", "net torque"
    ),
    "energy_spread": Measure(
        "standard deviation of the energy over rotations, meV/atom",
        "spread of energy",
    ),
    "forces_relative": Measure(
        "change of the forces with the orientation, relative to them",
        "change of forces",
    ),
    "forces_rmse_moved": Measure(
        "forces of molecules that are turned, root mean square error, "
        "meV/Angstrom",
        "forces RMSE, moved",
    ),
    "forces_rmse_symmetrized": Measure(
        "forces averaged over 20 rotations, root mean square error, "
        "meV/Angstrom",
        "forces RMSE, symmetrised",
    ),
}
_OF_TAGGERS = {
    "auc": ("area under the ROC curve", "AUC"),
    "accuracy": ("accuracy", "accuracy"),
    "rejection_50": ("1 / background at 50 % signal", "1/B at 50 %"),
    "rejection_30": ("1 / background at 30 % signal", "1/B at 30 %"),
}
for _key, (_title, _column) in _OF_TAGGERS.items():
    MEASURES[f"test_{_key}"] = Measure(_title, _column, max)
    MEASURES[f"test_{_key}_standard_error"] = Measure(
        f"{_title}, its standard error over test samples", "± over samples"
    )
    MEASURES[f"{_key}_moved"] = Measure(
        f"{_title}, moved by the group", f"{_column}, moved", max
    )
    MEASURES[f"{_key}_moved_by_lorentz"] = Measure(
        f"{_title}, moved by the Lorentz group", f"{_column}, Lorentz", max
    )
MEASURES["validation_loss"] = Measure(
    "validation loss, cross-entropy", "validation loss"
)
# What presets and runs are compared by, of motion, potentials and taggers: the
# task first, last how far from equivariant the model is.
SUMMARIES = (
    ("test_mse", "symmetrized_mse", "equivariance_error"),
    ("test_forces_mae", "test_energy_mae", "forces_relative"),
    ("test_auc", "auc_moved", "equivariance_error"),
)


def title(key, metrics):
    """The title of a figure among the others of a model.

    Args:
        key: of `MEASURES`.
        metrics: dict of figures.
    """
    if key == "relative_equivariance_error" and "test_auc" in metrics:
        return "E', relative to the logits"
    return MEASURES[key].title


def summary(metrics):
    """The keys of `SUMMARIES` that figures are compared by.

    Args:
        metrics: dict of figures.

    Returns:
        Those whose first is among the figures; of motion if there is none.
    """
    found = (keys for keys in SUMMARIES if keys[0] in metrics)
    return next(found, SUMMARIES[0])
