"""Frames of points: their center and principal axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import keras
from keras import ops

from keras_remul import backend, groups
from keras_remul.models.shapes import check_some_nodes
from keras_remul.models.wrappers.moved import MovedModel
from keras_remul.symmetry import Symmetry
from keras_remul.utils import linalg
from keras_remul.utils.typing import Array, Config, Elements, Tree

if TYPE_CHECKING:
    import numpy as np


# Those that hold all rotations of the space, so that principal axes fit.
AROUND = (groups.SO2, groups.O2)
GROUPS = (
    *AROUND,
    groups.SE2,
    groups.E2,
    groups.SO3,
    groups.O3,
    groups.SE3,
    groups.E3,
)
# Moments that differ by less, relative to the largest, count as equal: there
# the axes, in single precision, are uncertain by more than 1e-4.
GAP = 1e-3


class FramedModel(MovedModel):
    """Base: a model seen from frames of the points of its input.

    Args:
        model: any Keras model with the inputs and outputs of `symmetry`.
        symmetry: a `Symmetry`.
        points: key of the positions `(B, N, d)` among the inputs, or their
            index in a list; a list of these, the outermost first, where the
            inputs are nested; None where the inputs are the positions.
        **kwargs: `name`, `dtype` and `trainable`, for `keras.Model`.

    Raises:
        ValueError: `model` or `symmetry` is of another kind.
    """

    def __init__(
        self,
        model: keras.Model,
        symmetry: Symmetry,
        points: str | int | Sequence[str | int] | None = "positions",
        **kwargs: Any,
    ) -> None:
        super().__init__(model, symmetry, **kwargs)
        nested = isinstance(points, (list, tuple))
        self.points = list(points) if nested else points

    def points_of(self, x: Tree) -> Array:
        """The positions among the inputs, or their shape among the shapes.

        Args:
            x: inputs of the model, or their shapes in the same structure.
        """
        if self.points is None:
            return x
        path = self.points if isinstance(self.points, list) else [self.points]
        for key in path:
            x = x[key]
        return x

    def mask_of(self, inputs: Tree) -> Array | None:
        mask = super().mask_of(inputs)
        if mask is None:
            return self.read_masks(self.points_of(inputs))[0]
        return mask

    def centered(
        self, x: Tree, mask: Array | None = None
    ) -> tuple[Array, Array]:
        """The points relative to their center, and the center.

        Args:
            x: inputs of the model.
            mask: `(B, N)`, true where a node is valid, or None.

        Returns:
            The points less their center `(B, N, d)`, zero where padded, and the
            center `(B, d)`, in the units of the data.

        Raises:
            ValueError: there are no nodes.
        """
        p = ops.cast(self.points_of(x), keras.config.floatx())
        check_some_nodes("The points", p.shape)
        if mask is None:
            center = ops.mean(p, axis=1)  # (B, d)
            return p - center[:, None], center
        valid = ops.cast(mask, "bool")[:, :, None]
        count = ops.sum(ops.cast(valid, p.dtype), axis=1)
        center = ops.sum(ops.where(valid, p, 0.0), axis=1)
        center = center / ops.maximum(count, 1.0)
        return ops.where(valid, p - center[:, None], 0.0), center

    def determined(self, x: Tree) -> np.ndarray:
        """Whether the points determine the frames, beyond rounding.

        Where it is False the output and its derivatives are finite, but the
        output is not equivariant. Check this before you rely on it.

        Args:
            x: inputs, arrays.

        Returns:
            Booleans `(B,)`, an array of NumPy.
        """
        raise NotImplementedError

    def get_config(self) -> Config:
        points = self.points
        points = list(points) if isinstance(points, list) else points
        return {**super().get_config(), "points": points}


class PrincipalAxes(FramedModel):
    """Base: frames are the principal axes of the points.

    Where the group has translations, frames also hold the center.
    """

    @staticmethod
    def check_symmetry(symmetry: Symmetry) -> None:
        group = getattr(symmetry, "group", None)
        about_axis = isinstance(group, AROUND) and group.axis is not None
        if not isinstance(symmetry, Symmetry) or not (
            isinstance(group, GROUPS) and not about_axis
        ):
            raise ValueError(
                "Argument `symmetry` must be a Symmetry under all rotations "
                "of the space: SO3, O3, SE3, E3, or SO2(axis=None), O2(), SE2, "
                f"E2 in the plane. Received: {symmetry!r}"
            )

    def principal_axes(
        self, x: Tree, mask: Array | None = None
    ) -> tuple[Array, Array, Array, Array]:
        """Principal moments and axes of the points.

        Args:
            x: inputs of the model.
            mask: `(B, N)`, true where a node is valid, or None.

        Returns:
            Moments `(B, d)`, the smallest first; axes `(B, d, d)`, columns; the
            points along these `(B, N, d)`; their center `(B, d)`. Moments and
            points are in units of the largest distance from the center (its
            square for the moments).
        """
        p, center = self.centered(x, mask)
        size = ops.sqrt(ops.max(ops.sum(ops.square(p), axis=-1), axis=1))
        size = ops.stop_gradient(ops.where(size > 0, size, 1.0))
        p = p / size[:, None, None]
        moments = backend.matmul(ops.swapaxes(p, 1, 2), p)
        moments, axes = linalg.eigh(moments)
        return moments, axes, backend.matmul(p, axes), center

    def determined(self, x: Tree) -> np.ndarray:
        x = keras.tree.map_structure(ops.convert_to_tensor, x)
        moments, *_ = self.principal_axes(x, self.mask_of(x))
        gap = ops.min(moments[:, 1:] - moments[:, :-1], axis=1)
        return ops.convert_to_numpy(gap > GAP * moments[:, -1])

    def assembled(self, axes: Array, signs: Array, center: Array) -> Elements:
        """The group elements of axes with signs.

        Args:
            axes: principal axes `(B, d, d)`, columns.
            signs: +1 or -1 for each axis `(B, d)`.
            center: center of the points `(B, d)`, used where the group has
                translations.

        Returns:
            B elements of the group.
        """
        frame = axes * ops.cast(signs, axes.dtype)[:, None, :]
        group: Any = self.symmetry.group  # that `check_symmetry` has seen
        if group.has_translations:
            return group.assemble(frame, center)
        return frame
