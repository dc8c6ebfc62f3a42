"""EGNN: the graph network that is equivariant by construction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_remul.layers import EGNNLayer
from keras_remul.layers.lengths import lengths
from keras_remul.layers.radial import RadialBasis, log_envelope
from keras_remul.models.base import NodeModel
from keras_remul.utils.arguments import POSITIVE, at_least, checked
from keras_remul.utils.typing import Array, Config, Shape


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

    Squared distances hardly tell two bonds apart. For molecules and materials
    give a `cutoff` c: e_ij then holds Gaussians of the distance instead, all
    messages are multiplied by an envelope that falls smoothly to 0 at c, and
    lengths are in units of c. Forces are then continuous where an atom crosses
    c, and fit bonds that vibrate.

    Args:
        num_layers: number of layers.
        hidden_dim: C, the width of nodes and messages.
        edge_products: keys of node features whose products f_i f_j are
            features of the pairs.
        cutoff: c, in the units of the positions. Defaults to None: none.
        num_basis: number of Gaussians, with a `cutoff`.
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
        Those of padded nodes are finite numbers without meaning. NaN where a
        cell without a list of neighbors is below twice the `cutoff`.

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

    @checked(cutoff=POSITIVE, num_basis=at_least(2))
    def __init__(
        self,
        num_layers: int = 4,
        hidden_dim: int = 64,
        edge_products: Sequence[str] = (),
        cutoff: float | None = None,
        num_basis: int = 32,
        readout: str = "positions",
        units: int = 1,
        **kwargs: Any,
    ) -> None:
        super().__init__(readout, units, **kwargs)
        self.num_layers = num_layers
        self.hidden_dim = hidden_dim
        self.edge_products = list(edge_products)
        self.cutoff = None if cutoff is None else float(cutoff)
        self.num_basis = num_basis
        dtype = self.dtype_policy
        if cutoff is not None:
            self.basis = RadialBasis(
                num_basis, cutoff, dtype=dtype, name="basis"
            )
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
                weighted=cutoff is not None,
                dtype=dtype,
                name=f"layer_{i}",
            )
            for i in range(num_layers)
        ]

    def build(self, input_shape: dict[str, Shape]) -> None:
        super().build(input_shape)
        shapes = dict(self.node_shapes)
        edge_dim = self.count_pair_features()
        if self.cutoff is not None:
            edge_dim += self.num_basis - 1
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

    def call(
        self, inputs: dict[str, Array], training: bool | None = None
    ) -> Array:
        nodes = self.read(inputs)
        pairs = self.read_pairs(inputs, nodes)
        edges, mask, unit = self._geometry(inputs, nodes, pairs)
        start = x = nodes.features["positions"] / unit
        velocities = nodes.features.get("velocities")
        if velocities is not None:
            velocities = velocities / unit
        offsets = None if pairs.offsets is None else pairs.offsets / unit
        h = self.embedding(self._invariants(nodes))
        for layer in self.blocks:
            h, x = layer(
                h,
                x,
                edges,
                mask,
                velocities=velocities,
                neighbors=pairs.neighbors,
                offsets=offsets,
            )
        if self.readout == "positions":
            unit = unit * self.length_unit
            return self.finish(nodes, nodes.positions + unit * (x - start))
        return self.write(nodes, h)

    def _geometry(self, inputs, nodes, pairs):
        """Features of pairs, their mask or weights, the unit of the layers."""
        edges = self.pair_features(nodes, pairs)
        if self.cutoff is None:
            return edges, pairs.mask, 1.0
        cutoff = self.cutoff / self.length_unit
        # Where there is no pair, one at the cut-off: the root has a slope.
        square = ops.where(pairs.mask[..., None], pairs.square, cutoff**2)
        basis = self.basis(self.length_unit * ops.sqrt(square + 1e-12))
        weights = ops.exp(log_envelope(square[..., 0], cutoff))
        weights = ops.where(pairs.mask, weights, 0.0)
        weights = self.in_cell(weights, inputs, pairs)
        edges = ops.concatenate([basis, edges[..., 1:]], axis=-1)
        return edges, weights, cutoff

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

    def get_config(self) -> Config:
        return {
            **super().get_config(),
            "num_layers": self.num_layers,
            "hidden_dim": self.hidden_dim,
            "edge_products": self.edge_products,
            "cutoff": self.cutoff,
            "num_basis": self.num_basis,
        }
