"""EGNN: the graph network that is equivariant by construction."""

import keras
from keras import ops

from keras_remul.layers import EGNNLayer
from keras_remul.layers.lengths import lengths
from keras_remul.models.base import NodeModel


@keras.saving.register_keras_serializable(package="keras_remul")
class EGNN(NodeModel):
    """E(n)-equivariant graph network: positions in, positions out.

    `h_i = Dense([|v_i|, features])`,
    `e_ij = [|x_i - x_j|^2, products, edges]`, both from the input, and per
    layer (see `layers.EGNNLayer`)

    `m_ij = phi_e(h_i, h_j, |x_i - x_j|^2, e_ij)`
    `x_i <- x_i + mean_j (x_i - x_j) phi_x(m_ij) + phi_v(h_i) v_i`
    `h_i <- h_i + phi_h(h_i, sum_j m_ij)`

    Equivariant to rotations, reflections, translations and permutations for
    any weights, provided that all features but positions and velocities are
    invariant. This is the network of the paper's n-body experiment, with its
    velocities; there the products of charges enter the messages, which here is
    `edge_products=("charges",)`. It is linear in N with a list of neighbors.

    Args:
        num_layers: number of layers.
        hidden_dim: C, the width of nodes and messages.
        edge_products: keys of node features whose products f_i f_j are
            features of the pairs.
        readout: `"positions"`; or `"nodes"`, invariants of each node; or
            `"graph"`, invariants of the sample, each the sum over its nodes.
        units: number of invariants, where the readout is not `"positions"`.
        **kwargs: `name` and `dtype`, for `keras.Model`.

    Call arguments:
        inputs: dict as that of `MessagePassingNetwork`; all features of nodes
            and pairs must be invariant. `"box"` may come and go.
        training: unused.

    Returns:
        Positions `(B, N, D)`, or invariants `(B, N, units)` or `(B, units)`.
        Those of padded nodes are finite numbers without meaning.

    Raises:
        ValueError: a key is missing or unknown, or an axis has another length.

    Example:
        >>> model = EGNN(num_layers=4, edge_products=("charges",))
        >>> x = {"positions": keras.random.normal((8, 5, 3)),
        ...      "velocities": keras.random.normal((8, 5, 3)),
        ...      "charges": keras.ops.ones((8, 5, 1))}
        >>> model(x).shape
        (8, 5, 3)

    Reference:
        Satorras et al., "E(n) equivariant graph neural networks", arXiv
        2102.09844.
    """

    # --- Layers ---

    reads_pairs = True
    reads_coordinates = False

    def __init__(
        self,
        num_layers=4,
        hidden_dim=64,
        edge_products=(),
        readout="positions",
        units=1,
        **kwargs,
    ):
        super().__init__(readout, units, **kwargs)
        self.num_layers = num_layers
        self.hidden_dim = hidden_dim
        self.edge_products = list(edge_products)
        dtype = self.dtype_policy
        self.embedding = keras.layers.Dense(
            hidden_dim, dtype=dtype, name="embedding"
        )
        moves = readout == "positions"
        last = num_layers - 1
        # What the readout does not see is not computed.
        self.blocks = [
            EGNNLayer(
                hidden_dim,
                update_nodes=not moves or i < last,
                update_positions=moves or i < last,
                dtype=dtype,
                name=f"layer_{i}",
            )
            for i in range(num_layers)
        ]

    def build(self, input_shape):
        super().build(input_shape)
        shapes = dict(self.node_shapes)
        edge_dim = self.count_pair_features()
        vector_shape = (None, None, shapes.pop("positions"))
        velocity_shape = None
        if shapes.pop("velocities", None):
            velocity_shape = vector_shape
        width = sum(shapes.values()) + (velocity_shape is not None)
        self.embedding.build((None, None, width or 1))
        hidden_shape = (None, None, self.hidden_dim)
        edges_shape = (None, None, None, edge_dim)
        for layer in self.blocks:
            layer.build(hidden_shape, vector_shape, edges_shape, velocity_shape)
        if self.readout != "positions":
            self.build_readout(self.hidden_dim)

    # --- Forward pass ---

    def call(self, inputs, training=None):
        nodes = self.read(inputs)
        pairs = self.read_pairs(inputs, nodes)
        start = x = nodes.features["positions"]
        velocities = nodes.features.get("velocities")
        edges = self.pair_features(nodes, pairs)
        h = self.embedding(self._invariants(nodes))
        for layer in self.blocks:
            h, x = layer(
                h,
                x,
                edges,
                pairs.mask,
                velocities=velocities,
                neighbors=pairs.neighbors,
                offsets=pairs.offsets,
            )
        if self.readout == "positions":
            return self.finish(
                nodes, nodes.positions + self.length_unit * (x - start)
            )
        return self.write(nodes, h)

    def _invariants(self, nodes):
        features = dict(nodes.features)
        ones = ops.ones_like(features.pop("positions")[..., :1])
        velocities = features.pop("velocities", None)
        features = list(features.values())
        if velocities is not None:
            # The root has no derivative at rest.
            features.insert(0, lengths(velocities, 1e-12))
        return ops.concatenate(features or [ones], axis=-1)

    # --- Config ---

    def get_config(self):
        return {
            **super().get_config(),
            "num_layers": self.num_layers,
            "hidden_dim": self.hidden_dim,
            "edge_products": self.edge_products,
        }
