"""Symmetry with several groups, permuted nodes and grids."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_remul import RemulModel, Symmetry, groups
from keras_remul.representations import Odd, OnFactor, Point, Vector


def numpy(data):
    return keras.tree.map_structure(ops.convert_to_numpy, data)


TWO = {"a": groups.SO3(), "b": groups.SO2(axis=None)}


def test_each_leaf_has_its_factor(rng):
    symmetry = Symmetry(
        TWO,
        inputs={
            "u": "vector@a",
            "v": OnFactor("b", "vector"),
            "charge": "scalar",
        },
        outputs=["vector@b", "0e + 1o@a"],
    )
    g = symmetry.sample(6, seed=0)
    x = {
        "u": rng.normal(size=(6, 4, 3)).astype("float32"),
        "v": rng.normal(size=(6, 4, 2)).astype("float32"),
        "charge": rng.normal(size=(6, 4, 1)).astype("float32"),
    }
    symmetry.check_inputs(x)
    moved = numpy(symmetry.transform_inputs(g, x))
    for key, factor in (("u", "a"), ("v", "b")):
        expected = x[key] @ np.swapaxes(numpy(g[factor]), 1, 2)
        np.testing.assert_allclose(moved[key], expected, atol=1e-5)
    np.testing.assert_array_equal(moved["charge"], x["charge"])
    with pytest.raises(ValueError, match=r"`x\['v'\]`.*\(batch, \.\.\., 2\)"):
        symmetry.check_inputs({**x, "v": x["u"]})


def test_signs_change_beside_rotations(rng):
    space_and_charge = {"space": groups.O3(), "charge": groups.Negation()}
    symmetry = Symmetry(
        space_and_charge,
        {"x": "point", "field": Odd("vector"), "charge": "odd", "m": "scalar"},
        outputs="point",
    )
    x = {
        "x": rng.normal(size=(8, 4, 3)).astype("float32"),
        "field": rng.normal(size=(8, 4, 3)).astype("float32"),
        "charge": rng.normal(size=(8, 4, 1)).astype("float32"),
        "m": rng.normal(size=(8, 4, 1)).astype("float32"),
    }
    g = symmetry.sample(8, seed=1)
    moved = numpy(symmetry.transform_inputs(g, x))
    turns = np.swapaxes(numpy(g["space"]), 1, 2)
    sign = numpy(g["charge"])
    assert {*sign.ravel()} == {-1.0, 1.0}
    expected = {
        "x": x["x"] @ turns,
        "field": sign * (x["field"] @ turns),
        "charge": sign * x["charge"],
        "m": x["m"],
    }
    for key, value in expected.items():
        np.testing.assert_allclose(moved[key], value, atol=1e-5)
    # Of a group without a change of sign it is as the one that it wraps.
    alone = Symmetry(groups.O3(), Odd("vector"), "odd")
    turned = numpy(alone.transform_inputs(g["space"], x["field"]))
    np.testing.assert_allclose(turned, x["field"] @ turns, atol=1e-5)
    two = {"charge": groups.Negation(), "time": groups.Negation()}
    with pytest.raises(ValueError, match=r"such as Odd\(factor='charge'\)"):
        Symmetry(two, "odd", "scalar")
    named = Symmetry(two, Odd(factor="time"), "scalar")
    g = named.sample(8, seed=0)
    moved = numpy(named.transform_inputs(g, x["charge"]))
    np.testing.assert_array_equal(moved, numpy(g["time"]) * x["charge"])
    with pytest.raises(ValueError, match="of Odd must be linear"):
        Odd("point")


def test_nodes_are_permuted_and_samples_are_not(rng):
    symmetry = Symmetry(
        {"space": groups.E3(), "nodes": groups.Permutations(5)},
        inputs={"x": "point", "charge": "scalar", "energy": "scalar"},
        outputs="vector@space",
    )
    x = {
        "x": rng.normal(size=(6, 5, 3)).astype("float32"),
        "charge": rng.normal(size=(6, 5, 1)).astype("float32"),
        "energy": rng.normal(size=(6, 1)).astype("float32"),
    }
    g = symmetry.sample(6, seed=0)
    moved = numpy(symmetry.transform_inputs(g, x))
    index = numpy(g["nodes"])
    np.testing.assert_array_equal(moved["energy"], x["energy"])
    r, t = numpy(g["space"])[:, :3, :3], numpy(g["space"])[:, None, :3, 3]
    at_rest = x["x"] @ np.swapaxes(r, 1, 2) + t
    for i in range(6):
        expected = x["charge"][i][index[i]]
        np.testing.assert_array_equal(moved["charge"][i], expected)
        np.testing.assert_allclose(
            moved["x"][i], at_rest[i][index[i]], atol=1e-5
        )
    # A leaf of the other factor alone keeps its order.
    y = symmetry.transform_outputs(g, x["x"])
    np.testing.assert_allclose(numpy(y), at_rest - t, atol=1e-5)
    back = symmetry.transform_inputs(symmetry.group.inverse(g), moved)
    np.testing.assert_allclose(numpy(back)["x"], x["x"], atol=1e-5)


def test_nodes_that_do_not_fit(rng):
    symmetry = Symmetry(groups.Permutations(5), "scalar", "scalar")
    x = np.zeros((2, 4, 1), "float32")
    with pytest.raises(ValueError, match="permutes 5 nodes, but `x` has 4"):
        symmetry.check_inputs(x)
    symmetry = Symmetry(groups.Permutations(4), {"c": "scalar"}, "scalar")
    with pytest.raises(ValueError, match=r"padding too, and `x\['c'\]`"):
        symmetry.check_inputs({"c": x, "mask": np.ones((2, 4))})
    with pytest.raises(ValueError, match="`inputs`: Vector.*on vectors"):
        Symmetry(groups.Permutations(4), "vector", "scalar")


def test_padding_of_a_factor_is_never_moved(rng):
    symmetry = Symmetry(
        {"a": groups.E3(5.0), "b": groups.SO2()},
        inputs={"x": "point@a", "v": "vector@b"},
        outputs="scalar",
    )
    mask = np.array([[1, 1, 0]] * 4, "float32")
    x = rng.normal(size=(4, 3, 3)).astype("float32") * mask[:, :, None]
    moved = numpy(
        symmetry.transform_inputs(
            symmetry.sample(4, seed=0), {"x": x, "v": x, "mask": mask}
        )
    )
    np.testing.assert_array_equal(moved["x"][:, 2], 0)
    np.testing.assert_array_equal(moved["v"][:, 2], 0)
    assert np.abs(moved["x"] - x)[:, :2].max() > 1


def test_images(rng):
    symmetry = Symmetry(groups.Dihedral(4), "image", "scalar")
    x = rng.normal(size=(3, 6, 6, 2)).astype("float32")
    symmetry.check_inputs(x)
    assert not symmetry.is_per_node(symmetry.inputs, x)
    with pytest.raises(ValueError, match="`x`.*square images.*5 x 6"):
        symmetry.check_inputs(x[:, :5])
    with pytest.raises(ValueError, match=r"`x`: Grid.*shape \(3, 6, 6\)"):
        symmetry.check_inputs(x[..., 0])


def test_config_round_trip():
    symmetry = Symmetry(
        {"a": groups.SO3(max_angle=10.0), "b": groups.Permutations(4)},
        inputs={"x": "vector@a", "y": "0e + 1o"},
        outputs=OnFactor("a", Point()),
    )
    config = keras.saving.serialize_keras_object(symmetry)
    again = keras.saving.deserialize_keras_object(config)
    assert again.group == symmetry.group
    assert again.inputs == symmetry.inputs
    assert repr(again) == repr(symmetry)
    with pytest.raises(ValueError, match="`inputs`: OnFactor.*factor 'c'"):
        Symmetry(TWO, {"x": OnFactor("c", Vector())}, "scalar")


@pytest.mark.parametrize(
    "group, representation, shape",
    [
        ({"e": groups.E3(), "n": groups.Permutations(5)}, "point", (5, 3)),
        (groups.CircularShifts((5, 3)), "image", (5, 3, 1)),
        (groups.Lorentz(), "four_vector", (5, 4)),
        (groups.SO3(max_angle=10.0), "2e", (2, 5)),
    ],
    ids=["product", "shifts", "lorentz", "irrep"],
)
def test_elements_pass_through_a_compiled_step(
    group, representation, shape, rng
):
    symmetry = Symmetry(group, representation, representation)
    x = rng.normal(size=(7, *shape)).astype("float32")
    size = int(np.prod(shape))
    model = keras.Sequential(
        [
            keras.Input(shape),
            keras.layers.Flatten(),
            keras.layers.Dense(size),
            keras.layers.Reshape(shape),
        ]
    )
    remul = RemulModel(model, symmetry, seed=0)
    remul.compile(optimizer="sgd", loss="mse")
    # The last batch is smaller.
    logs = remul.fit(x, x, batch_size=4, epochs=2, verbose=0).history
    assert np.isfinite(logs["loss"]).all()
    assert logs["equivariance_error"][-1] > 0
