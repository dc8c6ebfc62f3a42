"""`from_ase`: structures of ASE as arrays for interatomic potentials."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_remul.utils.elements import CLOSEST, ELEMENTS
from keras_remul.utils.typing import StrPath

if TYPE_CHECKING:
    import ase


# ASE also reads formats that may hold Python objects.
FORMATS = {
    ".xyz": "extxyz",
    ".extxyz": "extxyz",
    ".db": "db",
    ".json": "db",
    ".traj": "traj",
}


def from_ase(
    atoms: Sequence[ase.Atoms] | StrPath,
    energy_key: str = "energy",
    forces_key: str = "forces",
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Structures with energies and forces, padded to the largest of them.

    Labels are taken from the results of a structure's calculator, or else from
    its `info` (energy, stress) and `arrays` (forces). Nothing is computed.

    Args:
        atoms: list of `ase.Atoms`, or the path of an extended-xyz file, an
            ASE database or an ASE trajectory.
        energy_key: name of the energy. Defaults to `"energy"`.
        forces_key: name of the forces. Defaults to `"forces"`.

    Returns:
        `(x, y)`, for S structures of at most N atoms. x is a dict of:

        - `positions`: `(S, N, 3)`, float32, in Angstrom.
        - `atomic_numbers`: `(S, N, 1)`, int32, 0 for padding.
        - `mask`: `(S, N)`, 1 for atoms, if there is padding.
        - `box`: lattice vectors `(S, 3, 3)`, if a structure is periodic; zeros
        in a direction without a period.

        y is a dict of those of the following that the structures have:

        - `energy`: `(S, 1)`, float64, in eV.
        - `forces`: `(S, N, 3)`, float32, in eV/Angstrom.
        - `stress`: `(S, 3, 3)`, float32, in eV/Angstrom^3, with ASE's sign.

    Raises:
        ValueError: some structures lack a label that others have; a structure
            has no atoms, an unknown element, NaN or infinity, atoms at one
            place, a period without a lattice vector, or labels of other shapes
            or of other positions than its own; the message says which. Or a
            file cannot be read.
        ImportError: ASE is not installed.

    Example:

    >>> x, y = keras_remul.datasets.from_ase("train.xyz")
    >>> model.fit(x, y)
    """
    structures, where = _structures(atoms)
    for index, one in enumerate(structures):
        _check(one, f"Structure {index}{where}")
    size = max(map(len, structures))
    numbers = _padded([one.numbers for one in structures], size, "int32")
    x = {
        "positions": _padded([s.positions for s in structures], size),
        "atomic_numbers": numbers[..., None],
    }
    if min(map(len, structures)) < size:
        x["mask"] = (numbers > 0).astype("float32")
    if any(one.pbc.any() for one in structures):
        boxes = [one.cell.array * one.pbc[:, None] for one in structures]
        x["box"] = np.array(boxes, "float32")
    y = {}
    energies = _labels(structures, energy_key, where, lambda one: ())
    if energies is not None:
        y["energy"] = np.array(energies, "float64")[:, None]
    forces = _labels(structures, forces_key, where, lambda one: (len(one), 3))
    if forces is not None:
        y["forces"] = _padded(forces, size)
    stress = _labels(structures, "stress", where, lambda one: (3, 3))
    if stress is not None:
        y["stress"] = np.array(stress, "float32")
    return x, y


def _structures(atoms):
    """`(list of ase.Atoms, " of FILE" or "")`."""
    try:
        import ase.io
    except ImportError as error:
        raise ImportError(
            "Reading structures needs ASE: `pip install keras-remul[md]`."
        ) from error
    where = ""
    if isinstance(atoms, (str, os.PathLike)):
        path = pathlib.Path(atoms)
        if path.suffix not in FORMATS:
            raise ValueError(
                f"Expected a file that ends with {', '.join(FORMATS)}. "
                f"Received: {path}. Read it with ase.io.read and pass the list."
            )
        if not path.is_file():
            raise FileNotFoundError(f"There is no file {path}.")
        try:
            found: Any = ase.io.read(path, ":", format=FORMATS[path.suffix])
        except Exception as error:  # of ASE's parsers, whatever it is
            raise ValueError(
                f"ASE could not read {path}: {error}. Get the file again."
            ) from error
        where = f" of {path}"
    else:
        found = [atoms] if isinstance(atoms, ase.Atoms) else atoms
    structures = list(found)
    if not structures or not all(isinstance(s, ase.Atoms) for s in structures):
        kinds = sorted({type(s).__name__ for s in structures})
        raise ValueError(
            f"Expected at least one `ase.Atoms`{where}. Received: "
            f"{len(structures)} objects of {kinds}"
        )
    return structures, where


