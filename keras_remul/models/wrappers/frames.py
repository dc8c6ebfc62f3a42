"""Wrappers that make any model exactly equivariant by means of frames."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import keras
from keras import ops

from keras_remul.models.wrappers.axes import PrincipalAxes
from keras_remul.models.wrappers.moved import for_each_sample
from keras_remul.symmetry import Symmetry
from keras_remul.utils import linalg
from keras_remul.utils.typing import Array, Elements, Tree

if TYPE_CHECKING:
    import numpy as np


# A third moment counts as zero below this times the second moment times the
# largest distance from the center.
ASYMMETRY = 1e-4
MAX_ELEMENTS = 1024


def _handedness(axes, signs):
    """+1 or -1 `(B, 1)`: the determinant of the axes with these signs."""
    turn = ops.sign(ops.stop_gradient(linalg.determinant(axes)))
    return turn[:, None] * ops.prod(signs, axis=1, keepdims=True)


@keras.saving.register_keras_serializable(package="keras_remul")
class FrameAveraging(PrincipalAxes):
    """The mean of a model over all frames of principal axes.

    `(1/|F(x)|) sum_{g in F(x)} rho(g) f(phi(g)^-1 x)`

    F(x) holds each choice of signs: 8 frames for O(3), 4 for SO(3), 4 and 2 in
    the plane. Equivariant for any weights, at the cost of that many forward
    passes, also for points in a plane. The result is continuous in x if f is,
    except where two principal moments cross.

    If two principal moments are equal, the axes are not determined: points on a
    line, a single atom, symmetric tops, tetrahedra. The model is then called
    with arbitrary axes, and the output is not equivariant, but it and its
    derivatives are finite. `determined` detects these inputs; close to them the
    rounding error grows. Derivatives with respect to the points include those
    of the frames.

    For a finite group F(x) is the whole group for each x: the mean is exact for
    each input.

    Args:
        model: any Keras model with the inputs and outputs of `symmetry`.
        symmetry: a `Symmetry` under SO3, O3, SE3, E3, or under SO2(axis=None),
            O2, SE2, E2 in the plane, or under a finite group of no more than
            1024 elements.
        points: key of the positions `(B, N, d)` among the inputs, or their
            index in a list; a list of these, the outermost first, where the
            inputs are nested; None where the inputs are the positions. Not used
            for finite groups.
        **kwargs: `name`, `dtype` and `trainable`, for `keras.Model`.

    Example:
        >>> symmetry = Symmetry(E3(), {"positions": "point"}, "point")
        >>> model = FrameAveraging(Transformer(), symmetry)

    Reference:
        Puny et al., "Frame averaging for invariant and equivariant network
        design", arXiv 2110.03336.
    """

    @staticmethod
    def check_symmetry(symmetry: Symmetry) -> None:
        count = _num_elements(symmetry)
        if count is None:
            PrincipalAxes.check_symmetry(symmetry)
        elif count > MAX_ELEMENTS:
            raise ValueError(
                f"Argument `symmetry` is under a group of {count} elements, "
                f"more than {MAX_ELEMENTS} forward passes. Use `symmetrize`, "
                f"which draws from them. Received: {symmetry!r}"
            )

    def mask_of(self, inputs: Tree) -> Array | None:
        if _num_elements(self.symmetry) is not None:
            return self.symmetry.get_mask(inputs)
        return super().mask_of(inputs)

    def frames(
        self, x: Tree, mask: Array | None = None
    ) -> tuple[list[Elements], list[Array] | None]:
        if _num_elements(self.symmetry) is not None:
            return for_each_sample(self.symmetry.group.elements(), x), None
        _, axes, p, center = self.principal_axes(x, mask)
        d = p.shape[-1]
        proper = self.symmetry.group.proper
        result = []
        for choice in itertools.product((1.0, -1.0), repeat=d - proper):
            signs = ops.ones_like(p[:, 0]) * ops.convert_to_tensor(
                [*choice, *[1.0] * (d - len(choice))], p.dtype
            )
            if proper:
                last = signs[:, -1:] * _handedness(axes, signs)
                signs = ops.concatenate([signs[:, :-1], last], axis=1)
            result.append(self.assembled(axes, signs, center))
        return result, None

    def determined(self, x: Tree) -> np.ndarray:
        if _num_elements(self.symmetry) is None:
            return super().determined(x)
        return ops.convert_to_numpy(
            ops.ones(keras.tree.flatten(x)[0].shape[:1], "bool")
        )


@keras.saving.register_keras_serializable(package="keras_remul")
class Canonicalization(PrincipalAxes):
    """A model that sees its input in one frame of principal axes.

    `rho(g) f(phi(g)^-1 x)`

    The direction of each axis is that in which the third moment of the points
    along it is positive; if the group has no reflections, the last axis follows
    from the others. If a third moment is zero to rounding, as along the normal
    of points in a plane or across a mirror plane, the points do not determine
    the direction. If it follows from the other axes, that direction is used;
    otherwise the output is the mean over both directions, for these inputs
    only, as in `FrameAveraging`. A batch with such an input takes 8 (for SO(3)
    4) forward passes, others one.

    Unlike that of `FrameAveraging`, the output jumps where a third moment
    changes its sign, as it may for nearly symmetric inputs. If principal
    moments are equal, the output is not equivariant, as there; see
    `determined`.

    Args:
        model: any Keras model with the inputs and outputs of `symmetry`.
        symmetry: a `Symmetry` under SO3, O3, SE3, E3, or under SO2(axis=None),
            O2, SE2, E2 in the plane.
        points: key of the positions `(B, N, d)` among the inputs, or their
            index in a list; a list of these, the outermost first, where the
            inputs are nested; None where the inputs are the positions.
        **kwargs: `name`, `dtype` and `trainable`, for `keras.Model`.

    Example:
        >>> symmetry = Symmetry(E3(), {"positions": "point"}, "point")
        >>> model = Canonicalization(Transformer(), symmetry)

    Reference:
        Kaba et al., "Equivariance with learned canonicalization functions",
        arXiv 2211.06489; here the function is not learned.
    """

    def frames(
        self, x: Tree, mask: Array | None = None
    ) -> tuple[list[Elements], list[Array] | None]:
        _, axes, p, center = self.principal_axes(x, mask)
        p, d = ops.stop_gradient(p), p.shape[-1]
        cubes = ops.sum(p**3, axis=1)  # (B, d)
        open_ = ops.abs(cubes) <= ASYMMETRY * ops.sum(ops.square(p), axis=1)
        open_ = ops.cast(open_, p.dtype)  # whose sign is anyone's choice
        signs = ops.where(cubes < 0, -ops.ones_like(cubes), 1.0)
        if self.symmetry.group.proper:
            # The first open axis follows from the others, else the last one.
            none = ops.cast(ops.max(open_, 1, keepdims=True) == 0, p.dtype)
            last = none * ops.one_hot(d - 1, d, dtype=p.dtype)
            follows = ops.one_hot(ops.argmax(open_ + last, 1), d, dtype=p.dtype)
            left = 0.5 * (1.0 - _handedness(axes, signs))  # 1 if left-handed
            signs = signs * (1.0 - 2.0 * left * follows)
        frames, weights = [], []
        for flips in itertools.product((0.0, 1.0), repeat=d):
            if self.symmetry.group.proper and sum(flips) % 2:
                continue
            flips = ops.convert_to_tensor([flips], p.dtype)
            frame = self.assembled(axes, signs * (1.0 - 2.0 * flips), center)
            frames.append(frame)
            # 1 where no sign but open ones is flipped.
            weights.append(ops.prod(1.0 - flips * (1.0 - open_), axis=1))
        total = sum(weights)
        return frames, [weight / total for weight in weights]


def _num_elements(symmetry):
    """The number of elements of a finite group, or None."""
    return getattr(getattr(symmetry, "group", None), "num_elements", None)
