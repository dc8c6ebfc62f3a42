"""Per node or per sample: what a mask covers and permutations permute."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_remul import Symmetry, groups, metrics
from keras_remul.representations import (
    Homogeneous,
    OnFactor,
    PerNode,
    PerSample,
    Pseudoscalar,
    Tensor,
)

MASK = np.array([[1, 1, 0]] * 4, "float32")  # three nodes, the last is padding


def numpy(data):
    return keras.tree.map_structure(ops.convert_to_numpy, data)


def symmetry_of(output, group=None):
    return Symmetry(group or groups.E3(5.0), {"positions": "point"}, output)


@pytest.mark.parametrize(
    "output, shape, per_node",
    [
        ("scalar", (4, 1), False),
        ("scalar", (4, 2), False),
        ("scalar", (4, 3, 2), True),
        ("scalar", (4,), False),
        ("scalar per node", (4, 3), True),
        ("scalar per node", (4, 3, 3), True),
        ("scalar per sample", (4, 3), False),
        ("scalar per sample", (4, 3, 3), False),
        (PerNode(Pseudoscalar()), (4, 3), True),
        (PerNode(Homogeneous(-1)), (4, 3), True),
        ("vector", (4, 3), False),
        ("vector", (4, 3, 3), True),
        ("vector", (4, 3, 5, 3), True),
        ("vector per sample", (4, 3, 3), False),
        ("vector per sample", (4, 5, 3), False),
        ("vector per node", (4, 3, 3), True),
        ("point per sample", (4, 3, 3), False),
        (Tensor(2), (4, 3, 3), False),
        (Tensor(2), (4, 3, 3, 3), True),
        (PerSample(Tensor(2)), (4, 3, 3, 3), False),
        ("scalar + vector", (4, 4), False),
        ("scalar + vector per sample", (4, 3, 4), False),
    ],
)
def test_a_mask_covers_nodes_alone(output, shape, per_node, rng):
    group = groups.E3(5.0)
    if isinstance(output, PerNode) and "Homogeneous" in repr(output):
        group = groups.Scalings()
    symmetry = Symmetry(group, {"positions": "point"}, output)
    y = rng.normal(size=shape).astype("float32")
    symmetry.check_outputs(y, mask=MASK)
    assert symmetry.is_per_node(symmetry.outputs, y, MASK) == per_node
    covered = y[:, :2] if per_node else y
    expected = np.linalg.norm(covered.reshape(4, -1), axis=1)
    if per_node:
        y[:, 2] = np.nan  # padded nodes may hold anything
    got = numpy(metrics.sample_norms(y, symmetry, MASK))
    np.testing.assert_allclose(got, expected, rtol=1e-5)
    g = symmetry.sample(4, seed=0)
    moved = numpy(symmetry.transform_outputs(g, y, MASK))
    if symmetry.outputs.moves_origin:
        assert not per_node and not (moved == y).all(axis=(0, 2)).any()
        at_rest = numpy(metrics.centered(y, symmetry, MASK))
        np.testing.assert_allclose(at_rest, y - y.mean(axis=0), atol=1e-6)


@pytest.mark.parametrize("output", ["scalar", "pseudoscalar", "0e"])
def test_numbers_that_may_be_of_nodes_or_samples(output):
    symmetry = symmetry_of({"q": output})
    y = {"q": np.zeros((4, 3), "float32")}
    g = symmetry.sample(4, seed=0)
    message = r"\(4, 3\).*PerNode\(.*\) or PerSample\("
    with pytest.raises(ValueError, match=r"`y\['q'\]`.*" + message):
        symmetry.check_outputs(y, mask=MASK)
    with pytest.raises(ValueError, match=message):
        symmetry.transform_outputs(g, y, MASK)
    with pytest.raises(ValueError, match=message):
        metrics.sample_norms(y, symmetry, MASK)
    symmetry.check_outputs(y)  # no mask, no question
    inputs = Symmetry(groups.E3(), {"x": "point", "q": output}, "scalar")
    x = {"x": np.zeros((4, 3, 3)), "q": y["q"], "mask": MASK}
    with pytest.raises(ValueError, match=r"`x\['q'\]`.*" + message):
        inputs.check_inputs(x)


def test_labels_of_another_rank_than_the_outputs():
    symmetry = symmetry_of("scalar per node")
    logits = np.zeros((4, 3, 7), "float32")
    classes = np.arange(12).reshape(4, 3)
    g = symmetry.sample(4, seed=0)
    for y in (logits, classes):
        symmetry.check_outputs(y, mask=MASK)
        moved = numpy(symmetry.transform_outputs(g, y, MASK))
        np.testing.assert_array_equal(moved, y)
        assert np.issubdtype(moved.dtype, np.integer) == (y is classes)


@pytest.mark.parametrize(
    "output, shape, message",
    [
        ("scalar per node", (4,), r"`y`: PerNode\(Scalar\(\)\) needs.*nodes"),
        ("vector per node", (4, 3), r"`y`: PerNode\(Vector\(\)\) needs"),
        ("scalar per node", (4, 5), r"mask has the shape.*`y` has 5 nodes"),
        ("vector", (4, 5, 3), r"`y` has 5 nodes.*PerSample\(Vector\(\)\)"),
    ],
)
def test_shapes_that_contradict_the_declaration(output, shape, message):
    symmetry = symmetry_of(output)
    with pytest.raises(ValueError, match=message):
        symmetry.check_outputs(np.zeros(shape), mask=MASK)


def test_permutations_permute_nodes_alone(rng):
    group = groups.Product({"space": groups.O3(), "n": groups.Permutations(3)})
    inputs = {
        "per node": ("scalar per node", (4, 3), True),
        "per sample": ("scalar per sample", (4, 3), False),
        "channels": ("scalar", (4, 3, 2), True),
        "two": ("scalar", (4, 2), False),
        "axes": ("vector per sample", (4, 3, 3), False),
        "of nodes": ("vector", (4, 3, 3), True),
        "factor": (PerNode(OnFactor("n", "scalar")), (4, 3), True),
        "other factor": (PerNode(OnFactor("space", "scalar")), (4, 3), False),
    }
    symmetry = Symmetry(group, {k: v[0] for k, v in inputs.items()}, "scalar")
    x = {k: rng.normal(size=v[1]).astype("float32") for k, v in inputs.items()}
    symmetry.check_inputs(x)
    g = symmetry.sample(4, seed=1)
    moved = numpy(symmetry.transform_inputs(g, x))
    turn, order = numpy(g["space"]), numpy(g["n"])
    for key, (name, _, permuted) in inputs.items():
        expected = x[key]
        if "vector" in str(name):
            expected = expected @ np.swapaxes(turn, 1, 2)
        if permuted:
            expected = np.stack(
                [a[i] for a, i in zip(expected, order, strict=True)]
            )
        np.testing.assert_allclose(moved[key], expected, atol=1e-5)
    with pytest.raises(ValueError, match=r"`x`.*\(4, 3\).*PerNode"):
        Symmetry(group, "scalar", "scalar").check_inputs(x["per node"])


def test_config_round_trip():
    symmetry = symmetry_of({"a": "scalar per node", "b": PerSample("vector")})
    config = keras.saving.serialize_keras_object(symmetry)
    again = keras.saving.deserialize_keras_object(config)
    assert again == symmetry and repr(again) == repr(symmetry)
    assert again.outputs["a"].per_node is True
    assert again.outputs["b"].per_node is False
    assert "PerNode(Scalar())" in repr(symmetry)
