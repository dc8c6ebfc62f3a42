"""Neighbor lists: who sends messages to whom, in arrays of constant shape.

A list is an integer array `(B, N, K)`: entry [b, i, :] names the senders j of
receiver i, and -1 fills the rest. Shapes do not depend on the data, so that
all of this can be compiled on each backend. A number that is no node, N or
above, stands for an error: models give NaN there.
"""

from __future__ import annotations

import math

import keras
from keras import ops

from keras_remul import backend
from keras_remul.periodic import minimum_image as minimum_image
from keras_remul.periodic import periodic_graph as periodic_graph
from keras_remul.periodic import shortest_period, standard_box
from keras_remul.utils.typing import Array

PADDING = -1


def radius_graph(
    positions: Array,
    cutoff: float,
    max_neighbors: int,
    mask: Array | None = None,
    box: Array | None = None,
) -> Array:
    """The neighbors of each node within a distance.

    Compares all pairs: the time and memory are those of `(B, N, N, D)`. Where
    more than `max_neighbors` are within the cut-off, the nearest are kept.

    In a periodic box each node is listed once, by its nearest image. That is
    all of them as long as the cut-off is at most half of the shortest lattice
    vector; for others take `periodic_graph`.

    Args:
        positions: `(B, N, D)`, floats or integers.
        cutoff: largest distance.
        max_neighbors: K.
        mask: optional `(B, N)`, true where a node is valid. Padded nodes have
            no neighbors and are nobody's.
        box: optional periodic box, see `periodic`.

    Returns:
        `(B, N, K)` int32, the nearest first, filled with -1.

    Raises:
        ValueError: `cutoff` or `max_neighbors` is not above 0; `box` has
            another shape, or is too small for the cut-off. Compiled code
            cannot raise: there the list of such a sample holds N.

    Example:
        >>> x = keras.random.uniform((8, 100, 3))
        >>> radius_graph(x, cutoff=0.2, max_neighbors=16).shape
        (8, 100, 16)
    """
    if not cutoff > 0:
        raise ValueError(f"Expected `cutoff` > 0. Received: {cutoff}")
    return _nearest(positions, max_neighbors, mask, box, cutoff)


def knn_graph(
    positions: Array,
    k: int,
    mask: Array | None = None,
    box: Array | None = None,
) -> Array:
    """The k nearest neighbors of each node.

    In a periodic box: the k other nodes whose nearest images are nearest, each
    of them once.

    Args:
        positions: `(B, N, D)`.
        k: K. Where fewer than k other nodes are valid, -1 fills the rest.
        mask: optional `(B, N)`, true where a node is valid.
        box: optional periodic box, see `periodic`.

    Returns:
        `(B, N, K)` int32, the nearest first.

    Raises:
        ValueError: `k` is not above 0, or `box` has another shape.

    Example:
        >>> knn_graph(keras.random.normal((8, 100, 3)), k=6).shape
        (8, 100, 6)
    """
    return _nearest(positions, k, mask, box, None)


def _nearest(positions, count, mask, box, cutoff):
    if count < 1:
        raise ValueError(f"Expected one neighbor or more. Received: {count}")
    x = _floats(positions)
    num_nodes = ops.shape(x)[1]
    nodes = _in_order_of_distance(count, x, mask, box, cutoff)
    if box is None or cutoff is None:
        return nodes
    box = standard_box(ops.cast(box, x.dtype), x.shape[0], x.shape[-1])
    period = shortest_period(box)
    message = (
        f"cutoff={cutoff} is above half of the shortest period of the box, so "
        "that one node has several images within it. Take "
        "`graphs.periodic_graph`, which lists them all. Received the periods: "
    )
    # Not `above`: a NaN fits nothing.
    fits = 2.0 * cutoff <= period * (1.0 + 1e-6)
    return _valid(nodes, fits, num_nodes, message, period)


