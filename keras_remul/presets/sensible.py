"""Whether a model is a potential, and atoms are what it can speak about."""

import os

import numpy as np

from keras_remul.models.wrappers.potential import Potential
from keras_remul.presets.folder import from_preset
from keras_remul.utils.elements import CLOSEST

_FLAT = 1e-6  # volume of a cell whose vectors lie in a plane, by their lengths


def as_potential(model, zoo=None):
    """The `Potential` that is given, or that is in what is given.

    Args:
        model: a `Potential`, a `RemulModel` of one, or the name, folder or
            address of a preset of one.
        zoo: address of another zoo than the default. Optional.

    Raises:
        ValueError: it is something else.
    """
    if isinstance(model, (str, os.PathLike)):
        model = from_preset(model, zoo=zoo)
    if not isinstance(model, Potential):
        model = getattr(model, "model", model)
    if not isinstance(model, Potential):
        raise ValueError(
            "Expected a `Potential` or a preset of one. Received: "
            f"{type(model).__name__}"
        )
    return model


def label(atoms, index):
    """An atom in errors: "atom 3 (O)".

    Args:
        atoms: `ase.Atoms`.
        index: its number.
    """
    return f"atom {index} ({atoms.symbols[int(index)]})"


def check_atoms(atoms):
    """Raises ValueError unless there are atoms, at finite places, in a cell.

    Args:
        atoms: `ase.Atoms`.
    """
    if len(atoms) == 0:
        raise ValueError("Expected one atom or more. Received: no atoms")
    finite = np.isfinite(atoms.positions).all(axis=1)
    if not finite.all():
        index = np.argmin(finite)
        raise ValueError(
            f"Expected finite positions. Received: {atoms.positions[index]} "
            f"for {label(atoms, index)}"
        )
    rows = atoms.cell.array[atoms.pbc]
    lengths = np.linalg.norm(rows, axis=1)
    if len(rows) == 0:
        return
    gram = rows @ rows.T
    # Not "below": a NaN is no volume.
    if not lengths.all() or not (
        np.linalg.det(gram) > (_FLAT * np.prod(lengths)) ** 2
    ):
        raise ValueError(
            "Expected lattice vectors that span a volume (of films and wires, "
            "an area or a length) in the periodic directions "
            f"{atoms.pbc.tolist()}. Received: {atoms.cell.array.tolist()}"
        )


def check_distances(atoms, receivers, senders, distances):
    """Raises ValueError where two atoms are on top of each other.

    Args:
        atoms: `ase.Atoms`.
        receivers, senders: the atoms of pairs `(P,)`; with an image of itself,
            one atom twice.
        distances: `(P,)`, Angstrom.
    """
    if len(distances) and distances.min() < CLOSEST:
        pair = np.argmin(distances)
        one, other = (label(atoms, p[pair]) for p in (receivers, senders))
        raise ValueError(
            f"Expected atoms at least {CLOSEST} Angstrom apart. Received: "
            f"{one} and {other}, or periodic images of them, at "
            f"{distances[pair]:.3g} Angstrom"
        )


def check_elements(atoms, known, what):
    """Raises ValueError where an element is not among the known ones.

    Args:
        atoms: `ase.Atoms`.
        known: atomic numbers.
        what: what is known of them, for the error.
    """
    unknown = np.flatnonzero(~np.isin(atoms.numbers, known))
    if unknown.size:
        from ase.data import chemical_symbols

        raise ValueError(
            f"Expected {what}: "
            f"{', '.join(chemical_symbols[z] for z in sorted(known))}. "
            f"Received: {label(atoms, unknown[0])}"
        )
