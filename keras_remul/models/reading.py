"""Reads the inputs of models of moving nodes: nodes, and pairs of them."""

from __future__ import annotations

from typing import NamedTuple

import keras
from keras import ops

from keras_remul.backend.mixins import ModelMixin
from keras_remul.graphs import displacements, gather_nodes, pair_mask
from keras_remul.models.shapes import in_order, node_shapes
from keras_remul.periodic import (
    lattice_vector,
    nearest_lattice_vector,
    shortest_period,
    standard_box,
)
from keras_remul.utils.typing import Array, Shape

IDENTITY = "node_identity"


class Nodes(NamedTuple):
    """The nodes of a batch, in float32 at least, 0 where padded.

    Attributes:
        positions: positions as given `(B, N, D)`.
        features: dict of all features; its positions are centered, and in
            units of `length_unit`, its velocities in `length_unit / time_unit`.
        mask: booleans `(B, N)`, or None.
    """

    positions: Array
    features: dict[str, Array]
    mask: Array | None


class Pairs(NamedTuple):
    """The pairs between which messages pass; K = N without a list.

    Attributes:
        neighbors: list `(B, N, K)`, or None for all nodes.
        mask: booleans `(B, N, K)` or `(1, N, N)`, true for existing pairs.
        edges: given features of the pairs `(B, N, K, F)`, or None.
        away: x_i - x_j `(B, N, K, D)`, in units of `length_unit`.
        square: its square `(B, N, K, 1)`.
        offsets: lattice vectors from x_j to the chosen image of j `(B, N, K,
            D)`; None without a box.
    """

    neighbors: Array | None
    mask: Array
    edges: Array | None
    away: Array
    square: Array
    offsets: Array | None


