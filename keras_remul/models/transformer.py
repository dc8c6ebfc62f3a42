"""Transformer that predicts where the nodes of a geometric graph move."""

import keras
from keras import ops

from keras_remul.layers import TransformerBlock
from keras_remul.masking import AttachMask
from keras_remul.models.variants import Variants


@keras.saving.register_keras_serializable(package="keras_remul")
class Transformer(Variants, keras.Model):
    """Unconstrained transformer over nodes: positions in, positions out.

    `h = Blocks(Dense([x - mean(x), v, features]))`
    `y = x + s v + Dense(Norm(h))`

    Equivariant by construction to permutations of the nodes (there is no
    positional encoding) and to translations (the mean is taken off the input,
    and the output is added to the positions), to nothing else: rotations are
    left to training. Training starts close to y = x + v, as the last layer's
    kernel is small and s, a trainable number, is 1; the kernel is not zero,
    because then the first model would be exactly equivariant and the first
    gradient would stop at the last layer.

    Input is checked against the shapes that the model was built with.
    Positions stay in the dtype of the variables under mixed precision.
    Padded nodes change no valid output, whatever numbers they hold, and the
    output carries the mask, so that Keras losses and metrics leave them out.

    Args:
        num_layers: number of blocks.
        hidden_dim: C, the width of the blocks.
        num_heads: K, a divisor of `hidden_dim`.
        mlp_ratio: width of each MLP as a multiple of `hidden_dim`.
        dropout: rate for attention weights and branches in training.
        **kwargs: `name` and `dtype`, for `keras.Model`.

    Call arguments:
        inputs: dict of `"positions"` `(B, N, D)`, D = 2 or 3; optional
            `"velocities"` `(B, N, D)`; optional `"mask"` `(B, N)`, true or 1
            where a node is valid; each other key is a feature of the nodes
            `(B, N, F)`, such as `"charges"`. The model keeps to the keys it
            was built with, except that `"mask"` may come and go.
        training: whether dropout is applied.

    Returns:
        Positions `(B, N, D)`. Those of padded nodes are finite numbers without
        meaning.

    Raises:
        ValueError: a key is missing or unknown, or an axis has another length.

    Example:
        >>> model = Transformer(num_layers=2)
        >>> x = {"positions": keras.random.normal((8, 5, 3)),
        ...      "velocities": keras.random.normal((8, 5, 3))}
        >>> model(x).shape
        (8, 5, 3)

    Reference:
        Vaswani et al., "Attention is all you need", arXiv 1706.03762.
    """

    # "nbody_gravity" is that of arXiv 2410.17878.
    variants = {
        "nbody_gravity": dict(num_layers=10, hidden_dim=384, num_heads=8)
    }

    # --- Layers ---

    def __init__(
        self,
        num_layers=4,
        hidden_dim=64,
        num_heads=4,
        mlp_ratio=4,
        dropout=0.0,
        **kwargs,
    ):
        # Without autocast: float16 would round positions before centring.
        super().__init__(autocast=False, **kwargs)
        self.num_layers = num_layers
        self.hidden_dim = hidden_dim
        self.num_heads = num_heads
        self.mlp_ratio = mlp_ratio
        self.dropout = dropout
        self.supports_masking = True
        dtype = self.dtype_policy
        self.embedding = keras.layers.Dense(
            hidden_dim, dtype=dtype, name="embedding"
        )
        self.blocks = [
            TransformerBlock(
                hidden_dim,
                num_heads,
                mlp_ratio,
                dropout,
                dtype=dtype,
                name=f"block_{i}",
            )
            for i in range(num_layers)
        ]
        self.norm = keras.layers.LayerNormalization(
            epsilon=1e-5, dtype=dtype, name="norm"
        )
        # Keras skips compute_mask where it calls the model inside jax.grad.
        self.attach_mask = AttachMask(name="attach_mask")

    def build(self, input_shape):
        self.node_shapes = _node_shapes(input_shape)
        dim = self.node_shapes["positions"]
        width = sum(self.node_shapes.values())
        self.embedding.build((None, None, width))
        hidden_shape = (None, None, self.hidden_dim)
        for block in self.blocks:
            block.build(hidden_shape)
        self.norm.build(hidden_shape)
        self.head = keras.layers.Dense(
            dim,
            kernel_initializer=keras.initializers.VarianceScaling(1e-2),
            dtype=self.dtype_policy,
            name="head",
        )
        self.head.build(hidden_shape)
        # A layer left unbuilt has Keras trace the model anew in each
        # train_on_batch and predict_on_batch.
        self.attach_mask.build(hidden_shape)
        if "velocities" in self.node_shapes:
            self.velocity_scale = self.add_weight(
                shape=(), initializer="ones", name="velocity_scale"
            )

    # --- Forward pass ---

    def call(self, inputs, training=None):
        self._check(inputs)
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
            center = center / ops.maximum(count, 1.0)  # (B, 1, D)
        y = x["positions"]
        x["positions"] = y - center
        h = self.embedding(ops.concatenate(list(x.values()), axis=-1))
        for block in self.blocks:
            h = block(h, mask=mask, training=training)  # (B, N, C)
        h = self.head(self.norm(h))
        if "velocities" in x:
            y = y + self.velocity_scale * x["velocities"]
        y = y + ops.cast(h, self.variable_dtype)  # (B, N, D)
        return y if mask is None else self.attach_mask([y, mask])

    def compute_mask(self, inputs, previous_mask=None):
        mask = inputs.get("mask")
        return None if mask is None else ops.cast(mask, "bool")

    def compute_output_spec(self, inputs, training=None):
        return keras.KerasTensor(
            inputs["positions"].shape, dtype=self.variable_dtype
        )

    def _check(self, inputs):
        received = _node_shapes({key: x.shape for key, x in inputs.items()})
        if received != self.node_shapes:
            raise ValueError(
                "Expected the keys of `inputs`, with the length of the last "
                f"axis, to be those of the build: {self.node_shapes}. "
                f"Received: {received}"
            )

    # --- Config ---

    def get_config(self):
        return {
            "name": self.name,
            "trainable": self.trainable,
            "dtype": keras.dtype_policies.serialize(self.dtype_policy),
            "num_layers": self.num_layers,
            "hidden_dim": self.hidden_dim,
            "num_heads": self.num_heads,
            "mlp_ratio": self.mlp_ratio,
            "dropout": self.dropout,
        }


