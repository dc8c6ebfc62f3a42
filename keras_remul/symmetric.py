"""Wrappers that make any model exactly equivariant by means of frames."""

import itertools

import keras
from keras import ops

from keras_remul import backend, groups
from keras_remul.masking import AttachMask
from keras_remul.symmetry import Symmetry

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


class FramedModel(keras.Model):
    """Base: a model seen from frames that move with the input.

    `(1/M) sum_m rho(g_m) f(phi(g_m)^-1 x)`,  g_1, ..., g_M from x

    is equivariant where g x has the frames g g_m. A frame consists of the
    principal axes of the points, and of their centre where the group has
    translations; a subclass chooses the signs of the axes. The M copies go
    through the model as one batch.

    Where two principal moments are equal the axes are not determined, and
    nearby inputs may have far frames; so equivariance is exact for all inputs
    but these, and the numerical error grows as the moments come together.
    Derivatives with respect to the points go through the frames.

    Args:
        model: any Keras model with the inputs and outputs of `symmetry`.
        symmetry: a `Symmetry` under SO3, O3, SE3, E3, or under SO2(axis=None),
            O2, SE2, E2 in the plane.
        points: key of the positions `(B, N, d)` among the inputs; None where
            the inputs are the positions.
        **kwargs: `name`, for `keras.Model`.

    Raises:
        ValueError: `model` or `symmetry` is of another kind.
    """

    def __init__(self, model, symmetry, points="positions", **kwargs):
        super().__init__(autocast=False, **kwargs)
        if not isinstance(model, keras.Model):
            raise ValueError(
                f"Argument `model` must be a keras.Model. Received: {model!r}"
            )
        self.check_symmetry(symmetry)
        self.model = model
        self.symmetry = symmetry
        self.points = points
        self.supports_masking = True
        self.attach_mask = AttachMask(name="attach_mask")

    @staticmethod
    def check_symmetry(symmetry):
        """Raises ValueError where the frames are none of this `symmetry`."""
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

    def signs(self, projections):
        """The signs of the axes in each frame.

        Args:
            projections: coordinates of the points along the principal axes
                `(B, N, d)`, zero for padding.

        Returns:
            List of arrays `(B, d)` or `(1, d)`; for groups without reflections
            the last sign is ignored, for it follows from the others.
        """
        raise NotImplementedError

    def centred(self, x, mask=None):
        """The points less their centre, zero for padding, and the centre."""
        p = x if self.points is None else x[self.points]
        p = ops.cast(p, keras.config.floatx())
        if mask is None:
            center = ops.mean(p, axis=1)  # (B, d)
            return p - center[:, None], center
        valid = ops.cast(mask, "bool")[:, :, None]
        count = ops.sum(ops.cast(valid, p.dtype), axis=1)
        center = ops.sum(ops.where(valid, p, 0.0), axis=1)
        center = center / ops.maximum(count, 1.0)
        return ops.where(valid, p - center[:, None], 0.0), center

    def frames(self, x, mask=None):
        """The elements g_m for inputs x: a list of batches of elements."""
        group = self.symmetry.group
        p, center = self.centred(x, mask)
        moments = backend.matmul(ops.swapaxes(p, 1, 2), p)
        _, axes = ops.eigh(moments)  # columns, (B, d, d)
        result = []
        for signs in self.signs(backend.matmul(p, axes)):
            frame = axes * ops.cast(signs, axes.dtype)[:, None, :]
            if group.proper:
                turn = ops.sign(ops.stop_gradient(ops.det(frame)))
                last = frame[:, :, -1:] * turn[:, None, None]
                frame = ops.concatenate([frame[:, :, :-1], last], axis=-1)
            if group.has_translations:
                frame = group.assemble(frame, center)
            result.append(frame)
        return result

    def build(self, input_shape):
        if not self.model.built:
            self.model.build(input_shape)

    def call(self, inputs, training=None):
        symmetry = self.symmetry
        mask = symmetry.get_mask(inputs)
        frames = self.frames(inputs, mask)
        count = len(frames)
        g = ops.concatenate(frames, axis=0)  # (M B, ., .)

        def repeat(a):
            return ops.concatenate([a] * count, axis=0)

        many = keras.tree.map_structure(repeat, inputs)
        many = symmetry.transform_inputs(symmetry.group.inverse(g), many)
        y = self.model(many, training=training)
        masks = None if mask is None else repeat(mask)
        y = symmetry.transform_outputs(g, y, masks)

        def average(representation, a):
            a = ops.mean(ops.reshape(a, (count, -1, *a.shape[1:])), axis=0)
            if mask is None or not symmetry.is_per_node(representation, a):
                return a
            return self.attach_mask([a, mask])

        return keras.tree.map_structure(average, symmetry.outputs, y)

    def compute_mask(self, inputs, previous_mask=None):
        return None

    def compute_output_spec(self, inputs, training=None):
        return self.model.compute_output_spec(inputs, training=training)

    def get_config(self):
        serialize = keras.saving.serialize_keras_object
        return {
            "name": self.name,
            "trainable": self.trainable,
            "dtype": keras.dtype_policies.serialize(self.dtype_policy),
            "model": serialize(self.model),
            "symmetry": serialize(self.symmetry),
            "points": self.points,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        config = dict(config)
        for key in ("model", "symmetry"):
            config[key] = keras.saving.deserialize_keras_object(
                config[key], custom_objects=custom_objects
            )
        return cls(**config)


@keras.saving.register_keras_serializable(package="keras_remul")
class FrameAveraging(FramedModel):
    """The mean of a model over all frames of principal axes.

    `(1/|F(x)|) sum_{g in F(x)} rho(g) f(phi(g)^-1 x)`

    F(x) holds each choice of signs: 8 frames for O(3), 4 for SO(3), 4 and 2 in
    the plane. Exactly equivariant for any weights at that many forward passes.
    The result is as continuous in x as f, but where two principal moments
    cross.

    Arguments, and what holds of coinciding moments: see `FramedModel`.

    Args:
        model: any Keras model with the inputs and outputs of `symmetry`.
        symmetry: a `Symmetry` under SO3, O3, SE3, E3, or under SO2(axis=None),
            O2, SE2, E2 in the plane.
        points: key of the positions `(B, N, d)` among the inputs; None where
            the inputs are the positions.
        **kwargs: `name`, for `keras.Model`.

    Example:
        >>> symmetry = Symmetry(E3(), {"positions": "point"}, "point")
        >>> model = FrameAveraging(Transformer(), symmetry)

    Reference:
        Puny et al., "Frame averaging for invariant and equivariant network
        design", arXiv 2110.03336.
    """

    def signs(self, projections):
        d = projections.shape[-1]
        free = d - 1 if self.symmetry.group.proper else d
        return [
            ops.convert_to_tensor([[*choice, *[1.0] * (d - free)]])
            for choice in itertools.product((1.0, -1.0), repeat=free)
        ]


@keras.saving.register_keras_serializable(package="keras_remul")
class Canonicalization(FramedModel):
    """A model that sees its input turned to its principal axes, once.

    `rho(g) f(phi(g)^-1 x)`

    Each axis points to where the third moment of the points along it is
    positive. One forward pass; but the output jumps where such a moment
    changes its sign, as it may in near-symmetric inputs, where
    `FrameAveraging` does not.

    Arguments, and what holds of coinciding moments: see `FramedModel`.

    Args:
        model: any Keras model with the inputs and outputs of `symmetry`.
        symmetry: a `Symmetry` under SO3, O3, SE3, E3, or under SO2(axis=None),
            O2, SE2, E2 in the plane.
        points: key of the positions `(B, N, d)` among the inputs; None where
            the inputs are the positions.
        **kwargs: `name`, for `keras.Model`.

    Example:
        >>> symmetry = Symmetry(E3(), {"positions": "point"}, "point")
        >>> model = Canonicalization(Transformer(), symmetry)

    Reference:
        Kaba et al., "Equivariance with learned canonicalization functions",
        arXiv 2211.06489; here the function is not learned.
    """

    def signs(self, projections):
        cubes = ops.sum(projections**3, axis=1)  # (B, d)
        return [ops.where(cubes < 0, -1.0, 1.0)]
