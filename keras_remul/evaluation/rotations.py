"""Sets of rotations, and how potentials fare under them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from keras_remul.evaluation.orbit import as_function
from keras_remul.evaluation.potentials import MILLI, valid_atoms
from keras_remul.utils import polyhedra
from keras_remul.utils.elements import counts
from keras_remul.utils.polyhedra import POLYHEDRAL
from keras_remul.utils.typing import Array

if TYPE_CHECKING:
    from keras_remul.models.wrappers.potential import Potential


ANGLES = range(1, 41, 3)  # degrees


def spread_rotations(count, seed: int | np.random.Generator = 0):
    """Rotations that are spread well over all of them.

    Those of a polyhedron, in a random orientation, where there is one with as
    many (4, 6, 8, 12, 24 and 60), or else random ones.

    Args:
        count: M.
        seed: integer seed. Defaults to 0.

    Returns:
        Float64 `(M, 3, 3)`.
    """
    from scipy.spatial.transform import Rotation

    rng = np.random.default_rng(seed)
    if count not in POLYHEDRAL:
        return Rotation.random(count, rng).as_matrix()
    turn = Rotation.random(None, rng)
    return (polyhedra.rotations(count) * turn).as_matrix()


def evaluate_rotations(
    potential: Potential,
    x: dict[str, Array],
    num_samples: int = 100,
    seed: int = 0,
    batch_size: int = 32,
) -> dict[str, Any]:
    """How energies and forces change as the atoms are turned.

    Turns of 1 to 40 degrees show how smoothly, random ones how much in all.
    The figures of a model that is invariant are those of rounding.

    Args:
        potential: a `Potential`, in eV and Angstrom.
        x: inputs, dict of arrays. `"positions"` and lattice vectors `"box"`
            `(B, 3, 3)` are turned; all else is taken to be invariant.
        num_samples: M, random rotations of each sample. Defaults to 100.
        seed: integer seed of all rotations. Defaults to 0.
        batch_size: samples in one pass. Defaults to 32.

    Returns:
        Dict of `energy_spread`: the standard deviation of the energy over
        random rotations, meV/atom, root mean square over x; `forces_error`:
        the root mean square of `R^-1 F(R x) - F(x)` over components,
        meV/Angstrom; `forces_relative`: the same relative to that of F; and of
        lists of 14: `angles`, in degrees, `walk_energy`: the root mean square
        of `E(R x) - E(x)`, meV/atom, and `walk_forces`, as `forces_error`, for
        turns by these angles about random axes.

    Raises:
        ValueError: x holds velocities, or a box that is given by its edges.

    Example:
        >>> evaluate_rotations(potential, x_test)["forces_relative"]
        0.012
    """
    from scipy.spatial.transform import Rotation

    _check_inputs(x)
    rng = np.random.default_rng(seed)
    f = as_function(potential, batch_size)
    size = len(x["positions"])
    number = counts(x["atomic_numbers"], x.get("mask")).sum(axis=1)
    valid = valid_atoms(x)
    energy, forces = _outputs(f, x)

    def change(turns):
        """Of energies per atom `(B,)`, and of forces on valid atoms."""
        turned, back = _outputs(f, _turned(x, turns))
        back = back @ turns  # rows: R^-1 F
        return (turned - energy) / number, (back - forces)[valid]

    walk = []
    for angle in ANGLES:
        axes = rng.normal(size=(size, 3))
        axes *= np.deg2rad(angle) / np.linalg.norm(axes, axis=1, keepdims=True)
        walk.append(
            [*map(_rms, change(Rotation.from_rotvec(axes).as_matrix()))]
        )
    energies, errors = [], []
    for _ in range(num_samples):
        found = change(Rotation.random(size, rng).as_matrix())
        energies.append(found[0])
        errors.append(_rms(found[1]))
    error = _rms(errors)
    return {
        "energy_spread": MILLI * _rms(np.std(energies, axis=0)),
        "forces_error": MILLI * error,
        "forces_relative": error / _rms(forces[valid]),
        "angles": [float(angle) for angle in ANGLES],
        "walk_energy": [MILLI * one for one, _ in walk],
        "walk_forces": [MILLI * one for _, one in walk],
    }


def _check_inputs(x):
    box = np.shape(x.get("box", np.zeros((1, 3, 3))))
    if "velocities" in x or len(box) != 3 or box[1:] != (3, 3):
        raise ValueError(
            'Expected `x` without "velocities", and with lattice vectors '
            f'(batch, 3, 3) as "box", if any. Received: {sorted(x)}, a box of '
            f"shape {box}"
        )


def _turned(x, turns):
    """x with r -> R r."""
    turned = dict(x)
    for key in ("positions", "box"):
        if key in x:
            value = np.asarray(x[key])
            moved = value @ turns.swapaxes(1, 2)
            turned[key] = moved.astype(value.dtype)
    return turned


def _outputs(f, x):
    y = f(x)
    energy, forces = (y[k].astype("float64") for k in ("energy", "forces"))
    return energy[:, 0], forces


def _rms(values):
    return float(np.sqrt(np.mean(np.square(values))))