class NodeReader(ModelMixin):
    """The part of a `NodeModel` that checks and reads inputs."""

    @property
    def periodic(self) -> bool:
        """Whether the model was built for a periodic box."""
        return self.box_shape is not None

    @property
    def embedded_width(self) -> int:
        """Width of `embedded`."""
        width = sum(self.node_shapes.values())
        if self.periodic:
            width -= self.node_shapes["positions"]
        return width or 1

    def read(self, inputs: dict[str, Array]) -> Nodes:
        """Reads the nodes: checks, centers and scales them.

        Args:
            inputs: dict of the arrays that the model is called with. The keys
                and shapes are those of `docs/models.md`.

        Returns:
            `Nodes`.

        Raises:
            ValueError: keys or shapes differ from those of the build.
        """
        if self.node_identity:
            x = ops.cast(inputs["positions"], self.geometry_dtype)
            one_hot = ops.eye(x.shape[1], dtype=self.geometry_dtype)
            identity = ops.ones_like(x[:, :, :1]) * one_hot
            inputs = {**inputs, IDENTITY: identity}
        self.check_inputs(inputs)
        mask = inputs.get("mask")
        x = {
            key: ops.cast(inputs[key], self.geometry_dtype)
            for key in in_order(self.node_shapes)
        }
        if mask is None:
            center = ops.mean(x["positions"], axis=1, keepdims=True)
        else:
            mask = ops.cast(mask, "bool")
            valid = mask[:, :, None]  # (B, N, 1)
            # Not a product: that would let a padded NaN through.
            x = {key: ops.where(valid, x[key], 0.0) for key in x}
            count = ops.sum(ops.cast(valid, self.geometry_dtype), 1, True)
            center = ops.sum(x["positions"], axis=1, keepdims=True)
            center = center / ops.maximum(count, 1.0)  # (B, 1, D)
        y = x["positions"]
        x["positions"] = (y - center) / self.length_unit
        if "velocities" in x:
            # Not in place: without a mask this may be the array of the caller.
            x["velocities"] = x["velocities"] * (
                self.time_unit / self.length_unit
            )
        return Nodes(y, x, mask)

    def read_pairs(self, inputs: dict[str, Array], nodes: Nodes) -> Pairs:
        """Reads the pairs of nodes, in a periodic box or without one.

        Args:
            inputs: dict of the arrays that the model is called with.
            nodes: the `Nodes` that `read` made of them.

        Returns:
            `Pairs`.
        """
        neighbors = inputs.get("neighbors")
        if neighbors is not None:
            neighbors = ops.cast(neighbors, "int32")
        num_nodes = ops.shape(nodes.positions)[1]
        shifts = inputs.get("shifts")
        mask = pair_mask(neighbors, nodes.mask, num_nodes, shifts)
        edges = inputs.get("edges")
        if edges is not None:
            edges = ops.cast(edges, self.geometry_dtype)
            edges = ops.where(mask[..., None], edges, 0.0)
        x, box = nodes.features["positions"], inputs.get("box")
        away, square = displacements(x, neighbors)
        if box is None:
            return Pairs(neighbors, mask, edges, away, square, None)
        box = ops.cast(box, self.geometry_dtype) / self.length_unit
        # The first axis is that of the batch, as of all inputs of models.
        box = box[:, None] if len(box.shape) == 2 else box
        if shifts is None:
            offsets = nearest_lattice_vector(away, box)
        else:
            offsets = lattice_vector(ops.cast(shifts, x.dtype), box)
        away, square = displacements(x, neighbors, offsets)
        return Pairs(neighbors, mask, edges, away, square, offsets)

    def in_cell(
        self, weights: Array, inputs: dict[str, Array], pairs: Pairs
    ) -> Array:
        """Weights of pairs; NaN where a cell is too small for `cutoff`.

        Of several images within the cut-off, all pairs have place for one.

        Args:
            weights: `(B, N, K)`.
            inputs: dict of the arrays that the model is called with.
            pairs: the `Pairs` that `read_pairs` made of them.

        Returns:
            Array `(B, N, K)`.
        """
        if pairs.neighbors is not None or pairs.offsets is None:
            return weights
        box = ops.cast(inputs["box"], self.geometry_dtype)
        box = box[:, None] if len(box.shape) == 2 else box
        fits = 2.0 * self.cutoff <= shortest_period(box) * (1.0 + 1e-6)
        return ops.where(fits[:, None, None], weights, float("nan"))

    def embedded(self, nodes: Nodes) -> Array:
        """The features of each node that the embedding sees.

        Args:
            nodes: the `Nodes` of the inputs.

        Returns:
            Array `(B, N, F)`, F = `embedded_width`: all features side by side,
            without the positions in a periodic box.
        """
        features = dict(nodes.features)
        if self.periodic:
            x = features.pop("positions")
            features = features or {"one": ops.ones_like(x[..., :1])}
        return ops.concatenate(list(features.values()), axis=-1)

    def count_pair_features(self) -> int:
        """Width of `pair_features`."""
        scalars = set(self.node_shapes) - {"positions", "velocities"}
        if not scalars.issuperset(self.edge_products):
            raise ValueError(
                "Expected `edge_products` to name invariant features of the "
                f"nodes, {sorted(scalars)}. Received: {self.edge_products}"
            )
        products = sum(self.node_shapes[key] for key in self.edge_products)
        return 1 + products + self.edge_dim

    def pair_features(self, nodes: Nodes, pairs: Pairs) -> Array:
        """Squared distances, products f_i f_j of features, given features.

        Args:
            nodes: the `Nodes` of the inputs.
            pairs: their `Pairs`.

        Returns:
            Array `(B, N, K, F)`, F = `count_pair_features()`.
        """
        result = [pairs.square]
        for key in self.edge_products:
            f = nodes.features[key]
            result.append(
                ops.expand_dims(f, 2) * gather_nodes(f, pairs.neighbors)
            )
        if pairs.edges is not None:
            result.append(pairs.edges)
        return ops.concatenate(result, axis=-1)

    def check_inputs(self, inputs: dict[str, Array]) -> None:
        """Checks that the inputs have the keys and shapes of the build.

        Args:
            inputs: dict of arrays.

        Raises:
            ValueError: they differ; the message says in what.
        """
        shapes = {key: x.shape for key, x in inputs.items()}
        received = node_shapes(shapes, self.reads_pairs)
        if received != self.node_shapes:
            raise ValueError(
                "Expected the keys of `inputs`, with the length of the last "
                f"axis, to be those of the build: {self.node_shapes}. "
                f"Received: {received}"
            )
        edge_dim = shapes.get("edges", (0,))[-1]
        if edge_dim != self.edge_dim:
            raise ValueError(
                f"The model was built with {self.edge_dim} features of pairs "
                f'in inputs["edges"]. Received: {edge_dim}'
            )
        self.check_box(shapes)
        if self.reads_coordinates and ("box" in shapes) != self.periodic:
            raise ValueError(
                f"The model was built {'with' if self.periodic else 'without'} "
                'a periodic inputs["box"], in which it sees positions as '
                "differences only. Build another model."
            )

    def check_box(self, shapes: dict[str, Shape]) -> None:
        """Checks that a periodic box fits the nodes.

        Args:
            shapes: dict of the shapes of the inputs, tuples.

        Raises:
            ValueError: `"shifts"` come without a box or a neighbor list, or the
                shape of the box is another one than that of the build.
        """
        for key, needed in (("shifts", "box"), ("shifts", "neighbors")):
            if key in shapes and needed not in shapes:
                raise ValueError(
                    f"inputs[{key!r}] needs inputs[{needed!r}] as well."
                )
        if "box" not in shapes:
            return
        box, (batch, _, dim) = tuple(shapes["box"]), shapes["positions"]
        if self.box_shape is None:
            standard_box(keras.KerasTensor(box), batch or -1, dim)
        elif box[1:] != tuple(self.box_shape[1:]):
            raise ValueError(
                'The model was built with inputs["box"] of the shape '
                f"{tuple(self.box_shape)}. Received: {box}"
            )
