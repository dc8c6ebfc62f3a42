"""Lists of neighbors that follow moving atoms, in arrays of lasting shape."""

from typing import NamedTuple

import numpy as np

# Pairs at the cut-off are listed in both directions, however they are rounded.
MARGIN = 1e-4


class Near(NamedTuple):
    """The pairs of atoms that are within the cut-off.

    Attributes:
        positions: `(N, 3)` float64, those of images near the cell.
        receivers, senders: i in ascending order and j `(P,)`.
        shifts: integers `(P, 3)`: the image of j that is meant lies at its
            position plus `shifts` times the cell.
        distances: `(P,)`.
    """

    positions: np.ndarray
    receivers: np.ndarray
    senders: np.ndarray
    shifts: np.ndarray
    distances: np.ndarray


class VerletList:
    """The pairs of atoms within a cut-off, searched for every now and then.

    ASE's list, which takes a time linear in the number of atoms, is made for a
    somewhat larger radius, and again when an atom has moved by half of the
    excess, the skin, since only then it may lack a pair; or when the cell, the
    periodic directions or the number of atoms change. In between, the pairs
    that are now within the cut-off are picked from it.

    Args:
        cutoff: largest distance, Angstrom.
        skin: what the list reaches beyond it, Angstrom.

    Attributes:
        made: how many times a list was made.
    """

    def __init__(self, cutoff, skin):
        self.cutoff, self.skin = float(cutoff), float(skin)
        self.made = 0
        self.start = None

    def near(self, atoms):
        """The pairs within the cut-off, both directions of each.

        Args:
            atoms: `ase.Atoms`.

        Returns:
            `Near`.
        """
        if self._is_old(atoms):
            self._make(atoms)
        i, j, shifts = self.pairs
        x = atoms.positions - self.wraps
        distances = np.linalg.norm(x[j] - x[i] + self.offsets, axis=1)
        near = np.flatnonzero(distances <= self.cutoff * (1.0 + MARGIN))
        return Near(x, i[near], j[near], shifts[near], distances[near])

    def _is_old(self, atoms):
        if self.start is None:
            return True
        x, cell, pbc = self.start
        if (
            len(x) != len(atoms)
            or not np.array_equal(cell, atoms.cell.array)
            or not np.array_equal(pbc, atoms.pbc)
        ):
            return True
        moved = np.sum((atoms.positions - x) ** 2, axis=1).max()
        return moved > (0.5 * self.skin) ** 2

    def _make(self, atoms):
        from ase.cell import Cell
        from ase.neighborlist import primitive_neighbor_list

        pbc = atoms.pbc
        periods = Cell(np.where(pbc[:, None], atoms.cell.array, 0.0))
        # Atoms may drift through many cells, and float32 has seven digits.
        turns = np.floor(periods.scaled_positions(atoms.positions)) * pbc
        cell = periods.array
        self.wraps = turns @ cell
        x, grid = atoms.positions - self.wraps, cell
        if not pbc.any():  # the cell is but a grid to sort the atoms into
            x = x - x.min(axis=0)
            grid = np.diag(np.maximum(x.max(axis=0), 1.0))
        i, j, shifts = primitive_neighbor_list(
            "ijS", pbc, grid, x, self.cutoff + self.skin
        )
        self.pairs, self.offsets = (i, j, shifts), shifts @ cell
        self.start = atoms.positions.copy(), atoms.cell.array.copy(), pbc.copy()
        self.made += 1


def rounded(number):
    """The next of some 8 numbers in each octave.

    Args:
        number: a whole number.
    """
    step = 2 ** max(0, int(number).bit_length() - 4)
    return -(-number // step) * step


def room(needed, width):
    """Places for neighbors: as before, unless too few or far too many.

    Args:
        needed: the largest number of neighbors now.
        width: places before, or None.
    """
    roomy = rounded(needed + 1 + needed // 16)
    return width if width and needed <= width <= 1.5 * roomy else roomy


def packed(near, atoms, width):
    """A list of neighbors in two arrays of given shapes.

    Args:
        near: `Near`.
        atoms: places for atoms, N or more.
        width: places for the neighbors of each.

    Returns:
        Neighbors `(atoms, width)`, filled with -1, and shifts `(atoms, width,
        3)`, int32.
    """
    i = near.receivers
    place = np.arange(len(i)) - np.searchsorted(i, i)
    neighbors = np.full((atoms, width), -1, "int32")
    shifts = np.zeros((atoms, width, 3), "int32")
    neighbors[i, place] = near.senders
    shifts[i, place] = near.shifts
    return neighbors, shifts
