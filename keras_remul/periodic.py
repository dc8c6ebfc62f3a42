"""Periodic boxes: their forms, nearest images, and lists of images.

A box is given by its edges, or by its lattice vectors, the rows of a matrix:

    (D,)                    edges of all samples
    (B, D) or (B, 1, D)     edges of each sample
    (B, D, D), (1, D, D)    lattice vectors of each, of all samples

An edge of 0 or infinity, or a row of zeros, means no period in that direction,
as in films and wires. `(D, D)` for a batch of D could be edges or one matrix,
and is refused; write one matrix for all samples as `cell[None]`.
"""

from __future__ import annotations

import itertools

import keras
import numpy as np
from keras import ops

from keras_remul import backend
from keras_remul.utils.typing import Array

# Enough for any cell of use: each round is the best of many moves.
ROUNDS = 24


def standard_box(box, batch, dim):
    """A box in the form `(B or 1, 1, D)` of edges, or `(B or 1, D, D)`.

    Args:
        box: in any form of this module.
        batch: B, or None where it is unknown.
        dim: D.

    Raises:
        ValueError: `box` has another shape, or an ambiguous one.
    """
    shape = tuple(box.shape)
    if len(shape) == 2 and shape[0] == dim and batch in (None, dim) and dim > 1:
        raise ValueError(
            f"A box of the shape {shape} could be the edges of {dim} samples, "
            "or the lattice vectors of one. Pass edges as (B, 1, D), box[:, "
            "None], and one matrix for all samples as (1, D, D), cell[None]."
        )
    rows = shape[1] if len(shape) == 3 else 1
    samples = shape[0] if len(shape) > 1 else 1
    fits = (
        len(shape) in (1, 2, 3)
        and shape[-1:] == (dim,)
        and rows in (1, dim)
        and (samples in (None, 1, batch) or batch is None)
    )
    if not fits:
        raise ValueError(
            f"Expected `box` to be edges ({dim},), (B, {dim}) or (B, 1, {dim})"
            f", or lattice vectors (B, {dim}, {dim}), with B = {batch}, or 1 "
            f"for all samples: cell[None]. Received: box.shape={shape}"
        )
    return ops.reshape(box, (-1, rows, dim))


def minimum_image(difference: Array, box: Array | None) -> Array:
    """The shortest of all periodic images of x_i - x_j.

    `d - n C` with the lattice vector n C nearest to d; with edges L,
    `d - L round(d / L)`. Of two images at the same distance, either may be
    taken.

    Args:
        difference: `(B, ..., D)`.
        box: see the module; None for free space, where `difference` is
            returned. Cells may have any angles; a cell that is too skewed to be
            reduced gives NaN.

    Returns:
        `(B, ..., D)`.

    Raises:
        ValueError: `box` has another shape.
    """
    if box is None:
        return difference
    box = ops.cast(box, difference.dtype)
    box = standard_box(box, difference.shape[0], difference.shape[-1])
    return difference - nearest_lattice_vector(difference, box)


def lattice_vector(shifts, box):
    """n C, for numbers n `(B, ..., D)` of lattice vectors.

    Args:
        shifts: n, floats.
        box: as `standard_box` gives it.
    """
    box = _periods(box)
    axes = (1,) * (len(shifts.shape) - 2)
    rows = [
        ops.reshape(row, (-1, *axes, shifts.shape[-1]))
        for row in ops.unstack(box, box.shape[1], axis=1)
    ]
    if len(rows) == 1:
        return shifts * rows[0]
    return sum(shifts[..., i : i + 1] * row for i, row in enumerate(rows))


@backend.one_program
def nearest_lattice_vector(difference, box):
    """The lattice vector n C that is nearest to d; n has no derivative.

    Args:
        difference: d, `(B, ..., D)`.
        box: as `standard_box` gives it.
    """
    d = ops.stop_gradient(difference)
    if box.shape[1] < box.shape[2]:
        edges = ops.stop_gradient(_periods(box))
        edges = ops.reshape(
            edges, (-1, *(1,) * (len(d.shape) - 2), d.shape[-1])
        )
        open_ = edges == 0
        shifts = ops.round(d / ops.where(open_, 1.0, edges))
        return lattice_vector(ops.where(open_, 0.0, shifts), box)
    box = reduce_cell(box)
    shape = ops.shape(d)
    cell = ops.stop_gradient(box)  # (B or 1, D, D)
    d = ops.reshape(d, (shape[0], -1, d.shape[-1]))  # (B, P, D)
    transpose = ops.swapaxes(cell, 1, 2)
    gram = backend.matmul(cell, transpose)
    # A row of zeros has the coefficient 0.
    one = ops.eye(d.shape[-1], dtype=d.dtype)
    unknown = ops.logical_or(_empty(cell), ops.isnan(gram))
    gram = ops.where(unknown, one, gram)
    dual = backend.matmul(transpose, ops.linalg.inv(gram))
    shifts = ops.round(backend.matmul(d, dual))
    rest = d - lattice_vector(shifts, cell)
    # In a reduced cell the nearest one is among the next ones of this one:
    # |r - v|^2 = |r|^2 + sum_a v_a (v_a - 2 r_a).
    steps = _steps(d.shape[-1], d.dtype)
    v = backend.matmul(steps[None], cell)[:, None]  # (B or 1, 1, M, D)
    square = sum(
        v[..., a] * (v[..., a] - 2.0 * rest[..., a : a + 1])
        for a in range(d.shape[-1])
    )  # (B, P, M)
    shifts = shifts + ops.take(steps, ops.argmin(square, axis=-1), axis=0)
    return lattice_vector(ops.reshape(shifts, shape), box)


