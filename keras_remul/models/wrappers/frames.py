"""Wrappers that make any model exactly equivariant by means of frames."""

import itertools

import keras
from keras import ops

from keras_remul import backend, groups
from keras_remul.models.wrappers.base import Wrapper
from keras_remul.symmetry import Symmetry
from keras_remul.utils import linalg

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
# A third moment counts as zero below this times the second moment times the
# largest distance from the center.
ASYMMETRY = 1e-4
MAX_ELEMENTS = 1024


class MovedModel(Wrapper):
    """Base: the mean of a model over elements g_m that may depend on the input.

    `sum_m w_m rho(g_m) f(phi(g_m)^-1 x)`,  g_1, ..., g_M from x

    is equivariant where g x has the elements g g_m and the same weights. The
    copies go through the model as one batch. A subclass gives `frames`.

    Args:
        model: any Keras model with the inputs and outputs of `symmetry`.
        symmetry: a `Symmetry`.
        **kwargs: `name`, `dtype` and `trainable`, for `keras.Model`.

    Raises:
        ValueError: `model` or `symmetry` is of another kind.
    """

    objects = ("symmetry",)

    def __init__(self, model, symmetry, **kwargs):
        super().__init__(model, **kwargs)
        self.check_symmetry(symmetry)
        self.symmetry = symmetry

    @staticmethod
    def check_symmetry(symmetry):
        """Raises ValueError where there are no frames of this `symmetry`."""
        if not isinstance(symmetry, Symmetry):
            raise ValueError(
                "Argument `symmetry` must be a Symmetry. Received: "
                f"{symmetry!r}"
            )

    def frames(self, x, mask=None):
        """The elements g_m for inputs x.

        Args:
            x: inputs.
            mask: `(B, N)`, true where a node is valid, or None.

        Returns:
            A list of batches of elements, and their weights: a list of arrays
            `(B,)` of sum 1, or None for equal ones. With weights, the first
            element is the one that is taken where the others have none.
        """
        raise NotImplementedError

    def mask_of(self, inputs):
        """The mask `(B, N)` among the inputs, or None."""
        return self.symmetry.get_mask(inputs)

    def call(self, inputs, training=None):
        self.build_parts(inputs)
        frames, weights = self.frames(inputs, self.mask_of(inputs))
        found = {}

        def mean(frames, weights):
            y, masks = self._mean(inputs, frames, weights, training)
            found.update(y=y, masks=masks)
            return [
                *keras.tree.flatten(y),
                *(mask for mask in masks if mask is not None),
            ]

        if weights is None:
            result = mean(frames, None)
        else:
            several = [ops.any(weight > 0) for weight in weights[1:]]
            result = backend.cond(
                ops.any(ops.stack(several)),
                lambda: mean(frames, weights),
                lambda: mean(frames[:1], None),
                self.model.variables,
            )
        # What a branch returns has lost its structure and its masks.
        leaves = result[: len(found["masks"])]
        masks = iter(result[len(leaves) :])
        return self.with_masks(
            keras.tree.pack_sequence_as(found["y"], leaves),
            [None if m is None else next(masks) for m in found["masks"]],
        )

    def _mean(self, inputs, frames, weights, training):
        """The mean over the frames, and a mask or None for each leaf."""
        symmetry, count = self.symmetry, len(frames)

        def repeat(a):
            return ops.concatenate([a] * count, axis=0)

        def split(a):
            return ops.reshape(a, (count, -1, *ops.shape(a)[1:]))

        def average(a):
            if weights is None:
                return ops.mean(split(a), axis=0)
            parts = split(a)
            return sum(
                parts[m]
                * ops.reshape(
                    ops.cast(weights[m], a.dtype),
                    (-1,) + (1,) * (len(a.shape) - 1),
                )
                for m in range(count)
            )

        g = keras.tree.map_structure(  # (M B, ...)
            lambda *parts: ops.concatenate(parts, axis=0), *frames
        )
        moved = symmetry.transform_inputs(
            symmetry.group.inverse(g), keras.tree.map_structure(repeat, inputs)
        )
        moved = self.with_masks(
            moved,
            [None if m is None else repeat(m) for m in self.read_masks(inputs)],
        )
        y = self.model(moved, training=training)
        masks = [
            None if m is None else ops.all(split(m), axis=0)
            for m in self.read_masks(y)
        ]
        mask = symmetry.get_mask(inputs)
        many = None if mask is None else repeat(mask)
        y = symmetry.transform_outputs(g, y, many)
        if mask is not None:
            covered = keras.tree.flatten(
                keras.tree.map_structure(
                    symmetry.is_per_node, symmetry.outputs, y
                )
            )
            masks = [
                mask if m is None and per_node else m
                for m, per_node in zip(masks, covered, strict=True)
            ]
        return keras.tree.map_structure(average, y), masks


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

    def __init__(self, model, symmetry, points="positions", **kwargs):
        super().__init__(model, symmetry, **kwargs)
        nested = isinstance(points, (list, tuple))
        self.points = list(points) if nested else points

    def points_of(self, x):
        """The positions among the inputs, or their shape among the shapes."""
        if self.points is None:
            return x
        path = self.points if isinstance(self.points, list) else [self.points]
        for key in path:
            x = x[key]
        return x

    def mask_of(self, inputs):
        mask = super().mask_of(inputs)
        if mask is None:
            return self.read_masks(self.points_of(inputs))[0]
        return mask

    def centered(self, x, mask=None):
        """The points less their center, zero for padding, and the center."""
        p = ops.cast(self.points_of(x), keras.config.floatx())
        if p.shape[1] == 0:
            raise ValueError(
                f"The points hold no nodes, their shape is {tuple(p.shape)}. "
                "Leave out samples without any, or pad them and give a mask."
            )
        if mask is None:
            center = ops.mean(p, axis=1)  # (B, d)
            return p - center[:, None], center
        valid = ops.cast(mask, "bool")[:, :, None]
        count = ops.sum(ops.cast(valid, p.dtype), axis=1)
        center = ops.sum(ops.where(valid, p, 0.0), axis=1)
        center = center / ops.maximum(count, 1.0)
        return ops.where(valid, p - center[:, None], 0.0), center

    def determined(self, x):
        """Whether there is one way, but for rounding, to place the frames.

        Where it is False the output is finite, and so are its derivatives, but
        it is not equivariant: ask before you rely on it.

        Args:
            x: inputs, arrays.

        Returns:
            Booleans `(B,)`, an array of NumPy.
        """
        raise NotImplementedError

    def get_config(self):
        nested = isinstance(self.points, list)
        points = list(self.points) if nested else self.points
        return {**super().get_config(), "points": points}