def _node_shapes(shapes):
    """Last axis of each node feature, by key, in the order of the embedding.

    Args:
        shapes: dict of the shapes of all inputs, `"mask"` included.

    Returns:
        Dict of integers: `"positions"`, `"velocities"` if given, then the
        other keys in alphabetical order.

    Raises:
        ValueError: no `"positions"`, or a shape that does not fit theirs.
    """
    if not isinstance(shapes, dict) or "positions" not in shapes:
        raise ValueError(
            'Expected `inputs` to be a dict with the key "positions". '
            f"Received: {list(shapes)}"
        )
    batch, nodes, dim = (*shapes["positions"], None, None, None)[:3]
    for key, shape in shapes.items():
        expected = {
            "positions": (batch, nodes, "2 or 3"),
            "velocities": (batch, nodes, dim),
            "mask": (batch, nodes),
        }.get(key, (batch, nodes, "any"))
        fits = len(shape) == len(expected) and all(
            a is None or b is None or a == b or isinstance(b, str)
            for a, b in zip(shape, expected, strict=True)
        )
        if not fits or dim not in (2, 3):
            raise ValueError(
                f"Expected inputs[{key!r}] to have the shape {expected}. "
                f"Received: {tuple(shape)}"
            )
    others = sorted(set(shapes) - {"positions", "velocities", "mask"})
    first = [key for key in ("positions", "velocities") if key in shapes]
    return {key: shapes[key][-1] for key in first + others}
