"""What the strictly equivariant models have in common."""

import keras
from keras import ops

from keras_remul.masking import AttachMask
from keras_remul.models.transformer import _node_shapes
from keras_remul.models.variants import Variants


class EquivariantModel(Variants, keras.Model):
    """Positions in, positions out, and every layer equivariant to E(3).

    `y = x + s v + displacement(x - mean(x), v, scalars)`

    A subclass gives `build_layers` and `displacement`. The scalars are the
    features of the nodes, and the lengths of x - mean(x) and of v. Padded
    nodes are set to zero before `displacement` sees them.
    """

    def __init__(self, **kwargs):
        # Without autocast: float16 would round positions before centring.
        super().__init__(autocast=False, **kwargs)
        self.supports_masking = True
        # Keras skips compute_mask where it calls the model inside jax.grad.
        self.attach_mask = AttachMask(name="attach_mask")

    def build_layers(self, num_vectors, num_scalars):
        """Builds the sublayers.

        Args:
            num_vectors: 2 with velocities, else 1.
            num_scalars: width of `scalars`.
        """
        raise NotImplementedError

    def displacement(self, vectors, scalars, mask, training):
        """The vector `(B, N, 3)` that is added to the uniform motion.

        Args:
            vectors: centred positions, and velocities if there are any, each
                `(B, N, 3)`.
            scalars: `(B, N, F)`.
            mask: `(B, N)`, boolean, or None.
            training: whether dropout is applied.
        """
        raise NotImplementedError

    def build(self, input_shape):
        self.node_shapes = _node_shapes(input_shape)
        if self.node_shapes["positions"] != 3:
            raise ValueError(
                f"{type(self).__name__} needs positions of three dimensions. "
                f"Received: {self.node_shapes['positions']}"
            )
        num_vectors = 1 + ("velocities" in self.node_shapes)
        features = sum(self.node_shapes.values()) - 3 * num_vectors
        self.build_layers(num_vectors, features + num_vectors)
        self.attach_mask.build((None, None, 3))
        if num_vectors == 2:
            self.velocity_scale = self.add_weight(
                shape=(), initializer="ones", name="velocity_scale"
            )

    def call(self, inputs, training=None):
        received = _node_shapes({key: x.shape for key, x in inputs.items()})
        if received != self.node_shapes:
            raise ValueError(
                "Expected the keys of `inputs`, with the length of the last "
                f"axis, to be those of the build: {self.node_shapes}. "
                f"Received: {received}"
            )
        mask = inputs.get("mask")
        x = {
            key: ops.cast(inputs[key], self.variable_dtype)
            for key in self.node_shapes
        }
        if mask is None:
            center = ops.mean(x["positions"], axis=1, keepdims=True)
        else:
            mask = ops.cast(mask, "bool")
            valid = mask[:, :, None]  # (B, N, 1)
            # Not a product: that would let a padded NaN through.
            x = {key: ops.where(valid, x[key], 0.0) for key in x}
            count = ops.sum(ops.cast(valid, self.variable_dtype), 1, True)
            center = ops.sum(x["positions"], axis=1, keepdims=True)
            center = center / ops.maximum(count, 1.0)  # (B, 1, 3)
        y = x.pop("positions")
        vectors = [y - center]
        if mask is not None:
            vectors[0] = ops.where(valid, vectors[0], 0.0)
        if "velocities" in x:
            vectors.append(x.pop("velocities"))
            y = y + self.velocity_scale * vectors[1]
        # The epsilon keeps the gradient at rest finite.
        lengths = [
            ops.sqrt(ops.sum(ops.square(v), axis=-1, keepdims=True) + 1e-6)
            for v in vectors
        ]
        scalars = ops.concatenate([*lengths, *x.values()], axis=-1)
        step = self.displacement(vectors, scalars, mask, training)
        y = y + ops.cast(step, self.variable_dtype)  # (B, N, 3)
        return y if mask is None else self.attach_mask([y, mask])

    def compute_mask(self, inputs, previous_mask=None):
        mask = inputs.get("mask")
        return None if mask is None else ops.cast(mask, "bool")

    def compute_output_spec(self, inputs, training=None):
        return keras.KerasTensor(
            inputs["positions"].shape, dtype=self.variable_dtype
        )

    def get_config(self):
        return {
            "name": self.name,
            "trainable": self.trainable,
            "dtype": keras.dtype_policies.serialize(self.dtype_policy),
        }
