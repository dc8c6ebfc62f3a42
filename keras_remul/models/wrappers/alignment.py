"""Alignment: a model sees its input rotated onto a reference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_remul import backend, groups
from keras_remul.graphs import in_order
from keras_remul.models.wrappers.axes import GAP, FramedModel
from keras_remul.symmetry import Symmetry
from keras_remul.utils.arguments import checked
from keras_remul.utils.typing import Array, Config, Elements, Shapes, Tree

GROUPS = (groups.SO2, groups.O2, groups.SO3, groups.O3)


@keras.saving.register_keras_serializable(package="keras_remul")
class Alignment(FramedModel):
    """A model that sees its input rotated onto a reference.

    `rho(R)^-1 f(phi(R) x)`,  R the rotation with the least
    `sum_n |R (x_n - mean(x)) - reference_n|^2`

    For nodes that are always the same ones: joints of a body, atoms of one
    molecule. Exactly equivariant for any f if the best R is unique. For a body
    with a nearly constant shape it is, unlike principal axes. It is not unique
    for nodes on a line (two nodes always are), since rotations about that line
    cannot be seen. `adapt` refuses such a reference, `determined` detects such
    inputs, and the output for them is finite. The group may be smaller than
    that of all rotations: with rotations about the vertical, f still sees which
    way is up. If the group has reflections, the result is the mean over x and
    its reflection, each rotated onto the reference.

    The reference is a weight, which `adapt` sets. Before, it is zero: R is 1
    and the model is not equivariant. If nodes are masked, R is the best
    rotation for the others.

    Args:
        model: any Keras model with the inputs and outputs of `symmetry`.
        symmetry: a `Symmetry` under SO2, O2, SO3 or O3, about any axis.
        points: key of the positions `(B, N, d)` among the inputs, or their
            index in a list; a list of these, the outermost first, where the
            inputs are nested; None where the inputs are the positions.
        identity: key of a one-hot feature `(B, N, N)` that identifies the
            nodes, if their order may change. It does under reflections if the
            feature is a `representations.MirrorPermutation`. Defaults to None:
            the order is fixed.
        **kwargs: `name`, `dtype` and `trainable`, for `keras.Model`.

    Raises:
        ValueError: `model` or `symmetry` is of another kind, or the number of
            nodes differs from that of the reference.

    Example:
        >>> symmetry = datasets.symmetry("cmu_mocap")    # about the vertical
        >>> model = Alignment(Transformer(), symmetry, identity="joints")
        >>> model.adapt(x)

    Reference:
        Kabsch, "A solution for the best rotation to relate two sets of
        vectors", Acta Crystallographica A32 (1976) 922.
    """

    @checked()
    def __init__(
        self,
        model: keras.Model,
        symmetry: Symmetry,
        points: str | int | Sequence[str | int] | None = "positions",
        identity: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(model, symmetry, points, **kwargs)
        self.identity = identity

    @staticmethod
    def check_symmetry(symmetry: Symmetry) -> None:
        group = getattr(symmetry, "group", None)
        if not isinstance(symmetry, Symmetry) or not isinstance(group, GROUPS):
            raise ValueError(
                "Argument `symmetry` must be a Symmetry under SO2, O2, SO3 or "
                f"O3. Received: {symmetry!r}"
            )

    @property
    def _group(self) -> Any:
        """One of `GROUPS`, as `check_symmetry` has seen."""
        return self.symmetry.group

    def build(self, input_shape: Shapes) -> None:
        super().build(input_shape)
        shape = self.points_of(input_shape)
        if shape[1] is None:
            raise ValueError(
                "Alignment needs a fixed number of nodes. Received: points of "
                f"shape {tuple(shape)}"
            )
        self.reference = self.add_weight(
            shape=shape[1:],
            initializer="zeros",
            trainable=False,
            name="reference",
        )

    def frames(
        self, x: Tree, mask: Array | None = None
    ) -> tuple[list[Elements], list[Array] | None]:
        group = self._group
        result = []
        for mirror, p in self._seen(x, mask):
            g = group.rotation_near(self._onto_reference(p))
            if mirror is not None:
                g = group.compose(g, ops.cast(mirror, g.dtype))
            result.append(group.inverse(g))
        return result, None

    def _seen(self, x, mask=None):
        """For each frame: a transformation of x, and the resulting points."""
        for mirror in self._mirrors(x):
            seen = x
            if mirror is not None:
                seen = self.symmetry.transform_inputs(mirror, x)
            yield mirror, self._in_order(seen, mask)

    def _onto_reference(self, p):
        """sum_n reference_n p_n^T, for points p `(B, N, d)`."""
        if p.shape[1] not in (None, self.reference.shape[0]):
            raise ValueError(
                f"The reference has {self.reference.shape[0]} nodes. Received: "
                f"{p.shape[1]} nodes"
            )
        reference = ops.transpose(ops.cast(self.reference, p.dtype))
        return backend.matmul(reference[None], p)

    def determined(self, x: Tree) -> np.ndarray:
        x = keras.tree.map_structure(ops.convert_to_tensor, x)
        found = [
            self._is_determined(p) for _, p in self._seen(x, self.mask_of(x))
        ]
        return np.logical_and.reduce(found)

    def _is_determined(self, p):
        """Whether each small rotation from the best one is worse, `(B,)`."""
        m = self._onto_reference(p)
        r = self._group.rotation_near(m)
        m, r, p, reference = (
            ops.convert_to_numpy(a).astype("float64")
            for a in (m, r, p, self.reference)
        )
        # tr(exp(sum_a t_a G_a)^T R^T m) = const - 1/2 sum_ab H_ab t_a t_b
        turns = np.stack(list(self.symmetry.group.generators().values()))
        products = np.einsum("aij,bjk->abik", turns, turns)
        products = products + np.swapaxes(products, 0, 1)
        seen = np.swapaxes(r, 1, 2) @ m
        h = -0.5 * np.einsum("abik,sik->sab", products, seen)
        size = np.linalg.norm(p, axis=2) @ np.linalg.norm(reference, axis=1)
        return np.linalg.eigvalsh(h)[:, 0] > GAP * size

    def _mirrors(self, x):
        """The transformation of x in each frame: none, or a reflection."""
        group = self._group
        if group.proper:
            return [None]
        count = ops.shape(keras.tree.flatten(x)[0])[0]
        mirror = ops.convert_to_tensor(
            group.reflection(), keras.config.floatx()
        )
        return [None, ops.tile(mirror[None], (count, 1, 1))]

    def _in_order(self, x, mask=None):
        p, _ = self.centered(x, mask)
        if self.identity is None:
            return p
        return in_order(p, ops.cast(x[self.identity], p.dtype))

    def canonical(self, x: Tree, y: Tree) -> tuple[Tree, Tree]:
        """The inputs that f sees, and the outputs that it should have.

        Args:
            x, y: inputs and outputs of the model, arrays.

        Returns:
            (x, y) in the same structure, as NumPy arrays; twice as many samples
            if the group has reflections. Use them to fit f.
        """
        symmetry, mask = self.symmetry, self.symmetry.get_mask(x)
        y = keras.tree.map_structure(ops.convert_to_tensor, y)
        return _joined(
            (moved, symmetry.transform_outputs(g, y, mask))
            for g, moved in self._turned(x)
        )

    def _turned(self, x):
        """For each frame: elements, and x transformed by them."""
        x = keras.tree.map_structure(ops.convert_to_tensor, x)
        for frame in self.frames(x, self.mask_of(x))[0]:
            g = self.symmetry.group.inverse(frame)
            yield g, self.symmetry.transform_inputs(g, x)

    def adapt(self, x: Tree, iterations: int = 10) -> None:
        """Sets the reference to the mean of samples, each rotated onto it.

        Args:
            x: inputs without padding, arrays.
            iterations: number of times that the samples are rotated onto the
                last mean, starting with the first sample. Defaults to 10.

        Raises:
            ValueError: x has a mask, or the mean does not determine rotations.
        """
        if self.symmetry.get_mask(x) is not None:
            raise ValueError("`adapt` needs samples without padding: no mask.")
        if not self.built:
            self(keras.tree.map_structure(lambda a: a[:1], x))
        first = keras.tree.map_structure(
            lambda a: ops.convert_to_tensor(a[:1]), x
        )
        self.reference.assign(self._in_order(first)[0])
        for _ in range(iterations):
            turned = _joined(moved for _, moved in self._turned(x))
            self.reference.assign(ops.mean(self._in_order(turned), axis=0))
        reference = ops.convert_to_tensor(self.reference)
        if not self._is_determined(reference[None]).all():
            self.reference.assign(ops.zeros_like(reference))
            raise ValueError(
                f"The mean of the {reference.shape[0]} nodes does not show how "
                f"samples are rotated in {self.symmetry.group!r}: the nodes "
                "lie on a line, or on the axis. Use a group without rotations "
                "about it, or `symmetrize`."
            )

    def get_config(self) -> Config:
        return {**super().get_config(), "identity": self.identity}


def _joined(parts):
    """One batch of several, in NumPy."""
    return keras.tree.map_structure(
        lambda *arrays: ops.convert_to_numpy(ops.concatenate(arrays)), *parts
    )
