"""Periodic boxes against ASE's neighbor list, in models too."""

import keras
import numpy as np
import pytest
from keras import ops
from test_graphs import jitted, numpy

from keras_remul import backend, graphs, models, periodic

pytestmark = pytest.mark.usefixtures("untraced")

NODES = 5
# Rows of zeros are no periods.
CELLS = {
    "box": np.diag([4.0, 5.0, 3.5]),
    "triclinic": np.array([[4.0, 0, 0], [1.9, 3.8, 0], [-1.5, 1.2, 4.2]]),
    "skewed": np.array([[4.0, 0, 0], [13.0, 3.8, 0], [-6.5, -31.2, 4.2]]),
    "left-handed": np.array([[0.5, 4.0, 0], [4.1, 0, 0.3], [0, 0.4, 4.0]]),
    "film": np.array([[4.0, 0.3, 0], [1.6, 3.9, 0], [0, 0, 0]]),
    "wire": np.array([[0, 0, 0], [0, 0, 0], [0.4, 0, 3.2]]),
    "free": np.zeros((3, 3)),
}


def atoms(cell, seed=0):
    """Positions in the box and, by lattice vectors, far outside of it."""
    rng = np.random.default_rng(seed)
    full = np.where(cell.any(-1, keepdims=True), cell, 3.0 * np.eye(3))
    x = rng.uniform(size=(NODES, 3)) @ full
    return x + rng.integers(-2, 3, size=(NODES, 3)) @ cell


def reference(x, cell, cutoff):
    """Receiver, sender and shift of each image, as ASE finds them."""
    ase = pytest.importorskip("ase", reason="needs ase, of the extra md")
    from ase.neighborlist import neighbor_list

    pbc = cell.any(axis=-1)
    system = ase.Atoms(["H"] * len(x), positions=x, cell=cell, pbc=pbc)
    i, j, shift = neighbor_list("ijS", system, cutoff)
    return {(a, b, *s) for a, b, s in zip(i, j, shift.tolist(), strict=True)}


# --- Lists ---


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("cutoff", [1.5, 4.5, 9.0])
def test_list_of_images(name, cutoff):
    cell = CELLS[name]
    if name == "skewed":
        cutoff = min(cutoff, 4.5)  # ASE takes seconds
    x = np.stack([atoms(cell), atoms(cell, 1)])
    mask = np.array([[1] * NODES, [1, 1, 1, 1, 0]])
    given = np.where(mask[..., None], x, np.nan)
    neighbors, shifts = graphs.periodic_graph(
        given, cutoff, cell[None], mask=mask
    )
    for b, count in enumerate(mask.sum(axis=1)):
        found = {
            (i, j, *shift)
            for i in range(NODES)
            for j, shift in zip(
                neighbors[b, i].tolist(), shifts[b, i].tolist(), strict=True
            )
            if j >= 0
        }
        assert len(found) == (neighbors[b] >= 0).sum()
        expected = reference(x[b, :count], cell, cutoff)
        assert found == expected
        pairs = {t[:2] for t in expected}  # at 9 most have several images
        assert name == "free" or cutoff < 9 or len(pairs) < len(expected)
    index = np.arange(2)[:, None, None], np.maximum(neighbors, 0)
    distances = np.linalg.norm(
        x[:, :, None] - x[index] - shifts @ cell, axis=-1
    )
    assert distances[neighbors >= 0].max(initial=0.0) <= cutoff
    distances[neighbors < 0] = np.inf
    np.testing.assert_array_equal(np.sort(distances, axis=-1), distances)
    two, _ = graphs.periodic_graph(given, cutoff, cell[None], 2, mask)
    width = neighbors.shape[-1]
    np.testing.assert_array_equal(two[..., :width], neighbors[..., :2])


@pytest.mark.parametrize("name", CELLS)
def test_radius_graph_of_cells(name):
    cell = CELLS[name].astype("float32")
    x = np.stack([atoms(cell, seed) for seed in range(2)]).astype("float32")
    found = numpy(graphs.radius_graph(x, 1.5, NODES, box=cell[None]))
    for b in range(2):
        expected = {t[:2] for t in reference(x[b], cell, 1.5)}
        pairs = {(i, j) for i in range(NODES) for j in found[b, i] if j >= 0}
        assert pairs == expected
        assert name == "free" or expected


