"""PointEdgeTransformer: local, smooth, lists, cells, elements."""

import keras
import numpy as np
import pytest
from compiled import outputs
from keras import ops

from keras_remul import graphs
from keras_remul.layers import PointEdgeBlock
from keras_remul.models import PointEdgeTransformer, Potential

pytestmark = pytest.mark.usefixtures("untraced")

CUTOFF = 2.5


def small(**kwargs):
    keras.utils.set_random_seed(0)
    kwargs = {"readout": "nodes", "num_layers": 2, **kwargs}
    return PointEdgeTransformer(
        hidden_dim=8, num_heads=2, cutoff=CUTOFF, **kwargs
    )


def atoms(batch=2, count=8, size=1.5):
    rng = np.random.default_rng(0)
    return {
        "positions": size * rng.normal(size=(batch, count, 3)).astype("f4"),
        "atomic_numbers": rng.integers(1, 9, size=(batch, count, 1)),
    }


def predict(model, x):
    return model.predict(x, batch_size=512, verbose=0)


def test_a_list_gives_what_all_pairs_give():
    x, model = atoms(), small()
    expected = outputs(model, x)
    # With a skin, and with places that stay empty.
    for cutoff, width in ((CUTOFF, 7), (CUTOFF + 1.0, 10)):
        neighbors = graphs.radius_graph(x["positions"], cutoff, width)
        found = outputs(model, {**x, "neighbors": neighbors})
        np.testing.assert_allclose(found, expected, atol=2e-6)


def test_a_list_without_the_other_direction_is_an_error():
    x, model = atoms(), small()
    short = graphs.radius_graph(x["positions"], CUTOFF, 1)
    found = outputs(model, {**x, "neighbors": short})
    assert np.isnan(found).any(axis=(1, 2)).all()


def test_energy_and_forces_are_continuous_at_the_cutoff():
    """An atom goes through the cut-offs of two others, one after another."""
    steps = np.linspace(0.9 * CUTOFF, 1.1 * CUTOFF, 401)
    x = np.zeros((len(steps), 3, 3), "float32")
    x[:, 0, 0], x[:, 1, 1], x[:, 2, 0] = -0.1, 0.3, steps
    x = {"positions": x, "atomic_numbers": np.full((len(steps), 3, 1), 6)}
    model = Potential(small())
    y = predict(model, x)
    neighbors = graphs.radius_graph(x["positions"], CUTOFF, 2)
    listed = predict(model, {**x, "neighbors": neighbors})
    for key in ("energy", "forces"):
        values = y[key].reshape(len(steps), -1).astype("float64")
        jump = np.abs(np.diff(values, axis=0)).max()
        assert jump < 0.05 * max(np.ptp(values), 1e-3)
        size = max(np.abs(values).max(), 1.0)
        np.testing.assert_allclose(listed[key], y[key], atol=3e-6 * size)
    assert np.abs(y["forces"][0]).max() > 1e-3
    # Beyond, it is alone.
    assert np.abs(y["forces"][-1, 2]).max() < 1e-6


@pytest.mark.backend_independent
def test_an_atom_sees_as_far_as_layers_reach():
    line = np.zeros((1, 6, 3), "float32")
    line[0, :, 0] = 2.0 * np.arange(6)
    for layers in (1, 2):
        model = small(num_layers=layers)
        x = {"positions": line}
        moved = line.copy()
        moved[0, 5, 1] += 0.5
        change = outputs(model, {"positions": moved}) - outputs(model, x)
        seen = np.abs(change[0]).max(axis=-1) > 1e-7
        # The last one itself, and `layers` atoms before it.
        assert seen.tolist() == [i >= 5 - layers for i in range(6)]


