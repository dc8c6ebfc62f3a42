"""Symmetry: nested data, masks, and errors that name the argument."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_remul import Symmetry, groups
from keras_remul.representations import Tensor, Vector


def numpy(data):
    return keras.tree.map_structure(ops.convert_to_numpy, data)


def bodies_symmetry(group=None, **kwargs):
    return Symmetry(
        group or groups.SO3(),
        inputs={
            "positions": "point",
            "velocities": "vector",
            "charges": "scalar",
        },
        outputs="point",
        **kwargs,
    )


def test_transforms_each_leaf(bodies):
    x, y = bodies
    symmetry = bodies_symmetry(groups.SE3())
    g = symmetry.sample(12, seed=0)
    moved = numpy(symmetry.transform_inputs(g, x))
    r, t = numpy(g)[:, :3, :3], numpy(g)[:, None, :3, 3]
    rotate = np.swapaxes(r, 1, 2)
    np.testing.assert_allclose(
        moved["positions"], x["positions"] @ rotate + t, atol=1e-5
    )
    np.testing.assert_allclose(
        moved["velocities"], x["velocities"] @ rotate, atol=1e-5
    )
    np.testing.assert_array_equal(moved["charges"], x["charges"])
    np.testing.assert_allclose(
        numpy(symmetry.transform_outputs(g, y)), y @ rotate + t, atol=1e-5
    )


def test_nested_structures(rng):
    symmetry = Symmetry(
        groups.O3(),
        inputs={"atoms": {"x": "point"}, "fields": ["vector", "pseudovector"]},
        outputs={"energy": "scalar", "stress": Tensor(2)},
    )
    x = {
        "atoms": {"x": rng.normal(size=(4, 6, 3))},
        "fields": [rng.normal(size=(4, 3)), rng.normal(size=(4, 3))],
    }
    y = {
        "energy": rng.normal(size=(4, 1)),
        "stress": rng.normal(size=(4, 3, 3)),
    }
    g = symmetry.sample(4, seed=0)
    inverse = symmetry.group.inverse(g)
    there = symmetry.transform_inputs(g, x)
    back = numpy(symmetry.transform_inputs(inverse, there))
    keras.tree.map_structure(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), back, x
    )
    moved = numpy(symmetry.transform_outputs(g, y))
    assert not np.allclose(moved["stress"], y["stress"])
    np.testing.assert_allclose(moved["energy"], y["energy"], rtol=1e-6)


def test_padding_is_never_moved(bodies):
    x, y = bodies
    mask = np.array([[1, 1, 1, 0, 0]] * 12, dtype="float32")
    x = {key: value * mask[:, :, None] for key, value in x.items()}
    symmetry = bodies_symmetry(groups.E3(translation_std=10.0))
    g = symmetry.sample(12, seed=0)
    moved = numpy(symmetry.transform_inputs(g, {**x, "mask": mask}))
    np.testing.assert_array_equal(moved["mask"], mask)
    np.testing.assert_array_equal(moved["positions"][:, 3:], 0)
    assert np.abs(moved["positions"][:, :3] - x["positions"][:, :3]).max() > 1
    outputs = numpy(symmetry.transform_outputs(g, y * mask[:, :, None], mask))
    np.testing.assert_array_equal(outputs[:, 3:], 0)


def test_mask_of_another_name_and_declared_mask(bodies):
    x, _ = bodies
    mask = np.ones((12, 5), "float32")
    g = groups.SO3().sample(12, seed=0)
    named = bodies_symmetry(mask="valid")
    assert named.get_mask({**x, "valid": mask}) is mask
    named.transform_inputs(g, {**x, "valid": mask})
    with pytest.raises(ValueError, match="Unknown: \\['mask'\\]"):
        named.transform_inputs(g, {**x, "mask": mask})


def test_config_round_trip():
    symmetry = Symmetry(
        groups.SO2(axis="y"),
        inputs={"a": ["point", Tensor(2)], "b": "scalar"},
        outputs=("vector", "pseudoscalar"),
        mask="valid",
    )
    config = keras.saving.serialize_keras_object(symmetry)
    again = keras.saving.deserialize_keras_object(config)
    assert again.inputs == symmetry.inputs
    assert list(again.outputs) == list(symmetry.outputs)
    assert again.group == symmetry.group and again.mask == "valid"


def test_repr_reads_like_the_call():
    assert repr(bodies_symmetry()) == (
        "Symmetry(SO3(), inputs={'positions': Point(), 'velocities': "
        "Vector(), 'charges': Scalar()}, outputs=Point())"
    )


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda x: x.pop("charges"), r"`x`.*Missing: \['charges'\]"),
        (lambda x: x.update(mass=1), r"`x`.*Unknown: \['mass'\].*\"scalar\""),
        (
            lambda x: x.update(positions=np.zeros((12, 5, 2))),
            r"`x\['positions'\]` is declared as Point\(\) of SO3\(\).*"
            r"\(batch, \.\.\., 3\).*Received: shape \(12, 5, 2\)",
        ),
        (
            lambda x: x.update(mask=np.ones((12,))),
            r"mask `x\['mask'\]`.*\(batch, nodes\).*\(12,\)",
        ),
        (
            lambda x: x.update(mask=np.ones((12, 7))),
            r"mask has the shape \(12, 7\).*5 nodes",
        ),
    ],
    ids=["missing", "unknown", "last axis", "mask rank", "mask nodes"],
)
def test_data_that_do_not_fit(bodies, change, message):
    x, _ = bodies
    change(x)
    with pytest.raises(ValueError, match=message):
        bodies_symmetry().check_inputs(x)


def test_outputs_that_do_not_fit():
    with pytest.raises(ValueError, match=r"`y`.*Point\(\).*\(12, 5, 4\)"):
        bodies_symmetry().check_outputs(np.zeros((12, 5, 4)))
    with pytest.raises(ValueError, match="Expected `x` to be a dict"):
        bodies_symmetry().check_inputs(np.zeros((12, 5, 3)))


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("SO3", "vector", "vector"), "Argument `group`.*'SO3'"),
        (
            (groups.SO3(), {"v": "vektor"}, "vector"),
            "Argument `inputs`: Unknown representation 'vektor'.*'vector'",
        ),
        (
            (groups.SO3(), "vector", "quaternion"),
            "Argument `outputs`: Unknown representation 'quaternion'",
        ),
        (
            (groups.SO2(axis=None), "pseudovector", "scalar"),
            r"Argument `inputs`: Pseudovector\(\).*SO2\(axis=None\)",
        ),
    ],
)
def test_constructor_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        Symmetry(*arguments)


def test_group_and_feature_of_other_dimension():
    plane = Symmetry(groups.SO2(axis=None), Vector(), Vector())
    with pytest.raises(ValueError, match=r"`x`.*\(batch, \.\.\., 2\)"):
        plane.check_inputs(np.zeros((4, 3)))
