"""Bodies of several sizes, seen at one."""

import keras
import numpy as np
import pytest
from compiled import outputs

from keras_remul import models

BONES = [[1, 0], [2, 1], [3, 1]]


class Seen(keras.Model):
    """Returns positions, and keeps what it is called with."""

    def call(self, inputs):
        self.inputs = {key: np.array(value) for key, value in inputs.items()}
        return inputs["positions"] + inputs["velocities"]


@pytest.mark.backend_independent
def test_what_the_model_sees(bodies):
    x, _ = bodies
    seen = Seen()
    model = models.OnSkeleton(seen, BONES, length=2.0, graph=True)
    y = np.array(model(x))
    np.testing.assert_allclose(
        y, x["positions"] + x["velocities"], rtol=1e-4, atol=1e-5
    )
    p = x["positions"]
    lengths = np.stack(
        [np.linalg.norm(p[:, i] - p[:, j], axis=-1) for i, j in BONES], axis=1
    )
    size = lengths.mean(axis=1) / 2.0
    for key in ("positions", "velocities"):
        expected = x[key] / size[:, None, None]
        np.testing.assert_allclose(seen.inputs[key], expected, rtol=1e-4)
    lengths = lengths / size[:, None]
    found = seen.inputs["bone_lengths"][..., 0]
    np.testing.assert_allclose(found[:, 1:4], lengths, rtol=1e-4)
    assert (found[:, [0, 4]] == 0).all()
    joined, long = np.moveaxis(seen.inputs["edges"], -1, 0)
    for k, (i, j) in enumerate(BONES):
        for a, b in ((i, j), (j, i)):
            assert (joined[:, a, b] == 1).all()
            np.testing.assert_allclose(long[:, a, b], lengths[:, k], rtol=1e-4)
    assert joined.sum() == 12 * 6 and (long[joined == 0] == 0).all()
    np.testing.assert_array_equal(seen.inputs["charges"], x["charges"])


def test_larger_bodies_move_as_smaller_ones(bodies):
    x, _ = bodies
    model = models.OnSkeleton(
        models.Transformer(
            num_layers=1, hidden_dim=8, num_heads=2, pair_bias=True
        ),
        BONES,
        graph=True,
    )
    twice = {**x, "positions": 2 * x["positions"]}
    twice["velocities"] = 2 * x["velocities"]
    small, large = outputs(model, x), outputs(model, twice)
    np.testing.assert_allclose(large, 2 * small, rtol=1e-4, atol=1e-4)
    bare = models.Transformer(num_layers=1, hidden_dim=8, num_heads=2)
    difference = outputs(bare, twice) - 2 * outputs(bare, x)
    assert np.abs(difference).max() > 1e-3


EACH = [1.0, 0.5, 2.0]


@pytest.mark.backend_independent
def test_all_bodies_with_the_same_bones(bodies):
    x, _ = bodies
    inner = Seen()
    model = models.OnSkeleton(inner, BONES, EACH, graph=True)
    drift = x["positions"] + x["velocities"]
    np.testing.assert_allclose(np.array(model(x)), drift, rtol=1e-3, atol=1e-4)
    assert "bone_lengths" not in inner.inputs
    i, j = np.array(BONES).T
    p = inner.inputs["positions"]
    away = p[:, i] - p[:, j]
    lengths = np.linalg.norm(away, axis=-1)
    np.testing.assert_allclose(lengths, np.tile(EACH, (12, 1)), rtol=1e-3)
    before = x["positions"][:, i] - x["positions"][:, j]
    unit = before / np.linalg.norm(before, axis=-1, keepdims=True)
    np.testing.assert_allclose(away / lengths[..., None], unit, atol=1e-3)
    long = inner.inputs["edges"][:, i, j, 1]
    np.testing.assert_allclose(long, lengths, rtol=1e-3)
    seen, target = model.seen(x, drift)
    np.testing.assert_allclose(
        target, seen["positions"] + seen["velocities"], rtol=1e-3, atol=1e-3
    )


def test_longer_bones_move_as_shorter_ones(bodies):
    x, _ = bodies
    net = models.Transformer(num_layers=1, hidden_dim=8, num_heads=2)
    model = models.OnSkeleton(net, BONES, EACH)
    # Node 3 hangs from node 1: its bone gets twice as long, all the time.
    other = {key: np.array(value) for key, value in x.items()}
    other["positions"][:, 3] += x["positions"][:, 3] - x["positions"][:, 1]
    other["velocities"][:, 3] += x["velocities"][:, 3] - x["velocities"][:, 1]
    # Their mean length is what translations are measured by.
    lengths = [
        np.stack(
            [
                np.linalg.norm(
                    a["positions"][:, i] - a["positions"][:, j], axis=-1
                )
                for i, j in BONES
            ]
        ).mean(axis=0)
        for a in (x, other)
    ]
    ratio = (lengths[1] / lengths[0])[:, None]
    y = outputs(model, x)
    for key in ("positions", "velocities"):
        root = x[key][:, 0]
        other[key] += ((ratio - 1) * root)[:, None]
        other[key][:, 4] = x[key][:, 4] * ratio  # of no bone
    found = outputs(model, other)
    i, j = np.array(BONES).T
    stretched = (y[:, i] - y[:, j]) * np.array([1, 1, 2])[:, None]
    np.testing.assert_allclose(
        found[:, i] - found[:, j], stretched, rtol=1e-3, atol=1e-3
    )
    np.testing.assert_allclose(
        found[:, 0], ratio * y[:, 0], rtol=1e-3, atol=1e-3
    )


@pytest.mark.backend_independent
def test_padding_is_no_bone(bodies):
    x, _ = bodies
    mask = np.ones((12, 5), "float32")
    mask[:, 3] = 0.0
    x["positions"][:, 3] = 1e6
    seen = Seen()
    models.OnSkeleton(seen, BONES)({**x, "mask": mask})
    p = x["positions"]
    lengths = [np.linalg.norm(p[:, i] - p[:, j], axis=-1) for i, j in BONES[:2]]
    expected = p[:, 0] / np.mean(lengths, axis=0)[:, None]
    found = seen.inputs["positions"][:, 0]
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    assert (seen.inputs["bone_lengths"][:, 3] == 0).all()


@pytest.mark.backend_independent
@pytest.mark.parametrize(
    "arguments, message",
    [
        (([[0, 0]],), "pairs .* of different nodes"),
        (([[0, -1]],), "at least 0"),
        (([[0.0, 1.0]],), "integers"),
        (([],), "pairs"),
        ((BONES, 0.0), "`length` must be positive"),
        ((BONES, [1.0, 2.0]), "one for each of 3 bones"),
        (([[1, 0], [1, 2]], [1.0, 1.0]), "form trees"),
        (([[1, 0], [0, 1]], [1.0, 1.0]), "form trees"),
    ],
)
def test_what_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        models.OnSkeleton(Seen(), *arguments)


@pytest.mark.backend_independent
def test_bones_of_nodes_that_are_not_there(bodies):
    model = models.OnSkeleton(models.Transformer(), [[0, 5]])
    with pytest.raises(ValueError, match="Expected 6 nodes or more"):
        model(bodies[0])
