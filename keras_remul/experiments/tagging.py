"""Baselines without a network for classifiers of jets."""

import numpy as np

from keras_remul.evaluation.tagging import area_under_curve

PENALTIES = tuple(10.0**k for k in range(-4, 7))
METRIC = np.array([1.0, -1.0, -1.0, -1.0])


def mass(x):
    """Invariant mass of all constituents `(S,)`, in the units of x."""
    total = x["four_momenta"].astype("float64").sum(axis=1)
    return np.sqrt(np.maximum((METRIC * total**2).sum(axis=-1), 0.0))


def _closeness(x, y):
    """The score -|m - M|; M is the best of the deciles of the masses of 1."""
    masses = mass(x)
    candidates = np.quantile(masses[y > 0], np.linspace(0.1, 0.9, 9))
    best = max(candidates, key=lambda m: area_under_curve(-abs(masses - m), y))
    return best, lambda x: -abs(mass(x) - best)


def _columns(x):
    momenta = x["four_momenta"].astype("float64")
    return np.concatenate(
        [np.ones((len(momenta), 1)), momenta.reshape(len(momenta), -1)], axis=1
    )


def _ridge(train, validation):
    """Linear in all components, lambda chosen on validation."""
    columns = _columns(train[0])
    gram, moment = columns.T @ columns, columns.T @ train[1]
    fits = [
        (penalty, np.linalg.solve(gram + penalty * np.eye(len(gram)), moment))
        for penalty in PENALTIES
    ]
    columns = _columns(validation[0])
    penalty, w = max(
        fits, key=lambda fit: area_under_curve(columns @ fit[1], validation[1])
    )
    return penalty, lambda x: _columns(x) @ w


def baselines(sets):
    """Areas under the curve of the invariant mass and of ridge regression.

    The mass is invariant under the Lorentz group, ridge regression is not.

    Args:
        sets: dict of splits to (x, y), with `"train"` and `"validation"`.

    Returns:
        `{name: {split: area under the ROC curve}}`.
    """
    sets = {split: (x, y[:, 0]) for split, (x, y) in sets.items()}
    best, close = _closeness(*sets["train"])
    penalty, linear = _ridge(sets["train"], sets["validation"])
    models = {
        f"mass: -|m - {best:.0f} GeV|": close,
        f"ridge: lambda {penalty:g}": linear,
    }
    return {
        name: {
            split: area_under_curve(model(x), y)
            for split, (x, y) in sets.items()
            if split != "train"
        }
        for name, model in models.items()
    }