@pytest.mark.parametrize("cell", ["triclinic", "film", "small"])
def test_cells(cell):
    """A cell and twice the cell have the same energy of each atom."""
    box = {
        "triclinic": [[6.0, 0, 0], [1.5, 6.5, 0], [-1.0, 2.0, 6.0]],
        "film": [[6.0, 0, 0], [2.0, 6.0, 0], [0, 0, 0]],
        "small": [[1.9, 0, 0], [0.3, 2.1, 0], [0, 0.4, 2.4]],
    }[cell]
    box = np.array([box], "float32")
    x = atoms(1, 2 if cell == "small" else 6)
    if cell == "small":
        x["positions"] = np.array([[[0, 0, 0], [1.0, 0.9, 1.1]]], "float32")
    model = small(readout="graph")

    def energy(x, box):
        neighbors, shifts = graphs.periodic_graph(x["positions"], CUTOFF, box)
        inputs = {**x, "box": box, "neighbors": neighbors, "shifts": shifts}
        return outputs(model, inputs)[0, 0]

    once = energy(x, box)
    twice = {
        "positions": np.concatenate(
            [x["positions"], x["positions"] + box[:, :1]], axis=1
        ),
        "atomic_numbers": np.concatenate([x["atomic_numbers"]] * 2, axis=1),
    }
    double = box.copy()
    double[:, 0] *= 2
    assert abs(energy(twice, double) - 2 * once) < 2e-5 * max(1, abs(once))
    dense = outputs(model, {**x, "box": box})[0, 0]
    if cell == "small":  # several images of one atom
        assert np.isnan(dense)
    else:
        assert abs(dense - once) < 1e-5 * max(1, abs(once))
    assert abs(outputs(model, x)[0, 0] - once) > 1e-4


def test_numbers_that_are_no_elements():
    x, model = atoms(), small()
    for number in (0, 119, -1):
        wrong = {**x, "atomic_numbers": np.array(x["atomic_numbers"])}
        wrong["atomic_numbers"][0, 3] = number
        y = outputs(model, wrong)
        assert np.isnan(y[0, 3]).any() and np.isfinite(y[1]).all()
    # Padding may hold any.
    mask = np.ones((2, 8), bool)
    mask[0, 3] = False
    assert np.isfinite(outputs(model, {**wrong, "mask": mask})).all()


@pytest.mark.backend_independent
def test_elements_differ():
    x, model = atoms(), small()
    y = outputs(model, x)
    other = {**x, "atomic_numbers": x["atomic_numbers"][:, ::-1]}
    assert np.abs(outputs(model, other) - y).max() > 1e-3


@pytest.mark.parametrize("shifted", [False, True])
def test_the_other_direction_of_each_edge(shifted):
    rng = np.random.default_rng(0)
    x = rng.uniform(0, 3, size=(2, 5, 3)).astype("float32")
    box = np.tile(3.0 * np.eye(3, dtype="float32"), (2, 1, 1))
    shifts = None
    if shifted:
        neighbors, shifts = graphs.periodic_graph(x, 2.0, box)
    else:
        neighbors = ops.convert_to_numpy(graphs.radius_graph(x, 2.0, 4))
    index, found = map(
        ops.convert_to_numpy, graphs.reverse_edges(neighbors, shifts)
    )
    assert (found == (neighbors >= 0)).all()
    width = 1 + neighbors.shape[-1]
    for b, i, k in np.argwhere(neighbors >= 0):
        j, place = divmod(index[b, i, 1 + k], width)
        assert j == neighbors[b, i, k]
        assert neighbors[b, j, place - 1] == i
        if shifted:
            other = shifts[b, j, place - 1]
            assert (other == -shifts[b, i, k]).all()
    # Twice is the identity.
    tokens = rng.normal(size=(2, 5, width, 3)).astype("float32")
    twice = graphs.take_edges(graphs.take_edges(tokens, index), index)
    exists = np.pad(neighbors >= 0, ((0, 0), (0, 0), (1, 0)))
    exists[..., 0] = True
    np.testing.assert_array_equal(
        ops.convert_to_numpy(twice)[exists], tokens[exists]
    )


def test_the_block_by_itself():
    """All pairs, and the same as a list."""
    rng = np.random.default_rng(0)
    tokens = rng.normal(size=(2, 4, 4, 8)).astype("float32")
    directions = rng.normal(size=(2, 4, 4, 3)).astype("float32")
    weights = rng.normal(size=(2, 4, 4)).astype("float32")
    block = PointEdgeBlock(8, 2)
    y = block(tokens, directions, weights)
    place = np.arange(16).reshape(4, 4).T
    index = np.tile(place, (2, 1, 1)).astype("int32")
    listed = block(tokens, directions, weights, index)
    np.testing.assert_allclose(
        ops.convert_to_numpy(listed), ops.convert_to_numpy(y), atol=1e-6
    )
