"""Alignment: a model sees its input turned onto a reference."""

import keras
from keras import ops

from keras_remul import groups
from keras_remul.graphs import in_order
from keras_remul.symmetric import FramedModel
from keras_remul.symmetry import Symmetry

GROUPS = (groups.SO2, groups.O2, groups.SO3, groups.O3)


@keras.saving.register_keras_serializable(package="keras_remul")
class Alignment(FramedModel):
    """A model that sees its input turned onto a reference.

    `rho(R)^-1 f(phi(R) x)`,  R the rotation with the least
    `sum_n |R (x_n - mean(x)) - reference_n|^2`

    For nodes that are always the same ones: joints of a body, atoms of one
    molecule. Exactly equivariant for any f, where the best R is unique: far
    from ambiguous for a body that keeps about its shape, unlike principal axes.
    The group may be smaller than that of all rotations: turns about the
    vertical leave what is up to f. Where the group has reflections, the mean
    over x and its mirror image is taken, each turned onto the reference.

    The reference is a weight, which `adapt` sets. It is zero before, and then R
    is 1.

    Args:
        model: any Keras model with the inputs and outputs of `symmetry`.
        symmetry: a `Symmetry` under SO2, O2, SO3 or O3, about any axis.
        points: key of the positions `(B, N, d)` among the inputs; None where
            the inputs are the positions.
        identity: key of a one-hot feature `(B, N, N)` that says which node is
            which, where their order may change; as it does in mirror images
            where the feature is `representations.Mirrored`. Defaults to None:
            the order is fixed.
        **kwargs: `name`, for `keras.Model`.

    Raises:
        ValueError: `model` or `symmetry` is of another kind.

    Example:
        >>> symmetry = datasets.symmetry("cmu_mocap")    # about the vertical
        >>> model = Alignment(Transformer(), symmetry, identity="joints")
        >>> model.adapt(x)

    Reference:
        Kabsch, "A solution for the best rotation to relate two sets of
        vectors", Acta Crystallographica A32 (1976) 922.
    """

    def __init__(
        self, model, symmetry, points="positions", identity=None, **kwargs
    ):
        super().__init__(model, symmetry, points, **kwargs)
        self.identity = identity

    @staticmethod
    def check_symmetry(symmetry):
        group = getattr(symmetry, "group", None)
        if not isinstance(symmetry, Symmetry) or not isinstance(group, GROUPS):
            raise ValueError(
                "Argument `symmetry` must be a Symmetry under SO2, O2, SO3 or "
                f"O3. Received: {symmetry!r}"
            )

    def build(self, input_shape):
        super().build(input_shape)
        shape = input_shape
        if self.points is not None:
            shape = input_shape[self.points]
        self.reference = self.add_weight(
            shape=shape[1:],
            initializer="zeros",
            trainable=False,
            name="reference",
        )

    def frames(self, x, mask=None):
        group = self.symmetry.group
        result = []
        for mirror in self._mirrors(x):
            seen = x
            if mirror is not None:
                seen = self.symmetry.transform_inputs(mirror, x)
            p = self._in_order(seen, mask)
            reference = ops.swapaxes(ops.cast(self.reference, p.dtype), 0, 1)
            g = group.rotation_near(ops.matmul(reference, p))
            if mirror is not None:
                g = group.compose(g, ops.cast(mirror, g.dtype))
            result.append(group.inverse(g))
        return result

    def _mirrors(self, x):
        """What is done to x first, in each frame: nothing, a reflection."""
        group = self.symmetry.group
        if group.proper:
            return [None]
        count = ops.shape(keras.tree.flatten(x)[0])[0]
        mirror = ops.convert_to_tensor(
            group.reflection(), keras.config.floatx()
        )
        return [None, ops.tile(mirror[None], (count, 1, 1))]

    def _in_order(self, x, mask=None):
        p, _ = self.centred(x, mask)
        if self.identity is None:
            return p
        return in_order(p, ops.cast(x[self.identity], p.dtype))

    def canonical(self, x, y):
        """What f sees of x, and what it should say for y.

        Args:
            x, y: inputs and outputs of the model, arrays.

        Returns:
            (x, y) in the structure of these, as NumPy arrays, twice as many
            where the group has reflections. For fits of f.
        """
        symmetry, mask = self.symmetry, self.symmetry.get_mask(x)
        y = keras.tree.map_structure(ops.convert_to_tensor, y)
        return _joined(
            (moved, symmetry.transform_outputs(g, y, mask))
            for g, moved in self._turned(x)
        )

    def _turned(self, x):
        """For each frame: elements, and x moved by them."""
        x = keras.tree.map_structure(ops.convert_to_tensor, x)
        for frame in self.frames(x, self.symmetry.get_mask(x)):
            g = self.symmetry.group.inverse(frame)
            yield g, self.symmetry.transform_inputs(g, x)

    def adapt(self, x, iterations=10):
        """Sets the reference to the mean of samples, each turned onto it.

        Args:
            x: inputs without padding, arrays.
            iterations: times that the samples are turned onto the last mean;
                the first sample comes first. Defaults to 10.

        Raises:
            ValueError: where x has a mask.
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

    def get_config(self):
        return {**super().get_config(), "identity": self.identity}


def _joined(parts):
    """One batch of several, in NumPy."""
    return keras.tree.map_structure(
        lambda *arrays: ops.convert_to_numpy(ops.concatenate(arrays)), *parts
    )
