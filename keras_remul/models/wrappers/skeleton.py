"""A model that sees a body in units of its size, and its bones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_remul import backend
from keras_remul.models.shapes import check_some_nodes
from keras_remul.models.wrappers.base import Wrapper, has_build
from keras_remul.utils.arguments import checked
from keras_remul.utils.dtypes import at_least_float32
from keras_remul.utils.typing import Array, ArrayLike, Config, Shapes

LENGTHS = "bone_lengths"


@keras.saving.register_keras_serializable(package="keras_remul")
class OnSkeleton(Wrapper):
    """A model that sees a body in units of its size, and its bones.

    `y = s f(x / s, v / s, lengths / s)`,  s = mean length of bones / length

    for bodies of one kind whose sizes differ, such as people: f sees all of
    them at one size. The result has the symmetry of f, since lengths of bones
    are invariant, and that of scaling too.

    With a `length` of each bone

    `y = S^-1 f(S x, S v)`

    f sees all of them with the same bones: S keeps the direction of each bone
    and gives it that length. It is linear in x, as what it changes at the start
    of the motion it changes in velocities and results as well. Then proportions
    are a symmetry too, and f cannot know one body from another by its bones.

    Args:
        model: f, a Keras model from a dict to positions `(B, N, D)`, such as
            `Transformer`. With one `length` it also gets the feature
            `"bone_lengths"` `(B, N, 1)`, of each node the length of the bones
            that begin there.
        bones: pairs of nodes `(K, 2)`, of each bone the node first that it
            belongs to, such as `visualization.CMU_BONES`.
        length: mean length of the bones of a body of the size that f sees; or
            the length of each bone `(K,)`, for bones that form trees.
        graph: whether f also gets the bones as features of pairs, `"edges"`
            `(B, N, N, 2)`: whether there is a bone, and its length / s. For
            models that read pairs, such as a `Transformer` with
            `pair_bias=True`. Defaults to False.
        **kwargs: `name`, `dtype` and `trainable`, for `keras.Model`.

    Call arguments:
        inputs: dict with `"positions"` `(B, N, D)`, optional `"velocities"`
            and `"mask"`, and other inputs of f.
        training: passed on.

    Returns:
        Positions `(B, N, D)`.

    Raises:
        ValueError: `model` is not a Keras model, the bones are no pairs of
            different nodes, a `length` is not positive, there are lengths of
            other bones or of bones that form no trees, or the inputs have no
            such nodes.

    Example:
        >>> model = OnSkeleton(Transformer(), visualization.CMU_BONES, 2.5)
    """

    @checked()
    def __init__(
        self,
        model: keras.Model,
        bones: ArrayLike,
        length: float | Sequence[float] = 1.0,
        graph: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(model, **kwargs)
        pairs = np.asarray(bones)
        if (
            pairs.ndim != 2
            or pairs.shape[1:] != (2,)
            or pairs.dtype.kind not in "iu"
            or not len(pairs)
            or pairs.min() < 0
            or (pairs[:, 0] == pairs[:, 1]).any()
        ):
            raise ValueError(
                "Expected `bones` as pairs (K, 2) of different nodes, integers "
                f"of at least 0. Received: {bones}"
            )
        self.bones = [tuple(pair) for pair in pairs.tolist()]
        lengths = np.asarray(length)
        if (
            lengths.dtype.kind not in "iuf"
            or lengths.shape not in ((), (len(pairs),))
            or not (np.isfinite(lengths).all() and (lengths > 0).all())
        ):
            raise ValueError(
                "Argument `length` must be positive, one number or one for "
                f"each of {len(pairs)} bones. Received: {length}"
            )
        self.one_size = lengths.ndim == 0
        self.length = lengths.astype("float64").tolist()
        self.graph = graph
        self._paths: Any = None if self.one_size else _paths(self.bones)

    def build(self, input_shape: Shapes) -> None:
        shape = self._checked(input_shape)
        nodes = shape[1]
        if self.one_size:
            input_shape = {**input_shape, LENGTHS: (shape[0], nodes, 1)}
        if self.graph:
            input_shape["edges"] = (shape[0], nodes, nodes, 2)
        if not self.model.built and has_build(self.model):
            self.model.build(input_shape)

    def _checked(self, shapes):
        """The shape of the positions."""
        shape = tuple(shapes["positions"])
        check_some_nodes('inputs["positions"]', shape)
        needed = max(map(max, self.bones)) + 1
        # In an export the number of nodes may be a symbol.
        if isinstance(shape[1], int) and needed > shape[1]:
            raise ValueError(
                f"Expected {needed} nodes or more, since there are bones "
                f"between these. Received: positions of shape {shape}"
            )
        return shape

    def call(
        self, inputs: dict[str, Array], training: bool | None = None
    ) -> Array:
        seen, size, factors = self._read(inputs)
        y = self.model(seen, training=training)
        masks = self.read_masks(y)
        if factors is not None:
            factors = 1.0 / factors
        dtype = at_least_float32(self.variable_dtype)
        y = self._resized(ops.cast(y, dtype), size, factors)
        return self.with_masks(y, masks)

    def seen(
        self, x: dict[str, np.ndarray], y: np.ndarray
    ) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """The inputs that f sees, and the outputs that it should have.

        Args:
            x, y: inputs and outputs of the model, arrays.

        Returns:
            (x, y) in the same structure, as NumPy arrays. Use them to fit f.
        """
        x = keras.tree.map_structure(ops.convert_to_tensor, x)
        inputs, size, factors = self._read(x)
        y = self._resized(
            ops.cast(y, inputs["positions"].dtype), 1.0 / size, factors
        )
        return keras.tree.map_structure(ops.convert_to_numpy, (inputs, y))

    def _read(self, inputs):
        """What f sees, and size and factors to bring its output back."""
        self._checked({"positions": inputs["positions"].shape})
        dtype = at_least_float32(self.variable_dtype)
        x = ops.cast(inputs["positions"], dtype)
        lengths, there = self._lengths(x, inputs.get("mask"))
        total = ops.sum(lengths, axis=1)
        count = ops.maximum(ops.sum(there, axis=1), 1.0)
        size = total / (count * float(np.mean(self.length)))
        size = ops.where(size > 0, size, 1.0)[:, None]  # (B, 1)
        lengths = lengths / size
        # From each bone as it is, at one size, to the one that f sees.
        factors = None if self.one_size else self._factors(lengths)
        seen = {**inputs, "positions": self._resized(x, 1.0 / size, factors)}
        if "velocities" in inputs:
            v = ops.cast(inputs["velocities"], dtype)
            seen["velocities"] = self._resized(v, 1.0 / size, factors)
        begins, ends = self._ends(x)
        if self.one_size:
            seen[LENGTHS] = ops.swapaxes(
                backend.matmul(lengths[:, None], begins), 1, 2
            )
        else:
            lengths = lengths * factors
        if self.graph:
            pairs = [
                _symmetric(part, begins, ends) for part in (there, lengths)
            ]
            seen["edges"] = ops.stack(pairs, axis=-1)
        return seen, size, factors

    def _factors(self, lengths):
        """What each bone is stretched by, `(B, K)`; 1 where there is none."""
        long = lengths > 0
        wanted = ops.convert_to_tensor(self.length, dtype=lengths.dtype)
        return ops.where(long, wanted / ops.where(long, lengths, 1.0), 1.0)

    def _resized(self, x, size, factors):
        """x `(B, N, D)` at another size, with its bones stretched."""
        x = x * size[:, :, None]
        if factors is None:
            return x
        stretched = factors[:, :, None] != 1.0
        change = (factors[:, :, None] - 1.0) * self._along(x)
        change = ops.where(stretched, change, 0.0)  # padding may be NaN
        nodes = ops.arange(ops.shape(x)[1], dtype="int32")[:, None]
        there = ops.equal(nodes, np.arange(len(self._paths), dtype="int32"))
        paths = backend.matmul(
            ops.cast(there, x.dtype)[None],
            ops.convert_to_tensor(self._paths[None], dtype=x.dtype),
        )
        return x + backend.matmul(paths, change)

    def _along(self, x):
        """The bones as vectors `(B, K, D)`."""
        first, second = (list(ends) for ends in zip(*self.bones, strict=True))
        return ops.take(x, first, axis=1) - ops.take(x, second, axis=1)

    def _lengths(self, x, mask):
        """Lengths of the bones, and whether they are there, `(B, K)`."""
        square = ops.sum(ops.square(self._along(x)), axis=-1)
        there = ops.ones_like(square)
        if mask is not None:
            first, second = map(list, zip(*self.bones, strict=True))
            mask = ops.cast(mask, "bool")
            both = ops.take(mask, first, axis=1) & ops.take(
                mask, second, axis=1
            )
            square = ops.where(both, square, 0.0)
            there = ops.cast(both, square.dtype)
        # The root has no slope at 0.
        long = square > 0
        root = ops.sqrt(ops.where(long, square, 1.0))
        return ops.where(long, root, 0.0), there

    def _ends(self, x):
        """The nodes at both ends of each bone, one-hot, `(1, K, N)`."""
        nodes = ops.arange(ops.shape(x)[1], dtype="int32")
        return [
            ops.cast(
                ops.equal(ops.convert_to_tensor(end)[None, :, None], nodes),
                x.dtype,
            )
            for end in zip(*self.bones, strict=True)
        ]

    def compute_output_spec(
        self, inputs: dict[str, Array], training: bool | None = None
    ) -> keras.KerasTensor:
        shape = inputs["positions"].shape
        dtype = at_least_float32(self.variable_dtype)
        return keras.KerasTensor(shape, dtype=dtype)

    def get_config(self) -> Config:
        return {
            **super().get_config(),
            "bones": [list(pair) for pair in self.bones],
            "length": self.length,
            "graph": self.graph,
        }


def _symmetric(of_bones, begins, ends):
    """Numbers of bones `(B, K)` as numbers of pairs of nodes `(B, N, N)`."""
    part = backend.matmul(
        ops.swapaxes(begins, 1, 2), of_bones[:, :, None] * ends
    )
    return part + ops.swapaxes(part, 1, 2)


def _paths(bones):
    """Which bones lead from the root to each node, `(N, K)` of 0 and 1."""
    nodes, count = max(map(max, bones)) + 1, len(bones)
    parents, paths = np.zeros((nodes, nodes)), np.zeros((nodes, count))
    for number, (node, parent) in enumerate(bones):
        parents[node, parent], paths[node, number] = 1.0, 1.0
    own = paths
    for _ in range(nodes):
        paths = own + parents @ paths
    if paths.max() > 1.0 or (own.sum(axis=1) > 1.0).any():
        raise ValueError(
            "Expected `bones` that form trees where each has its own length, "
            "each node first in at most one bone, and no rings. Received: "
            f"{bones}"
        )
    return paths
