"""Neighbour lists against a loop in NumPy."""

import numpy as np
import pytest
from keras import ops

from keras_remul import graphs

BATCH, NODES = 3, 8


def neighbours(x, mask, cutoff, box):
    """Sets of neighbours of each node, from all images of each other one."""
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
    boxes = np.array([[1.0, 1.2, 1.1]] * BATCH, "float32")
    box, other = (boxes, None) if periodic else (None, boxes)
    found = graphs.radius_graph(x, 0.5, NODES, mask, box)
    assert tuple(found.shape) == (BATCH, NODES, NODES)
    assert sets(found) == neighbours(x, mask, 0.5, box)
    assert sets(found) != neighbours(x, mask, 0.5, other)


def test_nearest_first_and_no_more_than_asked(x, mask):
    found = ops.convert_to_numpy(graphs.knn_graph(x, 3, mask))
    everyone = ops.convert_to_numpy(graphs.radius_graph(x, 9.0, NODES, mask))
    np.testing.assert_array_equal(found, everyone[..., :3])
    assert (found[2] == -1).all()  # one node has no neighbour
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
    with pytest.raises(ValueError, match="one neighbour or more.*0"):
        graphs.knn_graph(x, 0)
