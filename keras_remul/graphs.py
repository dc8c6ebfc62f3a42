"""Neighbour lists: who sends messages to whom, in arrays of constant shape.

A list is an integer array `(B, N, K)`: entry [b, i, :] names the senders j of
receiver i, and -1 fills the rest. Shapes do not depend on the data, so that
all of this can be compiled on each backend.
"""

from keras import ops

PADDING = -1


def minimum_image(difference, box):
    """The shortest of all periodic images of x_i - x_j.

    `d - L round(d / L)`

    Exact for cut-offs up to half of the shortest edge.

    Args:
        difference: `(B, ..., D)`.
        box: edges of a right-angled box `(D,)`, or `(B, D)`, one for each
            sample; None for free space, where `difference` is returned.

    Returns:
        `(B, ..., D)`.
    """
    if box is None:
        return difference
    box = ops.cast(box, difference.dtype)
    if len(box.shape) == 2:
        axes = (1,) * (len(difference.shape) - 2)
        box = ops.reshape(box, (-1, *axes, box.shape[-1]))
    return difference - box * ops.round(difference / box)


def radius_graph(positions, cutoff, max_neighbors, mask=None, box=None):
    """The neighbours of each node within a distance.

    Compares all pairs: the time and memory are those of `(B, N, N, D)`. Where
    more than `max_neighbors` are within the cut-off, the nearest are kept.

    Args:
        positions: `(B, N, D)`.
        cutoff: largest distance.
        max_neighbors: K.
        mask: optional `(B, N)`, true where a node is valid. Padded nodes have
            no neighbours and are nobody's.
        box: optional periodic box, see `minimum_image`.

    Returns:
        `(B, N, K)` int32, the nearest first, filled with -1.

    Raises:
        ValueError: `cutoff` or `max_neighbors` is not above 0.

    Example:
        >>> x = keras.random.uniform((8, 100, 3))
        >>> radius_graph(x, cutoff=0.2, max_neighbors=16).shape
        (8, 100, 16)
    """
    if not cutoff > 0:
        raise ValueError(f"Expected `cutoff` > 0. Received: {cutoff}")
    return _nearest(positions, max_neighbors, mask, box, cutoff)


def knn_graph(positions, k, mask=None, box=None):
    """The k nearest neighbours of each node.

    Args:
        positions: `(B, N, D)`.
        k: K. Where fewer than k other nodes are valid, -1 fills the rest.
        mask: optional `(B, N)`, true where a node is valid.
        box: optional periodic box, see `minimum_image`.

    Returns:
        `(B, N, K)` int32, the nearest first.

    Raises:
        ValueError: `k` is not above 0.

    Example:
        >>> knn_graph(keras.random.normal((8, 100, 3)), k=6).shape
        (8, 100, 6)
    """
    return _nearest(positions, k, mask, box, None)


def _nearest(positions, count, mask, box, cutoff):
    if count < 1:
        raise ValueError(f"Expected one neighbour or more. Received: {count}")
    positions = ops.convert_to_tensor(positions)
    square = displacements(positions, None, box)[1][..., 0]  # (B, N, N)
    found = pair_mask(None, mask, ops.shape(positions)[1])
    if cutoff is not None:
        found = ops.logical_and(found, square <= cutoff**2)
    square = ops.where(found, square, float("inf"))
    # There may be fewer nodes than places.
    square = ops.pad(
        square, ((0, 0), (0, 0), (0, count)), constant_values=float("inf")
    )
    distances, nodes = ops.top_k(-square, count)  # (B, N, K)
    nodes = ops.where(ops.isfinite(distances), nodes, PADDING)
    return ops.cast(nodes, "int32")


def gather_nodes(x, neighbors):
    """The features of the senders of each receiver.

    Args:
        x: `(B, N, C)`.
        neighbors: `(B, N, K)`, or None for all nodes. Where it is -1 the
            result holds those of node 0.

    Returns:
        `(B, N, K, C)`, or `(B, 1, N, C)` for all nodes.
    """
    if neighbors is None:
        return x[:, None]
    batch, nodes = ops.shape(x)[0], ops.shape(x)[1]
    offset = nodes * ops.arange(batch, dtype="int32")[:, None, None]
    index = ops.maximum(ops.cast(neighbors, "int32"), 0) + offset
    return ops.take(ops.reshape(x, (-1, x.shape[-1])), index, axis=0)