class PrincipalAxes(FramedModel):
    """Base: frames are the principal axes of the points.

    Together with their center, where the group has translations.
    """

    @staticmethod
    def check_symmetry(symmetry):
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

    def principal_axes(self, x, mask=None):
        """Moments and axes of the points, in units of their size.

        Returns:
            Moments `(B, d)`, the smallest first; axes `(B, d, d)`, columns; the
            points along these `(B, N, d)`; their center `(B, d)`.
        """
        p, center = self.centered(x, mask)
        size = ops.sqrt(ops.max(ops.sum(ops.square(p), axis=-1), axis=1))
        size = ops.stop_gradient(ops.where(size > 0, size, 1.0))
        p = p / size[:, None, None]
        moments = backend.matmul(ops.swapaxes(p, 1, 2), p)
        moments, axes = linalg.eigh(moments)
        return moments, axes, backend.matmul(p, axes), center

    def determined(self, x):
        x = keras.tree.map_structure(ops.convert_to_tensor, x)
        moments, *_ = self.principal_axes(x, self.mask_of(x))
        gap = ops.min(moments[:, 1:] - moments[:, :-1], axis=1)
        return ops.convert_to_numpy(gap > GAP * moments[:, -1])

    def assembled(self, axes, signs, center):
        """The elements of axes `(B, d, d)` with signs `(B, d)`."""
        frame = axes * ops.cast(signs, axes.dtype)[:, None, :]
        if self.symmetry.group.has_translations:
            return self.symmetry.group.assemble(frame, center)
        return frame


def _handedness(axes, signs):
    """+1 or -1 `(B, 1)`: the determinant of the axes with these signs."""
    turn = ops.sign(ops.stop_gradient(linalg.determinant(axes)))
    return turn[:, None] * ops.prod(signs, axis=1, keepdims=True)