@backend.one_program
def shortest_period(box):
    """Length of the shortest lattice vector `(B or 1,)`.

    Args:
        box: as `standard_box` gives it.
    """
    if box.shape[1] < box.shape[2]:
        lengths = ops.abs(_periods(box))[:, 0]
    else:
        cell = reduce_cell(box)
        lengths = ops.sqrt(ops.sum(ops.square(cell), axis=-1))
    lengths = ops.where(lengths == 0, float("inf"), lengths)
    return ops.min(lengths, axis=-1)


@backend.one_program
def reduce_cell(cell):
    """The shortest vectors that span the same lattice (Minkowski).

    No sum or difference of two or three of them is shorter than one of its
    terms.

    Args:
        cell: lattice vectors `(B, D, D)`, rows; D up to 3. Rows of zeros are
            kept.

    Returns:
        `(B, D, D)`, integer combinations of the rows; NaN if these lie in a
        plane, or are too skewed.
    """
    return backend.matmul(reduction(cell), _periods(cell))


@backend.one_program
def reduction(cell):
    """The integers `(B, D, D)` by which `reduce_cell` combines the rows."""
    cell = _periods(cell)
    fixed, moves = ops.stop_gradient(cell), _moves(cell.shape[-1], cell.dtype)

    def shorten(_, total):
        best = _best_move(backend.matmul(total, fixed), moves)
        return backend.matmul(ops.take(moves, best, axis=0), total)

    total = ops.zeros_like(fixed) + moves[:1]
    total = ops.fori_loop(0, ROUNDS, shorten, total)
    reduced = backend.matmul(total, fixed)
    settled = ops.equal(_best_move(reduced, moves), 0)
    # No product b_i . b_j is above half of |b_i|^2.
    one = ops.eye(cell.shape[-1], dtype=cell.dtype)
    gram = backend.matmul(reduced, ops.swapaxes(reduced, 1, 2))
    gram = ops.where(_empty(fixed), one, gram)
    size = ops.sum(gram * one, axis=-1, keepdims=True)
    large = ops.abs(gram) * (1.0 - one) > 0.5001 * size
    settled &= ops.logical_not(ops.any(large, axis=(1, 2)))
    # Reduced vectors of a volume are far from lying in a plane.
    size = ops.sqrt(size)
    volume = ops.linalg.det(gram / size / ops.swapaxes(size, 1, 2))
    settled &= volume > 0.1
    return ops.where(settled[:, None, None], total, float("nan"))


def _empty(cell):
    """Which rows `(B, D, 1)` are zeros."""
    return ops.all(cell == 0, axis=-1, keepdims=True)


def _best_move(cell, moves):
    """Which move `(B,)` shortens one row most, as a ratio; 0 for none."""
    tiny = 1e-30
    moved = backend.matmul(moves[None], cell[:, None])  # (B, M, D, D)
    before = ops.sum(ops.square(cell), axis=-1)[:, None] + tiny
    after = ops.sum(ops.square(moved), axis=-1) + tiny
    ratio = ops.sum(after / before, axis=-1)  # (B, M)
    best = ops.cast(ops.argmin(ratio, axis=-1), "int32")
    # Not less than all, where there is a NaN.
    stays = ops.min(ratio, axis=-1) >= ratio[:, 0] - 1e-5
    return ops.where(stays, 0, best)


def _moves(dim, dtype):
    """One row plus a multiple of another, or plus or minus two others."""
    one = np.eye(dim)
    result = [one]
    for i, j in itertools.permutations(range(dim), 2):
        for number in 2 ** np.arange(17):
            for sign in (1, -1):
                move = one.copy()
                move[i, j] = sign * number
                result.append(move)
    if dim == 3:
        for i in range(3):
            for signs in itertools.product((1, -1), repeat=2):
                move = one.copy()
                move[i, [j for j in range(3) if j != i]] = signs
                result.append(move)
    return ops.convert_to_tensor(np.stack(result), dtype)


def _steps(dim, dtype):
    """All rows of -1, 0 and 1 `(3^D, D)`."""
    steps = list(itertools.product((0, -1, 1), repeat=dim))
    return ops.convert_to_tensor(np.array(steps), dtype)


def _periods(box):
    """The box with zeros where it has no period."""
    infinite = ops.isinf(box)
    if box.shape[1] == box.shape[2]:
        infinite = ops.any(infinite, axis=-1, keepdims=True)
    return ops.where(infinite, 0.0, box)


