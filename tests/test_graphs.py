"""Neighbor lists against a loop in NumPy."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_remul import backend, graphs

BATCH, NODES = 3, 8


def neighbors(x, mask, cutoff, box):
    """Sets of neighbors of each node, from all images of each other one."""
    images = [0] if box is None else [-1, 0, 1]
    shifts = np.array(
        [[i, j, k] for i in images for j in images for k in images]
    )
    result = []
    for b in range(len(x)):
        lattice = shifts * (0 if box is None else box[b])
        for i in range(x.shape[1]):
            found = set()
            for j in range(x.shape[1]):
                gaps = x[b, i] - x[b, j] + lattice
                near = np.linalg.norm(gaps, axis=-1).min() <= cutoff
                if near and i != j and mask[b, i] and mask[b, j]:
                    found.add(j)
            result.append(found)
    return result


def sets(lists):
    rows = ops.convert_to_numpy(lists).reshape(-1, lists.shape[-1])
    assert all(len(set(r[r >= 0])) == (r >= 0).sum() for r in rows)
    return [set(row[row >= 0].tolist()) for row in rows]


@pytest.fixture
def x(rng):
    return rng.uniform(size=(BATCH, NODES, 3)).astype("float32")


@pytest.fixture
def mask():
    return np.arange(NODES) < np.array([[8], [5], [1]])


@pytest.mark.parametrize("periodic", [False, True])
def test_radius_graph(x, mask, periodic):
    boxes = np.array([[[1.0, 1.2, 1.1]]] * BATCH, "float32")
    box, other = (boxes, None) if periodic else (None, boxes)
    found = graphs.radius_graph(x, 0.5, NODES, mask, box)
    assert tuple(found.shape) == (BATCH, NODES, NODES)
    assert sets(found) == neighbors(x, mask, 0.5, box)
    assert sets(found) != neighbors(x, mask, 0.5, other)


def test_nearest_first_and_no_more_than_asked(x, mask):
    found = ops.convert_to_numpy(graphs.knn_graph(x, 3, mask))
    everyone = ops.convert_to_numpy(graphs.radius_graph(x, 9.0, NODES, mask))
    np.testing.assert_array_equal(found, everyone[..., :3])
    assert (found[2] == -1).all()  # one node has no neighbor
    assert (found[1, 5:] == -1).all()
    distances = np.linalg.norm(x[0, :, None] - x[0][found[0]], axis=-1)
    assert (np.diff(distances, axis=-1) >= 0).all()
    wide = graphs.knn_graph(x[:, :2], 4)
    np.testing.assert_array_equal(
        ops.convert_to_numpy(wide), [[[1, -1, -1, -1], [0, -1, -1, -1]]] * 3
    )


def test_minimum_image():
    d = np.array([[[0.4, 0.6, -0.6], [1.4, -2.1, 0.0]]], "float32")
    expected = [[[0.4, -0.4, 0.4], [0.4, -0.1, 0.0]]]
    for box in (np.ones(3, "float32"), np.ones((1, 3), "float32")):
        y = graphs.minimum_image(ops.convert_to_tensor(d), box)
        np.testing.assert_allclose(ops.convert_to_numpy(y), expected, atol=1e-6)


def test_edge_index_and_back(x, mask):
    found = graphs.radius_graph(x, 0.6, 5, mask)
    edges = graphs.to_edge_index(found)
    assert tuple(edges.shape) == (BATCH, 2, NODES * 5)
    numbers = ops.convert_to_numpy(edges)
    listed = ops.convert_to_numpy(found)
    for b in range(BATCH):
        pairs = {(s, r) for s, r in numbers[b].T if s >= 0}
        assert pairs == {
            (listed[b, r, k], r)
            for r in range(NODES)
            for k in range(5)
            if listed[b, r, k] >= 0
        }
    shuffled = numbers[..., np.random.default_rng(0).permutation(NODES * 5)]
    again = graphs.from_edge_index(shuffled, NODES, 5)
    assert tuple(again.shape) == (BATCH, NODES, 5)
    assert sets(again) == sets(found)
    first = graphs.from_edge_index(edges, NODES, 2)
    np.testing.assert_array_equal(ops.convert_to_numpy(first), listed[..., :2])


def test_clear_errors(x):
    with pytest.raises(ValueError, match="cutoff.*0.0"):
        graphs.radius_graph(x, 0.0, 4)
    with pytest.raises(ValueError, match="one neighbor or more.*0"):
        graphs.knn_graph(x, 0)


def numpy(x):
    return ops.convert_to_numpy(x)


# --- Dtypes, sizes and numbers that are no nodes ---


@pytest.mark.parametrize(
    "dtype", ["int32", "int64", "uint8", "float16", "float64", "bfloat16"]
)
@pytest.mark.parametrize("mask_dtype", ["bool", "int32", "float32"])
def test_integer_and_other_positions(dtype, mask_dtype, rng, mask):
    x = rng.integers(0, 6, size=(BATCH, NODES, 3)).astype("float32")
    expected = sets(graphs.radius_graph(x, 3.5, NODES, mask))
    given = x.astype(dtype) if dtype != "bfloat16" else ops.cast(x, dtype)
    mask = mask.astype(mask_dtype)
    found = graphs.radius_graph(given, 3.5, NODES, mask)
    assert str(numpy(found).dtype) == "int32"
    assert sets(found) == expected != [set()] * len(expected)
    edges = np.full(3, 6, "int64")  # integers too
    boxed = graphs.radius_graph(given, 2.9, NODES, mask, edges)
    again = graphs.radius_graph(x, 2.9, NODES, mask, edges.astype("float32"))
    assert sets(boxed) == sets(again)
    assert sets(graphs.knn_graph(given, 7, mask)) == sets(
        graphs.knn_graph(x, 7, mask)
    )


@pytest.mark.parametrize("dtype", ["int32", "int64", "float32"])
def test_lists_of_any_dtype(dtype, x):
    found = numpy(graphs.radius_graph(x, 0.6, 5)).astype(dtype)
    edges = numpy(graphs.to_edge_index(found))
    again = graphs.from_edge_index(edges.astype(dtype), NODES, 5)
    np.testing.assert_array_equal(numpy(again), found)
    gathered = numpy(graphs.gather_nodes(x, found))
    index = np.maximum(found, 0).astype(int)
    for b in range(BATCH):
        np.testing.assert_array_equal(gathered[b], x[b][index[b]])


def slow_from_edge_index(edges, num_nodes, width):
    """Edge by edge."""
    result = np.full((len(edges), num_nodes, width), -1)
    for b, (senders, receivers) in enumerate(edges):
        filled = [0] * num_nodes
        for j, i in zip(senders, receivers, strict=True):
            if j < 0 or i < 0:
                continue
            if filled[i] < width:
                result[b, i, filled[i]] = j
            filled[i] += 1
    return result


@pytest.mark.parametrize("count", [0, 1, 40])
def test_from_edge_index_keeps_the_order_of_edges(count, rng):
    edges = rng.integers(-3, NODES, size=(BATCH, 2, count))
    found = graphs.from_edge_index(edges, NODES, 3)
    expected = slow_from_edge_index(edges, NODES, 3)
    np.testing.assert_array_equal(numpy(found), expected)
    assert count < 40 or (expected[..., -1] >= 0).any()


def test_from_edge_index_is_not_quadratic(rng):
    # (B, E, N) integers would be 64 GB.
    edges = rng.integers(0, 40_000, size=(1, 2, 400_000)).astype("int32")
    found = numpy(graphs.from_edge_index(edges, 40_000, 4))
    for i in (0, 777, 39_999):
        senders = edges[0, 0][edges[0, 1] == i][:4]
        np.testing.assert_array_equal(found[0, i, : len(senders)], senders)


def test_numbers_that_are_no_nodes(x):
    # Never those of another sample.
    neighbors = np.array([[[0, NODES, -1, -7, 99]] * NODES] * BATCH)
    gathered = numpy(graphs.gather_nodes(x, neighbors))
    np.testing.assert_array_equal(
        np.isnan(gathered[..., 0])[0, 0], [0, 1, 0, 0, 1]
    )
    np.testing.assert_array_equal(gathered[1, :, 2], [x[1, 0]] * NODES)
    # An error is not hidden by the mask of pairs.
    pairs = numpy(graphs.pair_mask(neighbors, np.ones((BATCH, NODES)), NODES))
    np.testing.assert_array_equal(pairs[0, 1], [1, 1, 0, 0, 1])
    for place in range(2):
        edges = np.zeros((2, 2, 4), "int32")
        edges[1, place, 2] = NODES
        with pytest.raises(ValueError, match="from 0 to 7.*8"):
            graphs.from_edge_index(edges, NODES, 3)


def jitted(function, *args, dynamic=()):
    """Compiled in one piece, on TensorFlow for axes of any length."""
    if keras.backend.backend() == "jax":
        import jax

        return jax.jit(function)(*args)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        specs = [
            tf.TensorSpec(
                [None] * dynamic[i] + list(a.shape[dynamic[i] :]), a.dtype
            )
            for i, a in enumerate(args)
        ]
        return tf.function(function, input_signature=specs)(*args)
    import torch

    class Module(torch.nn.Module):
        def forward(self, *args):
            return function(*args)

    args = tuple(torch.as_tensor(a) for a in args)
    return torch.export.export(Module(), args).module()(*args)


def test_compiled(x, mask):
    def run(x, mask):
        near = graphs.radius_graph(x, 0.5, 4, mask)
        nearest = graphs.knn_graph(x, 3, mask)
        edges = graphs.to_edge_index(near)
        again = graphs.from_edge_index(edges, ops.shape(x)[1], 4)
        return near, nearest, again, graphs.gather_nodes(x, near)

    found = jitted(run, x, mask, dynamic=(2, 2))
    for a, b in zip(found, run(x, mask), strict=True):
        np.testing.assert_array_equal(numpy(a), numpy(b))


def test_compiled_code_marks_what_it_cannot_refuse(x):
    edges = np.zeros((BATCH, 2, 4), "int32")
    edges[1, 0, 2] = NODES
    found = jitted(
        lambda e: graphs.from_edge_index(e, NODES, 2), edges, dynamic=(1,)
    )
    found = numpy(found)
    assert (found[1] == NODES).all() and (found[[0, 2]] < NODES).all()
    box = np.array([[[1.0, 1, 1]], [[0.8, 1, 1]], [[0, 1, np.inf]]], "float32")
    found = jitted(
        lambda x, box: graphs.radius_graph(x, 0.45, 2, box=box),
        x,
        box,
        dynamic=(2, 1),
    )
    found = numpy(found)
    assert (found[1] == NODES).all() and (found[[0, 2]] < NODES).all()


def test_in_order(x, rng):
    order = np.array([rng.permutation(NODES) for _ in range(BATCH)])
    identity = np.eye(NODES, dtype="float32")[order]
    identity[:, 5:] = 0.0  # padding
    shown = x.copy()
    shown[:, 5:] = np.nan
    for dtype in ("float32", "int32", "bool"):
        found = numpy(graphs.in_order(shown, identity.astype(dtype)))
        expected = np.zeros_like(x)
        for b in range(BATCH):
            for i in range(5):
                expected[b, order[b, i]] = x[b, i]
        np.testing.assert_array_equal(found, expected)
    back = numpy(graphs.in_order(found, np.swapaxes(identity, 1, 2)))
    np.testing.assert_array_equal(back[:, :5], x[:, :5])
    assert (back[:, 5:] == 0).all()
    # Its derivative goes back to where each number came from.
    there = ops.convert_to_tensor(x)
    change = backend.jvp(
        lambda x: graphs.in_order(x, ops.convert_to_tensor(identity))
    )(there, there)
    np.testing.assert_array_equal(numpy(change), expected)
