"""Unconstrained transformer over the edges of atoms: local and smooth."""

from __future__ import annotations

from typing import Any, NamedTuple

import keras
from keras import ops

from keras_remul.graphs import (
    gather_nodes,
    reverse_edges,
    with_self,
)
from keras_remul.layers.plain import dense, norm
from keras_remul.layers.point_edge_block import PointEdgeBlock
from keras_remul.layers.radial import RadialBasis, log_envelope
from keras_remul.layers.reference_energies import one_hot_elements
from keras_remul.models.base import NodeModel
from keras_remul.utils.arguments import (
    POSITIVE,
    at_least,
    check_multiples,
    checked,
)
from keras_remul.utils.elements import ELEMENTS
from keras_remul.utils.typing import Array, Config, Shape

NOTHING = -1e30  # logarithm of the weight of an edge that does not exist
ATOMIC_NUMBERS = "atomic_numbers"


class Edges(NamedTuple):
    """The edges of each node, one of them to itself.

    Attributes:
        away: x_i - x_j `(B, N, K, D)`, in units of `length_unit`.
        exists: booleans `(B or 1, N, K, 1)`, false for that to itself.
        distances: |x_i - x_j| `(B, N, K, 1)`; 1 where there is no edge.
        directions: (x_i - x_j) / |x_i - x_j|; 0 where there is no edge.
        log_weights: logarithms of the envelope `(B, N, K)`.
        neighbors: the senders `(B, N, K)`, or None for all nodes.
        reverse: where the edges in the other direction stand, see
            `graphs.reverse_edges`; None for all nodes.
    """

    away: object
    exists: object
    distances: object
    directions: object
    log_weights: object
    neighbors: object
    reverse: object


