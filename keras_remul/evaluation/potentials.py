"""Errors of potentials, in meV, and what forces owe to mechanics."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from keras_remul.evaluation.orbit import as_function
from keras_remul.utils.elements import counts
from keras_remul.utils.typing import Array

if TYPE_CHECKING:
    from keras_remul.models.wrappers.potential import Potential


MILLI = 1000.0


def evaluate_potential(
    potential: Potential,
    x: dict[str, Array],
    y: dict[str, Array],
    batch_size: int = 32,
) -> dict[str, float]:
    """Errors of energies, forces and stress, with those of the total force.

    Args:
        potential: a `Potential`, in eV and Angstrom.
        x: inputs, dict of arrays; padding is left out by `"mask"`.
        y: labels: `"energy"` `(B, 1)`, total energies in float64; optional
            `"forces"` `(B, N, 3)` and, where the potential has one, `"stress"`
            `(B, 3, 3)`.
        batch_size: samples in one pass. Defaults to 32.

    Returns:
        Dict of floats:
        `energy_mae`, `energy_rmse`: of energies per atom, meV/atom;
        `forces_mae`, `forces_rmse`: of components, meV/Angstrom;
        `stress_mae`, `stress_rmse`: of components, meV/Angstrom^3;
        `net_force`: of the predictions, `|sum F| / sum |F|`, mean over x;
        `net_torque`: `|sum r x F| / sum |r x F|`, with r from the center; only
        without a box, in which it has no meaning.

    Raises:
        ValueError: the labels do not fit, see `Potential.targets`, or the
            potential gives NaN.

    Example:
        >>> evaluate_potential(potential, x_test, y_test)["forces_rmse"]
        31.4
    """
    potential.targets(x, y)  # raises where the labels do not fit
    found = as_function(potential, batch_size)(x)
    number = counts(x["atomic_numbers"], x.get("mask")).sum(axis=1)
    valid = valid_atoms(x)
    error = potential.total_energy(x, found) - np.asarray(y["energy"])
    figures = _errors("energy", error[:, 0] / number)
    forces = found["forces"].astype("float64")
    if "forces" in y:
        error = forces - np.asarray(y["forces"])
        figures |= _errors("forces", error[valid])
    if "stress" in y and "stress" in found:
        error = found["stress"].astype("float64") - np.asarray(y["stress"])
        figures |= _errors("stress", error)
    forces = np.where(valid[..., None], forces, 0.0)
    figures["net_force"] = _net(forces)
    if "box" not in x:
        r = np.asarray(x["positions"], "float64")
        r = np.where(valid[..., None], r, 0.0)
        center = r.sum(axis=1, keepdims=True) / number[:, None, None]
        figures["net_torque"] = _net(np.cross(r - center, forces))
    return figures


def valid_atoms(x):
    """Booleans `(B, N)`, true where there is an atom.

    Args:
        x: inputs, dict of arrays.
    """
    if x.get("mask") is None:
        return np.ones(np.shape(x["positions"])[:2], bool)
    return np.asarray(x["mask"]).astype(bool)


def _errors(name, error):
    if not np.isfinite(error).all():
        raise ValueError(f"The potential gives NaN or infinity as {name}.")
    return {
        f"{name}_mae": float(MILLI * np.mean(np.abs(error))),
        f"{name}_rmse": float(MILLI * np.sqrt(np.mean(error**2))),
    }


def _net(vectors):
    """|sum of vectors| / sum of |vectors|, mean over samples."""
    total = np.linalg.norm(vectors.sum(axis=1), axis=-1)
    size = np.linalg.norm(vectors, axis=-1).sum(axis=1)
    return float(np.mean(total / np.maximum(size, 1e-300)))