def _in_order_of_distance(count, x, mask, box, cutoff):
    away = minimum_image(displacements(x)[0], box)
    square = ops.sum(ops.square(away), axis=-1)  # (B, N, N)
    found = pair_mask(None, mask, ops.shape(x)[1])
    if cutoff is not None:
        found = ops.logical_and(found, square <= cutoff**2)
    square = ops.where(found, square, float("inf"))
    # There may be fewer nodes than places.
    square = ops.pad(
        square, ((0, 0), (0, 0), (0, count)), constant_values=float("inf")
    )
    distances, nodes = ops.top_k(-square, count)  # (B, N, K)
    nodes = ops.cast(nodes, "int32")
    return ops.where(ops.isfinite(distances), nodes, PADDING)


_in_order_of_distance = backend.one_program(_in_order_of_distance, static=0)


def _floats(x):
    """x with digits enough for distances."""
    x = ops.convert_to_tensor(x)
    dtype = keras.backend.standardize_dtype(x.dtype)
    if not keras.backend.is_float_dtype(dtype):
        return ops.cast(x, keras.config.floatx())
    return ops.cast(x, "float32") if dtype in ("float16", "bfloat16") else x


def _valid(nodes, fits, num_nodes, message, value):
    """The list; where samples do not fit an error or, compiled, N."""
    if not backend.is_traced(fits) and not ops.all(fits):
        raise ValueError(message + str(ops.convert_to_numpy(value).tolist()))
    return ops.where(fits[:, None, None], nodes, num_nodes)


def gather_nodes(x: Array, neighbors: Array | None) -> Array:
    """The features of the senders of each receiver.

    Args:
        x: `(B, N, C)`, floats or booleans.
        neighbors: `(B, N, K)`, or None for all nodes. Where it is negative the
            result holds those of node 0, where it is N or above NaN or True.

    Returns:
        `(B, N, K, C)`, or `(B, 1, N, C)` for all nodes.
    """
    if neighbors is None:
        return x[:, None]
    x = ops.convert_to_tensor(x)
    if x.shape[0] == 0:  # nothing can be taken, but weights have gradients
        return ops.broadcast_to(x[:, :, None], (*neighbors.shape, x.shape[-1]))
    batch, nodes = ops.shape(x)[0], ops.shape(x)[1]
    # One more node for numbers that are none: silence would be worse.
    is_bool = keras.backend.standardize_dtype(x.dtype) == "bool"
    nothing = True if is_bool else float("nan")
    x = ops.concatenate([x, ops.full_like(x[:, :1], nothing)], axis=1)
    offset = (nodes + 1) * ops.arange(batch, dtype="int32")[:, None, None]
    # N is an array here: an exported program would keep the number of today.
    last = ops.arange(nodes + 1, dtype="int32")[-1:]
    index = ops.maximum(ops.cast(neighbors, "int32"), 0)
    index = ops.minimum(index, last) + offset
    return ops.take(ops.reshape(x, (-1, x.shape[-1])), index, axis=0)


def in_order(x: Array, identity: Array) -> Array:
    """The nodes, each at the place that its one-hot identity names.

    `x_k = sum_i identity_ik x_i`

    Nodes are moved, not multiplied by ones, which a GPU would round.

    Args:
        x: `(B, N, C)`.
        identity: one-hot `(B, N, N)`: which of the N known nodes each one is;
            of padded nodes, zeros.

    Returns:
        `(B, N, C)`, zeros where no node is named; with the transpose of
        `identity`, back.
    """
    identity = ops.cast(identity, "bool")
    index = ops.argmax(ops.cast(identity, "int32"), axis=1)[..., None]
    moved = gather_nodes(x, index)[:, :, 0]
    named = ops.any(identity, axis=1)[..., None]
    return ops.where(named, moved, ops.zeros_like(moved))


