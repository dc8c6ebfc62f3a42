"""Whether forces are the gradient of an energy, by finite differences."""

import itertools

import numpy as np

from keras_remul.evaluation.orbit import as_function
from keras_remul.evaluation.potentials import valid_atoms

# Rounding errors of the energy fall with the step, those of the formula rise.
STEPS = {"float32": 2e-3, "float64": 1e-5}  # Angstrom
FORCES, SYMMETRY, STRESS = "forces_error", "jacobian_asymmetry", "stress_error"


def conservation_errors(potential, x, num_samples=4, seed=0, batch_size=256):
    """How far forces are from a gradient, and the stress from a derivative.

    With random directions d of all atoms, and random symmetric strains e,

        forces_error        E(x + d) - E(x - d) = -2 F(x) . d
        jacobian_asymmetry  d' . (F(x + d) - F(x - d))
                            = d . (F(x + d') - F(x - d'))
        stress_error        E((1 + e) x) - E((1 - e) x) = 2 V stress : e

    the root mean square of the difference of both sides, relative to that of
    the right one. The second is there because forces may differ from the
    gradient of this energy and still be that of another.

    Args:
        potential: a model or function of dicts; its outputs hold `"energy"`
            `(B, 1)`, `"forces"` `(B, N, 3)` and, optional, `"stress"`.
        x: dict of arrays: `"positions"` `(B, N, 3)`, optional `"mask"` and
            `"box"`, with a stress lattice vectors `(B, 3, 3)`.
        num_samples: directions, 2 or more. Defaults to 4.
        seed: integer seed of the directions. Defaults to 0.
        batch_size: samples in one pass. Defaults to 256.

    Returns:
        Dict of these floats, and `"dtype"`, that of the forces.
    """
    f = as_function(potential, batch_size)
    rng = np.random.default_rng(seed)
    y = f(x)
    dtype = y["forces"].dtype.name
    step = STEPS[dtype]
    r = np.asarray(x["positions"]).astype(dtype)
    valid = valid_atoms(x)
    forces = np.where(valid[..., None], y["forces"], 0.0).astype("float64")
    directions, energies, changes = [], [], []
    for _ in range(num_samples):
        d = step * rng.normal(size=r.shape) * valid[..., None]
        moved = [(r + sign * d).astype(dtype) for sign in (1, -1)]
        up, down = (f({**x, "positions": m}) for m in moved)
        # The step that rounding left.
        directions.append(np.subtract(*moved, dtype="float64"))
        energies.append(_difference(up, down, "energy")[:, 0])
        change = _difference(up, down, "forces")
        changes.append(np.where(valid[..., None], change, 0.0))
    work = [-np.sum(forces * d, axis=(1, 2)) for d in directions]
    pairs = list(itertools.combinations(range(num_samples), 2))
    sides = [
        [np.sum(changes[i] * directions[j], axis=(1, 2)) for i, j in order]
        for order in (pairs, [(j, i) for i, j in pairs])
    ]
    errors = {
        "dtype": dtype,
        FORCES: _relative(energies, work),
        SYMMETRY: _relative(*sides),
    }
    if "stress" in y:
        errors[STRESS] = _stress_error(f, {**x, "positions": r}, y, step, rng)
    return errors


def _stress_error(f, x, y, step, rng, num_samples=4):
    r = x["positions"]
    box = np.asarray(x["box"]).astype(r.dtype)
    volume = np.abs(np.linalg.det(box.astype("float64")))
    found, expected = [], []
    for _ in range(num_samples):
        strain = 0.3 * step * rng.normal(size=box.shape)
        strain = 0.5 * (strain + strain.swapaxes(1, 2))
        up, down = (
            f({**x, **_strained({"positions": r, "box": box}, sign * strain)})
            for sign in (1, -1)
        )
        found.append(_difference(up, down, "energy")[:, 0])
        work = np.sum(y["stress"].astype("float64") * strain, axis=(1, 2))
        expected.append(2.0 * volume * work)
    return _relative(found, expected)


def _strained(x, strain):
    return {
        key: (a + a.astype("float64") @ strain).astype(a.dtype)
        for key, a in x.items()
    }


def _difference(up, down, key):
    return np.subtract(up[key], down[key], dtype="float64")


def _relative(found, expected):
    """Root mean square of the difference over that of what is expected."""
    found, expected = np.array(found), np.array(expected)
    size = np.sqrt(np.mean(expected**2))
    with np.errstate(invalid="ignore", divide="ignore"):
        return float(np.sqrt(np.mean((found - expected) ** 2)) / size)
