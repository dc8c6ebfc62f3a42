"""Transformer that predicts where the nodes of a geometric graph move."""

import keras
from keras import ops

from keras_remul.layers import TransformerBlock
from keras_remul.models.base import NodeModel


@keras.saving.register_keras_serializable(package="keras_remul")
class Transformer(NodeModel):
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
        readout: `"positions"`; or `"nodes"`, scalars of each node; or
            `"graph"`, scalars of the sample, each the sum over its nodes.
        units: number of scalars, where the readout is not `"positions"`.
        **kwargs: `name` and `dtype`, for `keras.Model`.

    Call arguments:
        inputs: dict of `"positions"` `(B, N, D)`, D = 2 or 3; optional
            `"velocities"` `(B, N, D)`; optional `"mask"` `(B, N)`, true or 1
            where a node is valid; each other key is a feature of the nodes
            `(B, N, F)`, such as `"charges"`. The model keeps to the keys it
            was built with, except that `"mask"` may come and go.
        training: whether dropout is applied.

    Returns:
        Positions `(B, N, D)`, or scalars `(B, N, units)` or `(B, units)`.
        Those of padded nodes are finite numbers without meaning.

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
        readout="positions",
        units=1,
        **kwargs,
    ):
        super().__init__(readout, units, **kwargs)
        self.num_layers = num_layers
        self.hidden_dim = hidden_dim
        self.num_heads = num_heads
        self.mlp_ratio = mlp_ratio
        self.dropout = dropout
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

    def build(self, input_shape):
        super().build(input_shape)
        self.embedding.build((None, None, sum(self.node_shapes.values())))
        hidden_shape = (None, None, self.hidden_dim)
        for block in self.blocks:
            block.build(hidden_shape)
        self.norm.build(hidden_shape)
        self.build_readout(self.hidden_dim)

    # --- Forward pass ---

    def call(self, inputs, training=None):
        nodes = self.read(inputs)
        features = list(nodes.features.values())
        h = self.embedding(ops.concatenate(features, axis=-1))
        for block in self.blocks:
            h = block(h, mask=nodes.mask, training=training)  # (B, N, C)
        return self.write(nodes, self.norm(h))

    # --- Config ---

    def get_config(self):
        return {
            **super().get_config(),
            "num_layers": self.num_layers,
            "hidden_dim": self.hidden_dim,
            "num_heads": self.num_heads,
            "mlp_ratio": self.mlp_ratio,
            "dropout": self.dropout,
        }
