"""Samples of a data set as matrices, which g can transform."""

from typing import Any

import keras
import numpy as np

from keras_remul.utils.leaves import NotFiniteError, by_path, nest, to_numpy

_MOST_NUMBERS = 1_000_000  # that are transformed at once


class Data:
    """Samples as matrices, which g can transform."""

    def __init__(self, x, y, symmetry, trials, center):
        symmetry.check_inputs(x)
        self.mask = symmetry.get_mask(x)
        symmetry.check_outputs(y, mask=self.mask)
        self.x, self.y, self.trials = x, y, trials
        self.symmetry, self.center = symmetry, center
        if center:
            self._check_center()
        self.scales: Any = None
        inputs, outputs, targets = self._leaves(x, y)
        # Each leaf in units of its size, which rotations keep. Targets in
        # units of their spread: large numbers would hide the small ones.
        self.scales = (
            [_size(a) for a in inputs + outputs],
            [_size(a - a.mean(axis=0), or_of=a) for a in targets],
        )
        self._shapes = [a.shape for a in targets]

    def turned(self, count, seed, by_trial=False):
        """Yields `matrices` of copies, each sample or trial with its own g."""
        rng = np.random.default_rng(seed)
        n = len(self.trials)
        elements = int(self.trials.max()) + 1 if by_trial else n
        for part in self.parts(count):
            copies = len(part)
            g = self.symmetry.sample(
                elements * copies, seed=int(rng.integers(2**31))
            )
            if by_trial:
                rows = [self.trials + elements * i for i in range(copies)]
                rows = np.concatenate(rows)
                g = keras.tree.map_structure(
                    lambda a, rows=rows: a[rows], to_numpy(g)
                )
            matrices = self.repeated(copies).moved(g)
            yield from zip(
                *(np.split(matrix, copies) for matrix in matrices), strict=True
            )

    def parts(self, count):
        """`range(count)` in parts, of so many copies as go at once."""
        leaves = keras.tree.flatten((self.x, self.y))
        numbers = sum(np.size(leaf) for leaf in leaves)
        at_once = max(1, _MOST_NUMBERS // numbers)
        for start in range(0, count, at_once):
            yield range(start, min(start + at_once, count))

    def repeated(self, copies):
        """The data `copies` times, one after the other."""
        x, y, trials = keras.tree.map_structure(
            lambda a: np.concatenate([np.asarray(a)] * copies),
            (self.x, self.y, self.trials),
        )
        many = Data(x, y, self.symmetry, trials, self.center)
        many.scales = self.scales
        return many

    def moved(self, g):
        """`matrices` of the data moved by one g for each sample."""
        x = to_numpy(self.symmetry.transform_inputs(g, self.x))
        y = self.symmetry.transform_outputs(g, self.y, self.mask)
        return self.matrices(x, to_numpy(y))

    def matrices(self, x, y):
        """Features `(n, p)`, targets `(n, q)` and joint samples `(n, r)`.

        A target that is a `Point` is relative to the first `Point` of the
        inputs that has its shape.
        """
        inputs, outputs, targets = self._leaves(x, y)
        scaled = _divide(inputs + outputs, self.scales[0])
        targets = _divide(targets, self.scales[1])
        return [
            np.concatenate([a.reshape(len(a), -1) for a in part], axis=1)
            for part in (scaled[: len(inputs)], targets, scaled)
        ]

    def shifted(self, change):
        """The data with `change` `(n, q)` added to the targets."""
        leaves = by_path(self.symmetry.outputs, self.y, "y")
        parts = self._unflatten(change)
        moved = {
            path: np.asarray(leaf, "float64").reshape(part.shape) + part
            for (path, leaf), part in zip(leaves.items(), parts, strict=True)
        }
        y = nest(self.symmetry.outputs, moved)
        return Data(self.x, y, self.symmetry, self.trials, self.center)

    def turned_back(self, g, change):
        """rho(g)^-1 of a change `(n, q)` of the targets."""
        leaves = by_path(self.symmetry.outputs, self.y, "y")
        inverse = self.symmetry.group.inverse(g)

        def back(parts):
            values = dict(zip(leaves, parts, strict=True))
            y = nest(self.symmetry.outputs, values)
            y = self.symmetry.transform_outputs(inverse, y, self.mask)
            y = by_path(self.symmetry.outputs, to_numpy(y), "y").values()
            return [np.asarray(leaf, "float64") for leaf in y]

        parts = self._unflatten(change)
        origins = back([np.zeros_like(part) for part in parts])
        moved = [a - b for a, b in zip(back(parts), origins, strict=True)]
        moved = _divide(moved, self.scales[1])
        return np.concatenate([a.reshape(len(a), -1) for a in moved], axis=1)

    def _unflatten(self, change):
        """Columns of targets as leaves of y, in its units."""
        stops = np.cumsum([int(np.prod(s[1:])) for s in self._shapes])
        parts = np.split(change, stops[:-1], axis=1)
        return [
            self._valid(representation, part.reshape(shape) * scale)
            for part, shape, scale, representation in zip(
                parts,
                self._shapes,
                self.scales[1],
                by_path(
                    self.symmetry.outputs, self.symmetry.outputs, ""
                ).values(),
                strict=True,
            )
        ]

    def _leaves(self, x, y):
        """Leaves of x and y, centered; those of y relative to their start."""
        if self.mask is not None:
            x = {key: x[key] for key in x if key != self.symmetry.mask}
        parts = []
        middle = None
        for structure, data, name in (
            (self.symmetry.inputs, x, "x"),
            (self.symmetry.outputs, y, "y"),
        ):
            part = []
            representations = by_path(structure, structure, name)
            for path, leaf in by_path(structure, data, name).items():
                representation = representations[path]
                leaf = np.asarray(leaf, "float64")
                leaf = self._valid(representation, leaf)
                if not np.isfinite(leaf).all():
                    raise NotFiniteError(
                        f"`{name}{path}` holds NaN or infinite numbers."
                    )
                point = representation.moves_origin
                if point and self.center:
                    per_node = self._per_node(representation, leaf)
                    if middle is None and per_node:
                        middle = self._middle(representation, leaf)  # (n, d)
                    if middle is not None:
                        axes = (1,) * (leaf.ndim - 2)
                        at = middle.reshape(len(leaf), *axes, leaf.shape[-1])
                        leaf = self._valid(representation, leaf - at)
                part.append((point, leaf))
            parts.append(part)
        points = [leaf for point, leaf in parts[0] if point]
        targets = [
            leaf
            - next((p for p in points if point and p.shape == leaf.shape), 0.0)
            for point, leaf in parts[1]
        ]
        inputs, outputs = ([leaf for _, leaf in part] for part in parts)
        return inputs, outputs, targets

    def _check_center(self):
        """Raises ValueError where centering would remove what is tested."""
        group, sizes = self.symmetry.group, set()
        for structure in (self.symmetry.inputs, self.symmetry.outputs):
            for representation in keras.tree.flatten(structure):
                if not representation.moves_origin:
                    continue
                sizes.add(representation.shape(group))
                if representation.restrict(group)[1].has_translations:
                    raise ValueError(
                        f"{group!r} holds translations, which `center=True` "
                        "takes out of the data, so that no breaking of them "
                        "could be seen. Give `center=False`, or a candidate "
                        "without translations."
                    )
        if len(sizes) > 1:
            raise ValueError(
                "`center=True` needs points that are leaves of their own, all "
                "of one dimension. Give `center=False`, or take them out of "
                f"the DirectSum. Received: points of the shapes {sizes}"
            )

    def _per_node(self, representation, leaf):
        return self.symmetry.is_per_node(representation, leaf, self.mask)

    def _nodes(self, leaf):
        """The mask as booleans that broadcast against a leaf `(n, N, ...)`."""
        valid = to_numpy(self.mask).astype(bool)
        return valid.reshape(valid.shape + (1,) * (leaf.ndim - 2))

    def _valid(self, representation, leaf):
        """The leaf with zeros at padded nodes."""
        if self.mask is None or not self._per_node(representation, leaf):
            return leaf
        return np.where(self._nodes(leaf), leaf, 0.0)

    def _middle(self, representation, leaf):
        """The mean of all valid nodes, `(n, d)`."""
        axes = tuple(range(1, leaf.ndim - 1))
        if self.mask is None:
            return leaf.mean(axis=axes)
        there = np.broadcast_to(self._nodes(leaf), leaf.shape)
        return leaf.sum(axis=axes) / np.maximum(there.sum(axis=axes), 1)


def _size(leaf, or_of=None):
    """The root mean square; if it is zero, that of another leaf, or 1."""
    size = np.sqrt(np.mean(leaf**2))
    whole = size if or_of is None else np.sqrt(np.mean(or_of**2))
    return size if size > 1e-6 * whole else whole or 1.0


def _divide(leaves, scales):
    return [a / scale for a, scale in zip(leaves, scales, strict=True)]