def in_order(x, identity):
    """The nodes, each at the place that its one-hot identity names.

    `x_k = sum_i identity_ik x_i`

    Args:
        x: `(B, N, C)`.
        identity: `(B, N, N)`: which of the N known nodes each one is.

    Returns:
        `(B, N, C)`; with the transpose of `identity`, back.
    """
    return ops.matmul(ops.swapaxes(identity, 1, 2), x)


def displacements(positions, neighbors=None, box=None):
    """x_i - x_j of each pair, and its square.

    Args:
        positions: `(B, N, D)`.
        neighbors: `(B, N, K)`, or None for all nodes, K = N.
        box: optional periodic box, see `minimum_image`.

    Returns:
        `(B, N, K, D)` and `(B, N, K, 1)`.
    """
    away = ops.expand_dims(positions, 2) - gather_nodes(positions, neighbors)
    away = minimum_image(away, box)
    return away, ops.sum(ops.square(away), axis=-1, keepdims=True)


def pair_mask(neighbors, mask, num_nodes):
    """Which pairs exist: valid on both ends, and nobody with himself.

    Args:
        neighbors: `(B, N, K)`, or None for all nodes.
        mask: `(B, N)`, true where a node is valid, or None.
        num_nodes: N.

    Returns:
        Booleans `(B, N, K)`; for all nodes `(B, N, N)`, or `(1, N, N)` where
        there is no mask.
    """
    receivers = ops.arange(0, num_nodes, dtype="int32")[None, :, None]
    if neighbors is None:
        senders = ops.swapaxes(receivers, 1, 2)
        pairs = ops.not_equal(receivers, senders)
    else:
        neighbors = ops.cast(neighbors, "int32")
        pairs = ops.logical_and(
            neighbors >= 0, ops.not_equal(receivers, neighbors)
        )
    if mask is None:
        return pairs
    mask = ops.cast(mask, "bool")[..., None]  # (B, N, 1)
    senders = gather_nodes(mask, neighbors)[..., 0]  # (B, N or 1, K)
    return ops.logical_and(pairs, ops.logical_and(mask, senders))


def to_edge_index(neighbors):
    """A neighbour list as pairs of sender and receiver.

    Args:
        neighbors: `(B, N, K)`.

    Returns:
        `(B, 2, E)` int32, E = N K: senders j, then receivers i; both -1 where
        the list holds -1.
    """
    senders = ops.cast(neighbors, "int32")
    num_nodes, width = ops.shape(senders)[1:]
    receivers = ops.arange(num_nodes, dtype="int32")[None, :, None]
    receivers = ops.where(senders >= 0, receivers, PADDING)
    edges = ops.stack([senders, receivers], axis=1)  # (B, 2, N, K)
    return ops.reshape(edges, (-1, 2, num_nodes * width))


def from_edge_index(edge_index, num_nodes, max_neighbors):
    """Pairs of sender and receiver as a neighbour list.

    Args:
        edge_index: `(B, 2, E)`: senders j, then receivers i, -1 for padding.
        num_nodes: N.
        max_neighbors: K. Edges of a receiver beyond these are dropped, the
            last ones first.

    Returns:
        `(B, N, K)` int32, filled with -1.
    """
    edges = ops.cast(edge_index, "int32")
    senders, receivers = edges[:, 0], edges[:, 1]  # (B, E)
    hit = ops.equal(receivers[:, :, None], ops.arange(num_nodes, dtype="int32"))
    hit = ops.logical_and(hit, senders[:, :, None] >= 0)  # (B, E, N)
    # The place of each edge among those of its receiver, 0, 1, ...
    hit = ops.cast(hit, "int32")
    place = ops.sum(ops.cumsum(hit, axis=1) * hit, axis=2) - 1  # (B, E)
    kept = ops.logical_and(place >= 0, place < max_neighbors)
    batch = ops.shape(senders)[0]
    slot = ops.arange(batch, dtype="int32")[:, None] * num_nodes + receivers
    slots = batch * num_nodes * max_neighbors
    slot = ops.where(kept, slot * max_neighbors + place, slots)
    found = ops.segment_max(
        ops.reshape(senders, (-1,)), ops.reshape(slot, (-1,)), slots + 1
    )
    found = ops.maximum(found[:slots], PADDING)
    return ops.reshape(found, (-1, num_nodes, max_neighbors))