@pytest.mark.parametrize("edges", [[4.0, 0, 5], [4, np.inf, 5], [np.inf] * 3])
@pytest.mark.parametrize("form", [1, 2, 3])
def test_edges_that_are_no_periods(edges, form):
    cell = np.diag(np.where(np.isinf(edges), 0.0, edges))
    x = np.stack([atoms(cell), atoms(cell, 1)]).astype("float32")
    box = np.array(edges, "float32")
    box = {1: box, 2: np.stack([box, box]), 3: box[None, None]}[form]
    found = numpy(graphs.radius_graph(x, 1.9, NODES, box=box))
    listed, _ = graphs.periodic_graph(x, 1.9, box)
    for b in range(2):
        expected = {t[:2] for t in reference(x[b], cell, 1.9)}
        for lists in (found, listed):
            near = {(i, j) for i in range(NODES) for j in lists[b, i] if j >= 0}
            assert near == expected


def test_nearest_image_is_the_shortest_of_all(rng):
    # Any basis of the lattice gives the same; no other image is shorter.
    d = rng.normal(size=(len(CELLS), 30, 3)).astype("float32") * 20
    cells = np.stack(list(CELLS.values())).astype("float32")
    bases = np.eye(3)
    for i, j, k in [(0, 1, 3), (1, 2, -2), (2, 0, 1)]:
        bases[i] += k * bases[j]
    found = numpy(graphs.minimum_image(ops.convert_to_tensor(d), cells))
    moved = (bases @ cells).astype("float32")
    # Which rows are periods is not to be mixed; more skew is out of digits.
    moved[[2, 4, 5, 6]] = cells[[2, 4, 5, 6]]
    again = numpy(graphs.minimum_image(ops.convert_to_tensor(d), moved))
    lengths = np.linalg.norm(found, axis=-1)
    np.testing.assert_allclose(
        np.linalg.norm(again, axis=-1), lengths, rtol=1e-4, atol=1e-3
    )
    steps = np.stack(np.meshgrid(*[np.arange(-9, 10)] * 3), -1).reshape(-1, 3)
    for b, cell in enumerate(cells):
        images = found[b][:, None] + (steps @ cell)[None]
        shortest = np.linalg.norm(images, axis=-1).min(axis=-1)
        np.testing.assert_allclose(lengths[b], shortest, atol=1e-4)
        if np.linalg.det(cell):
            number = (d[b] - found[b]) @ np.linalg.inv(cell.astype("float64"))
            np.testing.assert_allclose(number, np.round(number), atol=1e-3)


def test_two_dimensions(rng):
    cell = np.array([[[2.0, 0.0], [5.3, 1.7]]], "float32")
    d = (10 * rng.normal(size=(1, 50, 2))).astype("float32")
    found = numpy(graphs.minimum_image(ops.convert_to_tensor(d), cell))
    steps = np.stack(np.meshgrid(*[np.arange(-9, 10)] * 2), -1).reshape(-1, 2)
    images = found[0][:, None] + (steps @ cell[0])[None]
    lengths = np.linalg.norm(images, axis=-1)
    np.testing.assert_allclose(
        np.linalg.norm(found[0], axis=-1), lengths.min(axis=-1), atol=1e-5
    )


def test_a_cell_that_cannot_be_reduced_gives_nan():
    cell = np.array([[[1, 0, 0], [1e7, 1, 0], [0, 1e7, 1]]], "float32")
    d = ops.ones((1, 2, 3))
    assert np.isnan(numpy(graphs.minimum_image(d, cell))).all()
    for box in ([np.nan, 1, 1], np.eye(3)[None] * np.nan):
        box = np.array(box, "float32")
        assert np.isnan(numpy(graphs.minimum_image(d, box))).any()


def test_derivatives_know_the_image(rng):
    # Of x at a fixed image, and of the cell: strain.
    d = ops.convert_to_tensor(10 * rng.normal(size=(1, 6, 3)), "float32")
    for box in (CELLS["triclinic"][None], np.array([[[4.0, 0, 3]]])):
        box = ops.convert_to_tensor(box, "float32")
        near = graphs.minimum_image(d, box)
        # Both grow with t, and so does the image.
        one = ops.ones((), "float32")
        change = backend.jvp(
            lambda t, d, box: graphs.minimum_image(t * d, t * box)
        )(one, one, d, box)
        np.testing.assert_allclose(numpy(change), numpy(near), atol=1e-4)


@pytest.mark.parametrize("cell", ["box", "triclinic", "film", "skewed"])
def test_too_large_a_cutoff_is_refused(cell):
    box = CELLS[cell][None]
    x = np.zeros((1, 3, 3), "float32")
    period = numpy(
        periodic.shortest_period(ops.convert_to_tensor(box, "float32"))
    )[0]
    steps = np.stack(np.meshgrid(*[np.arange(-9, 10)] * 3), -1).reshape(-1, 3)
    lengths = np.linalg.norm(steps @ box[0], axis=-1)
    assert abs(period - lengths[lengths > 1e-6].min()) < 1e-4
    graphs.radius_graph(x, 0.49 * period, 2, box=box)
    for form in (box, ops.convert_to_tensor(box, "float32")):
        with pytest.raises(
            ValueError, match="half of the shortest.*periodic_g"
        ):
            graphs.radius_graph(x, 0.51 * period, 2, box=form)


