"""Samples of a data set that can be turned, as matrices."""

import keras
import numpy as np

from keras_remul.evaluation import to_numpy


class Data:
    """Samples that can be turned, as matrices."""

    def __init__(self, x, y, symmetry, trials, center):
        symmetry.check_inputs(x)
        symmetry.check_outputs(y)
        self.x, self.y, self.trials = x, y, trials
        self.symmetry, self.center = symmetry, center
        self.mask = symmetry.get_mask(x)
        self.sizes = None
        # Each leaf in units of its size, which rotations keep.
        leaves = [a for part in self._leaves(x, y)[:2] for a in part]
        self.sizes = [np.sqrt(np.mean(a**2)) or 1.0 for a in leaves]

    def turned(self, seed, by_trial=False):
        """`matrices` of the data, each sample or trial turned by its own g."""
        n = self.trials.max() + 1 if by_trial else len(self.trials)
        g = to_numpy(self.symmetry.sample(int(n), seed=int(seed)))
        if by_trial:
            g = keras.tree.map_structure(lambda a: a[self.trials], g)
        x = to_numpy(self.symmetry.transform_inputs(g, self.x))
        y = self.symmetry.transform_outputs(g, self.y, self.mask)
        return self.matrices(x, to_numpy(y))

    def matrices(self, x, y):
        """Features `(n, p)`, targets `(n, q)` and joint samples `(n, r)`.

        The targets are in units of y; a `Point` is relative to the first
        `Point` of the inputs that has its shape.
        """
        inputs, outputs, starts = self._leaves(x, y)
        k = len(inputs)
        targets = [a - b for a, b in zip(outputs, starts, strict=True)]
        scaled = [
            a / size
            for a, size in zip(inputs + outputs, self.sizes, strict=True)
        ]
        return [
            np.concatenate([a.reshape(len(a), -1) for a in part], axis=1)
            for part in (scaled[:k], targets, scaled)
        ]

    def _leaves(self, x, y):
        """Leaves of x and y, centred, and what each of the latter starts at."""
        if self.mask is not None:
            x = {key: x[key] for key in x if key != self.symmetry.mask}
        parts = []
        middle = None
        for structure, data in (
            (self.symmetry.inputs, x),
            (self.symmetry.outputs, y),
        ):
            part = []
            for representation, leaf in zip(
                keras.tree.flatten(structure),
                keras.tree.flatten(data),
                strict=True,
            ):
                leaf = self._valid(np.asarray(leaf, "float64"))
                point = representation.moves_origin
                if point and self.center:
                    if middle is None and leaf.ndim == 3:
                        middle = self._middle(leaf)  # (n, 1, d)
                    if middle is not None:
                        at = middle if leaf.ndim == 3 else middle[:, 0]
                        leaf = self._valid(leaf - at)
                part.append((point, leaf))
            parts.append(part)
        points = [leaf for point, leaf in parts[0] if point]
        starts = [
            next((p for p in points if point and p.shape == leaf.shape), 0.0)
            for point, leaf in parts[1]
        ]
        inputs, outputs = ([leaf for _, leaf in part] for part in parts)
        return inputs, outputs, starts

    def _valid(self, leaf):
        """The leaf with zeros at padded nodes."""
        if self.mask is None or leaf.ndim < 3:
            return leaf
        return np.where(np.asarray(self.mask, bool)[:, :, None], leaf, 0.0)

    def _middle(self, leaf):
        if self.mask is None:
            return leaf.mean(axis=1, keepdims=True)
        count = np.asarray(self.mask, bool).sum(axis=1)[:, None, None]
        return leaf.sum(axis=1, keepdims=True) / np.maximum(count, 1)
