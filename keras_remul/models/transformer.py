"""Transformer that predicts where the nodes of a geometric graph move."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_remul.layers import PairBias, TransformerBlock
from keras_remul.layers.plain import apply, dense, norm
from keras_remul.models.base import NodeModel
from keras_remul.utils.arguments import RATE, at_least, check_multiples, checked
from keras_remul.utils.typing import Array, Config, Shape


@keras.saving.register_keras_serializable(package="keras_remul")
class Transformer(NodeModel):
    """Unconstrained transformer over nodes: positions in, positions out.

    `h = Blocks(Dense([x - mean(x), v, features]), bias(pairs))`
    `y = x + s v + Dense(Norm(h))`

    Equivariant by construction only to permutations of the nodes (there is no
    positional encoding) and to translations (the mean is subtracted from the
    input, and the output is added to the positions). Equivariance to rotations
    is learned. Training starts close to y = x + v, since the kernel of the last
    layer is small and s, a trainable number, is 1. The kernel is not zero: the
    initial model would then be exactly equivariant, and the first gradient
    would stop at the last layer.

    The input is checked against the shapes of the build. Positions stay in the
    dtype of the variables under mixed precision. Padded nodes have no effect on
    valid outputs, whatever values they hold. The output carries the mask, so
    that Keras losses and metrics exclude them.

    Args:
        num_layers: number of blocks.
        hidden_dim: C, the width of the blocks.
        num_heads: K, a divisor of `hidden_dim`.
        mlp_ratio: width of each MLP as a multiple of `hidden_dim`.
        dropout: rate for attention weights and branches in training.
        stochastic_depth: rate at which the branches of the last block are
            dropped in training, for each sample; it rises from 0 in the first
            block.
        pair_bias: whether attention also sees the distance of each pair, see
            `layers.PairBias`; optional inputs `"edges"` `(B, N, N, F)`,
            features of the pairs, and `"box"`, a periodic box, `(B, D)` of
            edges or `(B, D, D)` of lattice vectors, are then accepted. In a
            box, positions enter only as differences of the nearest images, and
            attention also sees their direction.
        edge_products: with `pair_bias`, keys of features f of the nodes whose
            products f_i f_j are features of the pairs, such as `"charges"`.
        num_registers: number of trainable tokens that take part in attention
            like nodes and are removed at the end (arXiv 2309.16588).
        readout: `"positions"`; or `"nodes"`, scalars of each node; or
            `"graph"`, scalars of the sample, each the sum over its nodes.
        units: number of scalars, where the readout is not `"positions"`.
        num_times: T, for positions at T times `(B, N, T, D)`, each from
            x + s_t v. Defaults to None: one time, `(B, N, D)`.
        **kwargs: `name` and `dtype`, for `keras.Model`.

    Call arguments:
        inputs: dict of `"positions"` `(B, N, D)`, D = 2 or 3; optional
            `"velocities"` `(B, N, D)`; optional `"mask"` `(B, N)`, true or 1
            where a node is valid; each other key is a feature of the nodes
            `(B, N, F)`, such as `"charges"`. The keys must be those of the
            build, except that `"mask"` is optional in each call.
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

    @checked(dropout=RATE, stochastic_depth=RATE, num_registers=at_least(0))
    def __init__(
        self,
        num_layers: int = 4,
        hidden_dim: int = 64,
        num_heads: int = 4,
        mlp_ratio: int = 4,
        dropout: float = 0.0,
        stochastic_depth: float = 0.0,
        pair_bias: bool = False,
        edge_products: Sequence[str] = (),
        num_registers: int = 0,
        readout: str = "positions",
        units: int = 1,
        num_times: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(readout, units, **kwargs)
        check_multiples("num_heads", num_heads, hidden_dim=hidden_dim)
        self.num_times = num_times
        self.num_layers = num_layers
        self.hidden_dim = hidden_dim
        self.num_heads = num_heads
        self.mlp_ratio = mlp_ratio
        self.dropout = dropout
        self.stochastic_depth = stochastic_depth
        self.pair_bias = self.reads_pairs = pair_bias
        self.edge_products = list(edge_products)
        self.num_registers = num_registers
        if edge_products and not pair_bias:
            raise ValueError(
                "Argument `edge_products` needs `pair_bias=True`. Received: "
                f"edge_products={edge_products!r}"
            )
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
                stochastic_depth * i / max(num_layers - 1, 1),
                dtype=dtype,
                name=f"block_{i}",
            )
            for i in range(num_layers)
        ]
        self.norm = keras.layers.LayerNormalization(
            epsilon=1e-5, dtype=dtype, name="norm"
        )

        if pair_bias:
            self.bias = PairBias(
                num_layers, num_heads, dtype=dtype, name="pair_bias"
            )

    def build(self, input_shape: dict[str, Shape]) -> None:
        super().build(input_shape)
        if "neighbors" in input_shape:
            raise ValueError(
                'Transformer attends to all nodes: leave inputs["neighbors"] '
                "out, or use MessagePassingNetwork."
            )
        if self.pair_bias:
            width = self.count_pair_features()
            if self.periodic:
                width += self.node_shapes["positions"]
            self.bias.build((None, None, None, width))
        if self.num_registers:
            self.registers = self.add_weight(
                shape=(1, self.num_registers, self.hidden_dim),
                initializer=keras.initializers.RandomNormal(stddev=0.02),
                name="registers",
            )
        self.embedding.build((None, None, self.embedded_width))
        hidden_shape = (None, None, self.hidden_dim)
        for block in self.blocks:
            block.build(hidden_shape)
        self.norm.build(hidden_shape)
        self.build_readout(self.hidden_dim)

    # --- Forward pass ---

    def call(
        self, inputs: dict[str, Array], training: bool | None = None
    ) -> Array:
        nodes = self.read(inputs)
        h = dense(self.embedding, self.embedded(nodes))
        num_nodes = ops.shape(h)[1]
        mask, biases = nodes.mask, [None] * self.num_layers
        if self.pair_bias:
            pairs = self.read_pairs(inputs, nodes)
            features = self.pair_features(nodes, pairs)
            if self.periodic:
                features = ops.concatenate([features, pairs.away], axis=-1)
            biases = self.bias(features)
        if self.num_registers:
            h, mask, biases = self._append_registers(h, mask, biases)
        for block, bias in zip(self.blocks, biases, strict=True):
            h = apply(
                block,
                TransformerBlock,
                h,  # (B, N, C)
                mask=mask,
                bias=bias,
                training=training,
            )
        return self.write(nodes, norm(self.norm, h[:, :num_nodes]))

    def _append_registers(self, h, mask, biases):
        count = self.num_registers
        # Not repeated: an exported program has no number of samples to count.
        registers = ops.broadcast_to(
            ops.cast(self.registers, h.dtype),
            (ops.shape(h)[0], count, self.hidden_dim),
        )
        h = ops.concatenate([h, registers], axis=1)
        if mask is not None:
            # Not padded: ONNX pads no booleans as TensorFlow does.
            valid = ops.ones_like(registers[..., 0], dtype="bool")
            mask = ops.concatenate([mask, valid], axis=1)
        if self.pair_bias:
            widths = [[0, 0], [0, 0], [0, count], [0, count]]
            biases = [ops.pad(bias, widths) for bias in biases]
        return h, mask, biases

    # --- Config ---

    def get_config(self) -> Config:
        return {
            **super().get_config(),
            "num_times": self.num_times,
            "num_layers": self.num_layers,
            "hidden_dim": self.hidden_dim,
            "num_heads": self.num_heads,
            "mlp_ratio": self.mlp_ratio,
            "dropout": self.dropout,
            "stochastic_depth": self.stochastic_depth,
            "pair_bias": self.pair_bias,
            "edge_products": self.edge_products,
            "num_registers": self.num_registers,
        }