@pytest.mark.parametrize("batch", [1, 2, 3])
def test_no_box_is_read_as_another(batch):
    x = np.zeros((batch, 4, 3), "float32")
    cell = np.eye(3, dtype="float32") * 9
    for call in (
        lambda box: graphs.radius_graph(x, 1.0, 2, box=box),
        lambda box: graphs.knn_graph(x, 2, box=box),
        lambda box: graphs.periodic_graph(x, 1.0, box),
        lambda box: graphs.minimum_image(ops.convert_to_tensor(x), box),
        lambda box: models.EGNN(1, 4)({"positions": x, "box": box}),
        lambda box: models.MessagePassingNetwork(1, 4)(
            {"positions": x, "box": box}
        ),
    ):
        with pytest.raises(ValueError, match="(?s)box.*3, 3"):
            call(cell)
        with pytest.raises(ValueError, match="(?s)box.*7, 3"):
            call(np.ones((7, 3), "float32"))
    for box in (cell[None], np.diag(cell), np.diag(cell)[None, None]):
        assert graphs.radius_graph(x, 1.0, 2, box=box).shape == (batch, 4, 2)
    flat = np.array([[[1.0, 0, 0], [0, 1, 0], [1, 1, 0]]])
    with pytest.raises(ValueError, match="span a volume"):
        graphs.periodic_graph(x, 1.0, flat)
    with pytest.raises(ValueError, match="nan"):
        graphs.radius_graph(x, 0.2, 2, box=flat)


@pytest.mark.traced
def test_lists_in_compiled_code():
    cells = np.stack([CELLS["triclinic"], CELLS["film"]]).astype("float32")
    x = np.stack([atoms(cell) for cell in cells]).astype("float32")

    def run(x, cell):
        return graphs.radius_graph(x, 1.5, NODES, box=cell)

    found = jitted(run, x, cells, dynamic=(2, 1))
    np.testing.assert_array_equal(numpy(found), numpy(run(x, cells)))


# --- Models ---

MODELS = {
    "EGNN": {},
    "MessagePassingNetwork": {},
    "Transformer": dict(num_heads=2, pair_bias=True, num_registers=1),
}
BOXES = {
    "edges": np.array([[4.0, 4.5, 5.0], [5, 4, 4]], "float32"),
    "slab": np.array([[4.0, 4.5, 0.0], [5, np.inf, 4]], "float32"),
    "cells": np.stack([CELLS["triclinic"], CELLS["film"]]).astype("float32"),
}


def small(name, **kwargs):
    keras.utils.set_random_seed(0)
    return getattr(models, name)(
        **{"num_layers": 2, "hidden_dim": 8, **MODELS[name], **kwargs}
    )


def strong(model, x):
    """With weights for which each branch matters."""
    model.build({key: a.shape for key, a in x.items()})
    rng = np.random.default_rng(0)
    model.set_weights(
        [
            rng.normal(size=w.shape) / np.sqrt(w.shape[0] if w.ndim > 1 else 4)
            for w in model.get_weights()
        ]
    )
    return model


def inputs(box):
    rng = np.random.default_rng(0)
    x = rng.uniform(0, 4, size=(2, NODES, 3))
    v = rng.normal(size=x.shape)
    x = {"positions": x, "velocities": v, "box": box}
    return {key: value.astype("float32") for key, value in x.items()}


@pytest.mark.parametrize("box", BOXES)
@pytest.mark.parametrize("name", MODELS)
def test_any_image_of_a_node_will_do(name, box):
    x = inputs(BOXES[box])
    box = np.where(np.isinf(x["box"]), 0.0, x["box"])
    cells = box if box.ndim == 3 else box[:, None] * np.eye(3)
    shifts = np.zeros((2, NODES, 3))
    shifts[:, 2] = [1, -2, 3]
    shifts[:, 4] = [0, 1, 0]
    moves = (shifts @ cells).astype("float32")
    moved = {**x, "positions": x["positions"] + moves}
    readout = "positions" if box.ndim == 3 else "graph"
    model = strong(small(name, readout=readout), x)
    y, other = (model.predict(a, verbose=0) for a in (x, moved))
    expected = y if readout == "graph" else y + moves
    size = np.abs(y).max()
    np.testing.assert_allclose(other / size, expected / size, atol=2e-5)
    # A move by less is seen.
    moved["positions"] = x["positions"] + 0.4 * moves
    assert np.abs(model.predict(moved, verbose=0) - y).max() > 1e-3 * size