# --- Lists of images ---


def periodic_graph(
    positions: Array,
    cutoff: float,
    box: Array,
    max_neighbors: int | None = None,
    mask: Array | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """All images of all nodes within a distance of each node.

    Correct for any cut-off: a node may be listed several times, once for each
    of its images, and may be its own neighbor. Computed in NumPy, for use on
    data, since the number of images depends on the box.

    Args:
        positions: `(B, N, D)`; they may lie outside the box.
        cutoff: largest distance.
        box: see the module.
        max_neighbors: K; the nearest are kept. Defaults to None: all neighbors.
        mask: optional `(B, N)`, true where a node is valid.

    Returns:
        Neighbors `(B, N, K)`, the nearest first, filled with -1, and shifts
        `(B, N, K, D)`, int32: the image of node j is at x_j plus `shifts` times
        the lattice vectors (or edges). These are the inputs `"neighbors"` and
        `"shifts"` of models, together with `"box"`.

    Raises:
        ValueError: an argument has another shape or is not above 0, or the
            lattice vectors lie in one plane.

    Example:
        >>> x = np.random.uniform(0, 4, size=(1, 10, 3))
        >>> cell = np.array([[[4, 0, 0], [1, 4, 0], [0, 0, 0]]])  # a film
        >>> neighbors, shifts = periodic_graph(x, 5.0, cell)
    """
    if not cutoff > 0:
        raise ValueError(f"Expected `cutoff` > 0. Received: {cutoff}")
    x = np.asarray(ops.convert_to_numpy(positions), "float64")
    batch, num_nodes, dim = x.shape
    box = np.asarray(ops.convert_to_numpy(box), "float64")
    standard_box(box, batch, dim)
    cells = np.where(np.isinf(box), 0.0, box)
    if box.ndim < 3:
        cells = cells.reshape(-1, 1, dim)
    if cells.shape[1] < dim or dim == 1:
        cells = cells * np.eye(dim)
    else:
        cells = np.where(np.isinf(box).any(-1, keepdims=True), 0.0, cells)
    cells = np.broadcast_to(cells, (batch, dim, dim))
    valid = np.ones((batch, num_nodes), bool)
    if mask is not None:
        valid = np.asarray(ops.convert_to_numpy(mask)).astype(bool)
    x = np.where(valid[..., None], x, 0.0)
    found = [
        _images(*sample, cutoff) for sample in zip(x, cells, valid, strict=True)
    ]
    most = max_neighbors
    if most is None:
        counts = [
            np.bincount(receivers, minlength=1).max()
            for receivers, _, _, _ in found
        ]
        most = int(max([1, *counts]))
    if most < 1:
        raise ValueError(f"Expected one neighbor or more. Received: {most}")
    neighbors = np.full((batch, num_nodes, most), -1, "int32")
    shifts = np.zeros((*neighbors.shape, dim), "int32")
    for b, (receivers, senders, numbers, place) in enumerate(found):
        kept = place < most
        index = b, receivers[kept], place[kept]
        neighbors[index] = senders[kept]
        shifts[index] = numbers[kept]
    return neighbors, shifts


def _images(x, cell, valid, cutoff):
    """Receivers, senders, shifts and places of the images of one sample."""
    numbers = ops.convert_to_tensor(cell[None], keras.config.floatx())
    numbers = ops.convert_to_numpy(reduction(numbers))[0].astype("float64")
    if np.isnan(numbers).any():
        raise ValueError(
            "Expected lattice vectors that span a volume (or, with rows of "
            "zeros, an area or a line) and are not extremely skewed. "
            f"Received: {cell.tolist()}"
        )
    cell = numbers @ cell
    dual = np.linalg.pinv(cell)  # columns; 0 where there is no period
    away = x[:, None] - x[None]  # (N, N, D)
    nearest = np.round(away @ dual)
    # |d . dual_a| <= cutoff |dual_a| for all d within the cut-off.
    reach = np.floor(0.5 + 1e-6 + cutoff * np.linalg.norm(dual, axis=0)).astype(
        int
    )
    pairs = valid[:, None] & valid[None]
    parts = []
    for step in itertools.product(*(range(-r, r + 1) for r in reach)):
        shift = nearest + np.array(step)
        distance = np.linalg.norm(away - shift @ cell, axis=-1)
        hit = pairs & (distance <= cutoff)
        hit &= ~(np.eye(len(x), dtype=bool) & (shift == 0).all(-1))
        i, j = np.nonzero(hit)
        parts.append((i, j, shift[i, j], distance[i, j]))
    i, j, shift, distance = map(np.concatenate, zip(*parts, strict=True))
    order = np.lexsort((*shift.T, j, distance, i))
    i, j, shift = i[order], j[order], (shift @ numbers)[order]
    place = np.arange(len(i)) - np.searchsorted(i, i)
    return i, j, shift.astype("int32"), place
