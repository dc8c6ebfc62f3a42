"""Message-passing network that predicts where nodes move, unconstrained."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_remul.backend.plain import is_plain
from keras_remul.layers import MessagePassing
from keras_remul.models.base import NodeModel
from keras_remul.utils.arguments import checked
from keras_remul.utils.typing import Array, Config, Shape


@keras.saving.register_keras_serializable(package="keras_remul")
class MessagePassingNetwork(NodeModel):
    """Unconstrained graph network: positions in, positions out.

    `h = Dense([x - mean(x), v, features])`
    `h_i <- h_i + MLP(h_i, sum_j m_ij)` with
    `m_ij = MLP(h_i, h_j, x_i - x_j, |x_i - x_j|^2, e_ij)`
    `y = x + s v + Dense(silu(Dense(h)))`

    The sibling of `EGNN` that sees coordinates as plain numbers: equivariant
    by construction to permutations and translations, to nothing else. Training
    starts close to y = x + v, as that of `Transformer`.

    Messages pass between all nodes, or, with a list of neighbors, at a cost
    linear in N. Padded nodes change no valid output, whatever numbers they
    hold. Positions, and their differences and squares, are formed in the dtype
    of the variables; the messages are in the compute dtype, whose float16
    holds squared distances up to 65504.

    Args:
        num_layers: number of rounds of messages.
        hidden_dim: C, the width of nodes and messages.
        edge_products: keys of features f of the nodes whose products f_i f_j
            the messages see, such as `"charges"`.
        readout: `"positions"`; or `"nodes"`, scalars of each node; or
            `"graph"`, scalars of the sample, each the sum over its nodes.
        units: number of scalars, where the readout is not `"positions"`.
        num_times: T, for positions at T times `(B, N, T, D)`, each from
            x + s_t v. Defaults to None: one time, `(B, N, D)`.
        **kwargs: `name` and `dtype`, for `keras.Model`.

    Call arguments:
        inputs: dict as that of `Transformer`, and optional `"neighbors"`
            `(B, N, K)`, integers: the senders of each node, filled with -1
            (see `graphs.radius_graph`); `"edges"`, features of the pairs
            `(B, N, N, F)`, with a list `(B, N, K, F)`; `"box"`, a periodic
            box, `(B, D)` of edges or `(B, D, D)` of lattice vectors (see
            `periodic`): each pair is then that of the nearest images, or, with
            `"shifts"` `(B, N, K, D)`, of those of `graphs.periodic_graph`, and
            the positions enter as these differences alone. `"mask"`,
            `"neighbors"` and `"shifts"` may come and go.
        training: unused.

    Returns:
        Positions `(B, N, D)`, or scalars `(B, N, units)` or `(B, units)`.
        Those of padded nodes are finite numbers without meaning.

    Raises:
        ValueError: a key is missing or unknown, or an axis has another length.

    Example:
        >>> model = MessagePassingNetwork(num_layers=2)
        >>> x = {"positions": keras.random.normal((8, 5, 3)),
        ...      "velocities": keras.random.normal((8, 5, 3))}
        >>> model(x).shape
        (8, 5, 3)

    Reference:
        Gilmer et al., "Neural message passing for quantum chemistry", arXiv
        1704.01212; the baseline "GNN" of arXiv 2102.09844 and 2410.17878.
    """

    # --- Layers ---

    reads_pairs = True

    @checked()
    def __init__(
        self,
        num_layers: int = 4,
        hidden_dim: int = 64,
        edge_products: Sequence[str] = (),
        readout: str = "positions",
        units: int = 1,
        num_times: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(readout, units, **kwargs)
        self.num_times = num_times
        self.num_layers = num_layers
        self.hidden_dim = hidden_dim
        self.edge_products = list(edge_products)
        dtype = self.dtype_policy
        self.embedding = keras.layers.Dense(
            hidden_dim, dtype=dtype, name="embedding"
        )
        self.blocks = [
            MessagePassing(hidden_dim, dtype=dtype, name=f"block_{i}")
            for i in range(num_layers)
        ]
        self.decoder = keras.layers.Dense(
            hidden_dim, activation="silu", dtype=dtype, name="decoder"
        )

    def build(self, input_shape: dict[str, Shape]) -> None:
        super().build(input_shape)
        self.embedding.build((None, None, self.embedded_width))
        hidden_shape = (None, None, self.hidden_dim)
        width = self.node_shapes["positions"] + self.count_pair_features()
        for layer in self.blocks:
            layer.build(hidden_shape, (None, None, None, width))
        self.decoder.build(hidden_shape)
        self.build_readout(self.hidden_dim)

    # --- Forward pass ---

    def call(
        self, inputs: dict[str, Array], training: bool | None = None
    ) -> Array:
        nodes = self.read(inputs)
        pairs = self.read_pairs(inputs, nodes)
        edges = ops.concatenate(
            [pairs.away, self.pair_features(nodes, pairs)], axis=-1
        )
        h = self.embedding(self.embedded(nodes))
        for layer in self.blocks:
            # Nobody reads the messages themselves.
            plain = is_plain(layer, MessagePassing)
            send = layer.exchange if plain else layer
            h, _ = send(h, edges, pairs.mask, pairs.neighbors)
        return self.write(nodes, self.decoder(h))

    # --- Config ---

    def get_config(self) -> Config:
        return {
            **super().get_config(),
            "num_times": self.num_times,
            "num_layers": self.num_layers,
            "hidden_dim": self.hidden_dim,
            "edge_products": self.edge_products,
        }