def displacements(
    positions: Array,
    neighbors: Array | None = None,
    offsets: Array | None = None,
) -> tuple[Array, Array]:
    """x_i - x_j of each pair, and its square.

    Args:
        positions: `(B, N, D)`.
        neighbors: `(B, N, K)`, or None for all nodes, K = N.
        offsets: optional `(B, N, K, D)`: the image of x_j that is meant lies
            at x_j plus this.

    Returns:
        `(B, N, K, D)` and `(B, N, K, 1)`.
    """
    away = ops.expand_dims(positions, 2) - gather_nodes(positions, neighbors)
    if offsets is not None:
        away = away - offsets
    return away, ops.sum(ops.square(away), axis=-1, keepdims=True)


def pair_mask(
    neighbors: Array | None,
    mask: Array | None,
    num_nodes: int,
    shifts: Array | None = None,
) -> Array:
    """Which pairs exist: valid on both ends, and nobody with himself.

    Args:
        neighbors: `(B, N, K)`, or None for all nodes.
        mask: `(B, N)`, true where a node is valid, or None.
        num_nodes: N.
        shifts: optional `(B, N, K, D)`, see `periodic_graph`: a node is
            paired with images of itself.

    Returns:
        Booleans `(B, N, K)`; for all nodes `(B, N, N)`, or `(1, N, N)` where
        there is no mask.
    """
    receivers = ops.arange(0, num_nodes, dtype="int32")[None, :, None]
    if neighbors is None:
        senders = ops.swapaxes(receivers, 1, 2)
        pairs = ops.not_equal(receivers, senders)
    else:
        senders = ops.cast(neighbors, "int32")
        pairs = ops.not_equal(receivers, senders)
        if shifts is not None:
            shifted = ops.any(ops.not_equal(shifts, 0), axis=-1)
            pairs = ops.logical_or(pairs, shifted)
        pairs = ops.logical_and(senders >= 0, pairs)
    if mask is None:
        return pairs
    mask = ops.cast(mask, "bool")[..., None]  # (B, N, 1)
    valid = gather_nodes(mask, neighbors)[..., 0]  # (B, N or 1, K)
    return ops.logical_and(pairs, ops.logical_and(mask, valid))


def with_self(neighbors: Array) -> Array:
    """A list in which each node comes first among its own neighbors.

    Args:
        neighbors: `(B, N, K)`.

    Returns:
        `(B, N, 1 + K)` int32.
    """
    neighbors = ops.cast(neighbors, "int32")
    own = ops.arange(ops.shape(neighbors)[1], dtype="int32")[None, :, None]
    own = own + ops.zeros_like(neighbors[..., :1])
    return ops.concatenate([own, neighbors], axis=-1)


def reverse_edges(
    neighbors: Array, shifts: Array | None = None
) -> tuple[Array, Array]:
    """Where the edge from i to j stands, for each edge from j to i.

    Args:
        neighbors: `(B, N, K)`.
        shifts: optional `(B, N, K, D)`, see `periodic_graph`.

    Returns:
        Indices `(B, N, 1 + K)` for `take_edges`, of the edges of the list
        `with_self`; and booleans `(B, N, K)`: whether the other direction is in
        the list. Where it is not, the index is that of the node itself.
    """
    neighbors = ops.cast(neighbors, "int32")
    batch, nodes, width = ops.shape(neighbors)
    own = ops.arange(nodes, dtype="int32")[None, :, None]
    flat = ops.reshape(neighbors, (batch, nodes * width))
    flat = ops.maximum(ops.minimum(flat, nodes - 1), 0)[..., None]

    def of_senders(lists, axes):
        channels = math.prod(axes) * width
        lists = ops.reshape(lists, (batch, nodes, channels))
        lists = ops.take_along_axis(lists, flat, axis=1)
        return ops.reshape(lists, (batch, nodes, width, width, *axes))

    same = of_senders(neighbors, ()) == own[..., None]  # (B, N, K, K)
    if shifts is not None:
        moved = ops.cast(shifts, "int32")
        opposite = of_senders(moved, moved.shape[3:]) == -moved[:, :, :, None]
        same = ops.logical_and(same, ops.all(opposite, axis=-1))
    exists = (neighbors >= 0) & (neighbors < nodes)
    found = ops.logical_and(ops.any(same, axis=-1), exists)
    place = 1 + ops.cast(ops.argmax(ops.cast(same, "int32"), axis=-1), "int32")
    index = ops.where(found, neighbors * (1 + width) + place, own * (1 + width))
    index = ops.concatenate([own * (1 + width) + index[..., :1] * 0, index], -1)
    return index, found