def _check(atoms, name):
    """Raises ValueError unless a structure is sound."""
    if not len(atoms):
        raise ValueError(f"{name} has no atoms.")
    wrong = (atoms.numbers < 1) | (atoms.numbers > ELEMENTS)
    if wrong.any():
        atom = int(np.argmax(wrong))
        raise ValueError(
            f"{name} has an unknown element: expected atomic numbers from 1 to "
            f"{ELEMENTS}. Received: {atoms.numbers[atom]} for atom {atom}"
        )
    if not (
        np.isfinite(atoms.positions).all() and np.isfinite(atoms.cell).all()
    ):
        raise ValueError(f"{name}: positions or cell are NaN or infinite.")
    vectors = atoms.cell.array[atoms.pbc]
    if np.linalg.matrix_rank(vectors) < len(vectors):
        raise ValueError(
            f"{name} is periodic along {int(atoms.pbc.sum())} directions, but "
            f"its cell is {atoms.cell.tolist()}. Set its cell, or pbc=False."
        )
    _check_distances(atoms, name)


def _check_distances(atoms, name):
    """Raises ValueError if two atoms, or images of them, are at one place."""
    from scipy.spatial.distance import pdist

    if atoms.pbc.any():
        from ase.neighborlist import neighbor_list

        close = len(neighbor_list("i", atoms, CLOSEST))
    else:
        close = (pdist(atoms.positions) < CLOSEST).any()
    if close:
        raise ValueError(
            f"{name} has atoms that are less than {CLOSEST} Angstrom apart. "
            "Check the unit of its positions, and that no atom is there twice."
        )


def _padded(arrays, size, dtype="float32"):
    """Arrays `(n, ...)` as one, `(S, size, ...)`, with zeros at the end."""
    result = np.zeros((len(arrays), size, *arrays[0].shape[1:]), dtype)
    for row, array in zip(result, arrays, strict=True):
        row[: len(array)] = array
    return result


def _labels(structures, key, where, shape):
    """The label of each structure, or None if no structure has it."""
    found = []
    for index, one in enumerate(structures):
        name = f"Structure {index}{where}"
        value = _value(one, key, name)
        if value is not None:
            value = _checked(value, key, name, shape(one))
        found.append(value)
    missing = [index for index, value in enumerate(found) if value is None]
    if len(missing) == len(found):
        return None
    if missing:
        raise ValueError(
            f"Expected {key!r} of all structures{where}, or of none. Missing: "
            f"that of structure {missing[0]}, and of {len(missing) - 1} more. "
            "Leave these structures out, or compute it for them."
        )
    return found


def _value(atoms, key, name):
    """A label as it is stored, or None."""
    results = getattr(atoms.calc, "results", {})
    if key in results:
        changes = atoms.calc.check_state(atoms)
        if changes:
            raise ValueError(
                f"{name}: its {key!r} was computed before its "
                f"{', '.join(changes)} changed. Compute it again."
            )
        return results[key]
    return atoms.info.get(key, atoms.arrays.get(key))


def _checked(value, key, name, shape):
    """A label as a finite float64 array of a shape."""
    try:
        value = np.asarray(value, "float64")
    except (TypeError, ValueError):
        raise ValueError(
            f"{name}: expected numbers as {key!r}. Received: {value!r}"
        ) from None
    if shape == (3, 3) and value.shape == (6,):  # xx, yy, zz, yz, xz, xy
        value = value[[[0, 5, 4], [5, 1, 3], [4, 3, 2]]]
    if value.shape != shape:
        raise ValueError(
            f"{name}: expected {key!r} of shape {shape}. Received: "
            f"{value.shape}"
        )
    if not np.isfinite(value).all():
        raise ValueError(f"{name}: its {key!r} is NaN or infinite.")
    return value