@pytest.mark.parametrize("name", MODELS)
def test_directions_are_seen_in_a_box(name):
    x = inputs(BOXES["cells"])
    del x["velocities"]  # no feature of the nodes is left
    model = strong(small(name), x)
    turned = {key: a[..., [1, 2, 0]] for key, a in x.items()}
    gap = numpy(model(turned)) - numpy(model(x))[..., [1, 2, 0]]
    assert (
        np.abs(gap).max() < 1e-3 if name == "EGNN" else np.abs(gap).max() > 0.1
    )


@pytest.mark.parametrize(
    "name, cell",
    [
        ("EGNN", "triclinic"),
        ("EGNN", "film"),
        ("MessagePassingNetwork", "triclinic"),
    ],
)
def test_energy_of_a_repeated_cell(name, cell):
    # The cut-off reaches several images of each node, itself among them.
    cell = CELLS[cell]
    repeats = [1 + (row != 0).any() for row in cell]
    shifts = np.array(list(np.ndindex(*repeats)))
    positions = atoms(cell)

    def system(x, cell):
        neighbors, shifts = graphs.periodic_graph(x[None], 5.5, cell[None])
        assert np.abs(shifts).max() > 0
        return {
            "positions": x[None].astype("float32"),
            "box": cell[None].astype("float32"),
            "neighbors": neighbors,
            "shifts": shifts,
        }

    one = system(positions, cell)
    many = positions[None] + (shifts @ cell)[:, None]
    many = system(many.reshape(-1, 3), cell * np.array(repeats)[:, None])
    model = strong(small(name, readout="graph"), one)
    expected = len(shifts) * model.predict(one, verbose=0)
    np.testing.assert_allclose(
        model.predict(many, verbose=0), expected, rtol=1e-3
    )
    # The nearest images alone are another system.
    nearest = {key: one[key] for key in ("positions", "box")}
    assert (
        np.abs(len(shifts) * model.predict(nearest, verbose=0) / expected - 1)
        > 1e-2
    )


@pytest.mark.parametrize("name", MODELS)
def test_a_box_is_an_input_as_any_other(name, tmp_path):
    # Another number of samples and nodes, three samples; presets of weights.
    x = inputs(BOXES["edges"])
    model = small(name)
    y = model.predict(x, verbose=0)
    few = {key: a[:, :3] if a.ndim == 3 else a for key, a in x.items()}
    three = {key: np.concatenate([a, a[:1]]) for key, a in few.items()}
    found = model.predict(three, verbose=0)
    np.testing.assert_allclose(found[:2], model.predict(few, verbose=0), 1e-5)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(again.predict(x, verbose=0), y, atol=1e-5)
    free = {key: x[key] for key in x if key != "box"}
    if name == "EGNN":
        assert np.abs(model.predict(free, verbose=0) - y).max() > 1e-5
        return
    with pytest.raises(ValueError, match="built with a periodic"):
        model(free)
    model = small(name)
    model(free)
    with pytest.raises(ValueError, match="built without a periodic"):
        model(x)


def test_errors_of_shifts():
    x = inputs(BOXES["edges"])
    model, shifts = small("EGNN"), np.zeros((2, NODES, 4, 3), "int32")
    with pytest.raises(ValueError, match="'shifts'.*needs.*'neighbors'"):
        model({**x, "shifts": shifts[:, :, [0] * NODES]})
    neighbors = np.zeros((2, NODES, 4), "int32")
    with pytest.raises(ValueError, match="'shifts'.*needs.*'box'"):
        model(
            {
                "positions": x["positions"],
                "shifts": shifts,
                "neighbors": neighbors,
            }
        )
    model(x)
    cells = x["box"][:, None] * np.eye(3, dtype="float32")
    with pytest.raises(ValueError, match="built with.*box.*2, 3.*2, 3, 3"):
        model({**x, "box": cells})


def test_numbers_that_are_no_nodes_give_nan():
    x = inputs(BOXES["edges"])
    neighbors = np.zeros((2, NODES, 2), "int32")
    neighbors[1, 3, 1] = NODES
    for name in ("EGNN", "MessagePassingNetwork"):
        y = numpy(small(name, readout="graph")({**x, "neighbors": neighbors}))
        np.testing.assert_array_equal(np.isnan(y[:, 0]), [False, True])