def take_edges(values: Array, index: Array) -> Array:
    """Values of edges in the order of an index within each sample.

    Args:
        values: `(B, N, K, C)`.
        index: integers `(B, N, K)`, from 0 to N K - 1.

    Returns:
        `(B, N, K, C)`.
    """
    values, index = ops.convert_to_tensor(values), ops.cast(index, "int32")
    batch, nodes, width, channels = ops.shape(values)
    first = ops.arange(batch, dtype="int32") * (nodes * width)
    rows = ops.reshape(values, (-1, channels))
    return ops.take(rows, index + first[:, None, None], axis=0)


def to_edge_index(neighbors: Array) -> Array:
    """A neighbor list as pairs of sender and receiver.

    Args:
        neighbors: `(B, N, K)`.

    Returns:
        `(B, 2, E)` int32, E = N K: senders j, then receivers i; both -1 where
        the list holds a negative number.
    """
    senders = ops.cast(neighbors, "int32")
    num_nodes, width = ops.shape(senders)[1:]
    receivers = ops.arange(num_nodes, dtype="int32")[None, :, None]
    receivers = ops.where(senders >= 0, receivers, PADDING)
    edges = ops.stack([ops.maximum(senders, PADDING), receivers], axis=1)
    return ops.reshape(edges, (-1, 2, num_nodes * width))


def from_edge_index(
    edge_index: Array, num_nodes: int, max_neighbors: int
) -> Array:
    """Pairs of sender and receiver as a neighbor list.

    Sorts the edges by their receivers, so that the cost is E log E.

    Args:
        edge_index: `(B, 2, E)`: senders j, then receivers i; an edge with a
            negative number is padding.
        num_nodes: N.
        max_neighbors: K. Edges of a receiver beyond these are dropped, the
            last ones first.

    Returns:
        `(B, N, K)` int32, filled with -1, the senders of each receiver in the
        order in which they came.

    Raises:
        ValueError: a number is N or above. Compiled code cannot raise: there
            the list of such a sample holds N.
    """
    edges = ops.cast(edge_index, "int32")
    senders, receivers = edges[:, 0], edges[:, 1]  # (B, E)
    batch, count = ops.shape(senders)
    exists = ops.all(edges >= 0, axis=1)
    # In one row: the receivers of all samples, each with a place for padding.
    rows = num_nodes + 1
    key = ops.where(exists, ops.minimum(receivers, num_nodes), num_nodes)
    key = key + rows * ops.arange(batch, dtype="int32")[:, None]
    key = ops.reshape(key, (-1,))
    order = ops.argsort(key)  # keeps the order of equal ones
    places = ops.arange(batch * rows, dtype="int32")
    start = ops.cast(
        ops.searchsorted(ops.take(key, order, axis=0), places), "int32"
    )
    start = ops.reshape(start, (-1, rows))
    # The senders of a receiver stand between its start and that of the next.
    index = start[:, :-1, None] + ops.arange(max_neighbors, dtype="int32")
    senders = ops.take(ops.reshape(senders, (-1,)), order, axis=0)
    senders = ops.pad(senders, ((0, 1),), constant_values=PADDING)
    nodes = ops.take(senders, ops.minimum(index, batch * count), axis=0)
    nodes = ops.where(index < start[:, 1:, None], nodes, PADDING)
    top = ops.max(
        ops.pad(edges, ((0, 0), (0, 0), (0, 1)), constant_values=PADDING),
        axis=(1, 2),
    )
    message = (
        f"Expected nodes from 0 to {num_nodes - 1} in `edge_index`, or "
        "negative numbers for padding. Received as the largest: "
    )
    return _valid(nodes, top < num_nodes, num_nodes, message, top)