@keras.saving.register_keras_serializable(package="keras_remul")
class FrameAveraging(PrincipalAxes):
    """The mean of a model over all frames of principal axes.

    `(1/|F(x)|) sum_{g in F(x)} rho(g) f(phi(g)^-1 x)`

    F(x) holds each choice of signs: 8 frames for O(3), 4 for SO(3), 4 and 2 in
    the plane. Equivariant for any weights at that many forward passes, also for
    points that lie in a plane. The result is as continuous in x as f, but where
    two principal moments cross.

    Where two principal moments are equal the axes are not determined: points on
    a line, a single atom, symmetric tops, tetrahedra. Nothing is exact there:
    the model is called in arbitrary ones of the axes, and the output is not
    equivariant, though it and its derivatives are finite. `determined` tells
    these inputs; near them the rounding error grows as the moments come
    together. Derivatives with respect to the points go through the frames.

    Of a finite group F(x) is the whole group, whatever x: the mean is exact for
    each input.

    Args:
        model: any Keras model with the inputs and outputs of `symmetry`.
        symmetry: a `Symmetry` under SO3, O3, SE3, E3, or under SO2(axis=None),
            O2, SE2, E2 in the plane, or under a finite group of no more than
            1024 elements.
        points: key of the positions `(B, N, d)` among the inputs, or their
            index in a list; a list of these, the outermost first, where the
            inputs are nested; None where the inputs are the positions. Of no
            use to finite groups.
        **kwargs: `name`, `dtype` and `trainable`, for `keras.Model`.

    Example:
        >>> symmetry = Symmetry(E3(), {"positions": "point"}, "point")
        >>> model = FrameAveraging(Transformer(), symmetry)

    Reference:
        Puny et al., "Frame averaging for invariant and equivariant network
        design", arXiv 2110.03336.
    """

    @staticmethod
    def check_symmetry(symmetry):
        count = _num_elements(symmetry)
        if count is None:
            PrincipalAxes.check_symmetry(symmetry)
        elif count > MAX_ELEMENTS:
            raise ValueError(
                f"Argument `symmetry` is under a group of {count} elements, "
                f"more than {MAX_ELEMENTS} forward passes. Use `symmetrize`, "
                f"which draws from them. Received: {symmetry!r}"
            )

    def mask_of(self, inputs):
        if _num_elements(self.symmetry) is not None:
            return self.symmetry.get_mask(inputs)
        return super().mask_of(inputs)

    def frames(self, x, mask=None):
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

    def determined(self, x):
        if _num_elements(self.symmetry) is None:
            return super().determined(x)
        return ops.convert_to_numpy(
            ops.ones(keras.tree.flatten(x)[0].shape[:1], "bool")
        )


@keras.saving.register_keras_serializable(package="keras_remul")
class Canonicalization(PrincipalAxes):
    """A model that sees its input turned to its principal axes, once.

    `rho(g) f(phi(g)^-1 x)`

    Each axis points to where the third moment of the points along it is
    positive; under a group without reflections the last one follows from the
    others. Where a third moment is zero but for rounding, along the normal of
    points in a plane or across a mirror plane, nothing says where the axis
    points. If its direction follows from the others, it is that; else the
    output is the mean over both directions, for these inputs alone, as in
    `FrameAveraging`: a batch that holds such an input takes 8 (for SO(3) 4)
    forward passes, others one.

    The output jumps where a third moment changes its sign, as it may in
    near-symmetric inputs, where `FrameAveraging` does not. Where principal
    moments are equal nothing is exact, as there; see `determined`.

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

    def frames(self, x, mask=None):
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


def for_each_sample(elements, x):
    """Each of M elements as often as there are samples: a list of batches.

    Args:
        elements: a batch of M elements.
        x: inputs.
    """
    batch = ops.shape(keras.tree.flatten(x)[0])[0]
    count = keras.tree.flatten(elements)[0].shape[0]

    def element(m, e):
        e = ops.convert_to_tensor(e)
        return ops.broadcast_to(e[m : m + 1], (batch, *e.shape[1:]))

    return [
        keras.tree.map_structure(lambda e, m=m: element(m, e), elements)
        for m in range(count)
    ]