@keras.saving.register_keras_serializable(package="keras_remul")
class PointEdgeTransformer(NodeModel):
    """Transformer over the neighbors of each atom (PET): energies and forces.

    Tokens are the edges t_ij from the atoms j within the cut-off c of an atom
    i, and t_ii, the atom itself:

    `t_ij = Dense([r_ij, r_ij / d_ij, Gaussians(d_ij)]) + s_i + s'_j`
    `t <- PointEdgeBlock(t)`, `num_layers` times
    `h_i = sum_j f(d_ij) t_ij`, then `Dense(Norm(Dense(silu(h))))`

    with learned embeddings s of the elements (and other features) and a smooth
    envelope f, which is 1 at distance 0 and 0 at c and beyond; attention sees f
    too, and the cosines of the angles between edges. So the output is smooth
    where an atom crosses the cut-off, and an atom knows of those that are up to
    `num_layers` cut-offs away. Equivariant by construction to
    permutations and translations; rotations act on numbers r_ij like any
    others, and equivariance to them is learned.

    The cost is linear in the number of atoms with a list of neighbors; without
    one, all pairs are tokens, which is quickest for some 20 atoms. Lists need
    to hold both directions of an edge, and no edge twice, as those of `graphs`
    do where `max_neighbors` is enough; from a list that lacks the other
    direction of an edge within the cut-off, the result is NaN.

    Args:
        num_layers: rounds of messages.
        hidden_dim: C, the width of tokens.
        num_heads: heads of attention, a divisor of `hidden_dim`.
        num_blocks: transformer blocks in each round.
        mlp_ratio: width of MLPs as a multiple of `hidden_dim`.
        cutoff: c, in the units of the positions.
        num_basis: number of Gaussians of the distance.
        num_angles: products of each head that attention sees of the directions
            of two edges, see `layers.PointEdgeBlock`; 0 for none.
        readout: `"positions"`; or `"nodes"`, scalars of each node, as a
            `Potential` needs them; or `"graph"`, scalars of the sample, each
            the sum over its nodes.
        units: number of scalars, where the readout is not `"positions"`.
        **kwargs: other arguments of `NodeModel`, `name` and `dtype`.

    Call arguments:
        inputs: dict of `"positions"` `(B, N, D)`; optional `"atomic_numbers"`
            `(B, N, 1)`, 1 to 118; optional `"mask"`, `"neighbors"`, `"box"` and
            `"shifts"`, as for `MessagePassingNetwork`; each other key is a
            feature of the nodes.
        training: unused.

    Returns:
        Positions `(B, N, D)`, or scalars `(B, N, units)` or `(B, units)`; NaN
        where an atomic number is none.

    Raises:
        ValueError: a key is missing or unknown, or an axis has another length.

    Example:
        >>> model = PointEdgeTransformer.variant("small", readout="graph")
        >>> x = {"positions": keras.random.normal((2, 9, 3)),
        ...      "atomic_numbers": keras.ops.ones((2, 9, 1), "int32")}
        >>> model(x).shape
        (2, 1)

    Reference:
        Pozdnyakov and Ceriotti, "Smooth, exact rotational symmetrization for
        deep learning on point clouds", arXiv 2305.19302.
    """

    variants = {
        "small": dict(num_layers=2, hidden_dim=64, num_heads=4),
        "base": dict(num_layers=2, hidden_dim=128, num_heads=8, num_blocks=2),
    }
    reads_pairs = True
    reads_coordinates = False

    # --- Layers ---

    @checked(cutoff=POSITIVE, num_basis=at_least(2), num_angles=at_least(0))
    def __init__(
        self,
        num_layers: int = 2,
        hidden_dim: int = 64,
        num_heads: int = 4,
        num_blocks: int = 1,
        mlp_ratio: int = 2,
        cutoff: float = 5.0,
        num_basis: int = 32,
        num_angles: int = 4,
        readout: str = "positions",
        units: int = 1,
        **kwargs: Any,
    ) -> None:
        super().__init__(readout, units, **kwargs)
        check_multiples("num_heads", num_heads, hidden_dim=hidden_dim)
        self.num_layers = num_layers
        self.hidden_dim = hidden_dim
        self.num_heads = num_heads
        self.num_blocks = num_blocks
        self.mlp_ratio = mlp_ratio
        self.cutoff = float(cutoff)
        self.num_basis = num_basis
        self.num_angles = num_angles
        dtype = self.dtype_policy
        self.basis = RadialBasis(num_basis, cutoff, dtype=dtype, name="basis")
        self.geometry = keras.layers.Dense(
            hidden_dim, dtype=dtype, name="geometry"
        )
        self.center = keras.layers.Dense(hidden_dim, dtype=dtype, name="center")
        self.neighbor = keras.layers.Dense(
            hidden_dim, use_bias=False, dtype=dtype, name="neighbor"
        )
        self.blocks = [
            PointEdgeBlock(
                hidden_dim,
                num_heads,
                num_blocks,
                mlp_ratio,
                num_angles,
                dtype=dtype,
                name=f"block_{i}",
            )
            for i in range(num_layers)
        ]
        self.norm = keras.layers.LayerNormalization(
            epsilon=1e-5, dtype=dtype, name="norm"
        )
        self.decoder = keras.layers.Dense(
            hidden_dim, activation="silu", dtype=dtype, name="decoder"
        )

    def build(self, input_shape: dict[str, Shape]) -> None:
        super().build(input_shape)
        shapes = dict(self.node_shapes)
        dim = shapes.pop("positions")
        if ATOMIC_NUMBERS in shapes:
            shapes[ATOMIC_NUMBERS] = ELEMENTS
        width = sum(shapes.values()) or 1
        self.geometry.build((None, None, None, 2 * dim + self.num_basis))
        self.center.build((None, None, width))
        self.neighbor.build((None, None, width))
        tokens_shape = (None, None, None, self.hidden_dim)
        for block in self.blocks:
            block.build(tokens_shape)
        self.norm.build(tokens_shape)
        self.decoder.build((None, None, self.hidden_dim))
        self.build_readout(self.hidden_dim)

    # --- Forward pass ---

    def call(
        self, inputs: dict[str, Array], training: bool | None = None
    ) -> Array:
        nodes = self.read(inputs)
        edges = self._edges(inputs, nodes)
        t = self._tokens(nodes, edges)
        for block in self.blocks:
            t = block(t, edges.directions, edges.log_weights, edges.reverse)
        t = norm(self.norm, t)
        weights = ops.cast(ops.exp(edges.log_weights), t.dtype)
        h = ops.sum(t * weights[..., None], axis=2)
        return self.write(nodes, dense(self.decoder, h))

    def _edges(self, inputs, nodes):
        """The `Edges` of the nodes, with that of each node to itself."""
        pairs = self.read_pairs(inputs, nodes)
        if pairs.neighbors is None:
            return self._all_pairs(inputs, nodes, pairs)
        shifts = inputs.get("shifts")
        exists = ops.pad(pairs.mask, ((0, 0), (0, 0), (1, 0)))
        zero = ((0, 0), (0, 0), (1, 0), (0, 0))
        away = ops.pad(pairs.away, zero)
        neighbors = with_self(pairs.neighbors)
        edges = self._weighted(away, exists, neighbors)
        reverse, found = reverse_edges(pairs.neighbors, shifts)
        # Beyond the cut-off a list may hold one direction alone.
        near = pairs.square[..., 0] < (self.cutoff / self.length_unit) ** 2
        lost = near & pairs.mask & ~found
        lost = ops.any(lost, axis=(1, 2))[:, None, None]
        log_weights = ops.where(lost, float("nan"), edges.log_weights)
        return edges._replace(log_weights=log_weights, reverse=reverse)

    def _all_pairs(self, inputs, nodes, pairs):
        edges = self._weighted(pairs.away, pairs.mask, None)
        log_weights = self.in_cell(edges.log_weights, inputs, pairs)
        return edges._replace(log_weights=log_weights)

    def _weighted(self, away, exists, neighbors):
        square = ops.sum(ops.square(away), axis=-1)
        log_weights = log_envelope(square, self.cutoff / self.length_unit)
        log_weights = ops.where(exists, log_weights, NOTHING)
        own = ops.arange(ops.shape(away)[2], dtype="int32")[None, None]
        if neighbors is None:
            own = own == ops.swapaxes(own, 1, 2)
        else:
            own = own == 0
        log_weights = ops.where(own, 0.0, log_weights)
        exists = exists[..., None]
        # Of an atom and itself: any distance, and no direction.
        square = ops.where(exists, square[..., None], 1.0)
        distances = ops.sqrt(square + 1e-12)
        directions = ops.where(exists, away / distances, 0.0)
        return Edges(
            away, exists, distances, directions, log_weights, neighbors, None
        )

    def _tokens(self, nodes, edges):
        scale = self.length_unit / self.cutoff
        geometry = ops.concatenate(
            [
                edges.away * scale,
                edges.directions,
                self.basis(edges.distances * self.length_unit),
            ],
            axis=-1,
        )
        geometry = ops.where(edges.exists, geometry, 0.0)
        features = self._features(nodes)
        center = dense(self.center, features)
        neighbor = dense(self.neighbor, features)
        t = dense(self.geometry, ops.cast(geometry, center.dtype))
        t = t + center[:, :, None]
        return t + gather_nodes(neighbor, edges.neighbors)

    def _features(self, nodes):
        """One-hot elements and the other features `(B, N, F)`."""
        features = dict(nodes.features)
        one = ops.ones_like(features.pop("positions")[..., :1])
        if ATOMIC_NUMBERS in features:
            numbers = features[ATOMIC_NUMBERS]
            features[ATOMIC_NUMBERS] = one_hot_elements(
                numbers, range(1, ELEMENTS + 1), nodes.mask
            )
        h = ops.concatenate(list(features.values()) or [one], axis=-1)
        return ops.cast(h, self.compute_dtype)

    # --- Config ---

    def get_config(self) -> Config:
        return {
            **super().get_config(),
            "num_layers": self.num_layers,
            "hidden_dim": self.hidden_dim,
            "num_heads": self.num_heads,
            "num_blocks": self.num_blocks,
            "mlp_ratio": self.mlp_ratio,
            "cutoff": self.cutoff,
            "num_basis": self.num_basis,
            "num_angles": self.num_angles,
        }
