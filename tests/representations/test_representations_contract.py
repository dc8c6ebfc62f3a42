"""What each registered representation must do, in every dtype."""

import copy
import inspect

import keras
import numpy as np
import pytest
from keras import ops
from test_groups_contract import allowed, dtype_of, numpy, registered

from keras_remul import Symmetry, groups
from keras_remul.representations import (
    DirectSum,
    FourVector,
    Grid,
    Homogeneous,
    Irrep,
    MirrorPermutation,
    Odd,
    OnFactor,
    PerNode,
    PerSample,
    Point,
    Pseudoscalar,
    Pseudovector,
    Representation,
    Scalar,
    SymmetricMatrix,
    Tensor,
    Vector,
)

MOTIONS = groups.E3(translation_std=2.0)
# Every argument at a value that is not its default.
EXAMPLES = {
    Scalar(): MOTIONS,
    Pseudoscalar(): MOTIONS,
    Vector(): MOTIONS,
    Pseudovector(): MOTIONS,
    Point(): MOTIONS,
    Tensor(3): MOTIONS,
    SymmetricMatrix(): MOTIONS,
    FourVector(): groups.O3(),
    MirrorPermutation([0, 2, 1]): groups.O2(),
    Irrep(2, parity=-1): groups.O3(),
    DirectSum(["scalar", "point", Irrep(1, parity=1)]): MOTIONS,
    Grid("vector"): groups.Dihedral(4),
    Homogeneous(-1.5, "vector"): groups.Scalings(3.0),
    OnFactor("turn", "vector"): groups.Product(
        {"nodes": groups.Permutations(5), "turn": groups.O3()}
    ),
    Odd("vector", factor="sign"): groups.Product(
        {"turn": groups.O3(), "sign": groups.Negation()}
    ),
    PerNode("vector"): groups.Product(
        {"nodes": groups.Permutations(5), "turn": groups.O3()}
    ),
    PerSample("point"): MOTIONS,
}
# Nothing is multiplied, so that any dtype is kept.
MOVED_ONLY = {
    Scalar(): MOTIONS,
    MirrorPermutation([0, 2, 1]): groups.O3(),
    DirectSum(["scalar", MirrorPermutation([1, 0])]): groups.O3(),
    Grid("scalar"): groups.Dihedral(4),
    Grid(MirrorPermutation([1, 0])): groups.Dihedral(4),
    OnFactor("nodes", "scalar"): groups.Product(
        {"nodes": groups.Permutations(5), "turn": groups.O3()}
    ),
    PerNode("scalar"): groups.Permutations(5),
    PerSample("scalar"): groups.Permutations(5),
    Homogeneous(2): groups.O3(),
}
every = pytest.mark.parametrize(
    "rep, group",
    EXAMPLES.items(),
    ids=[type(rep).__name__ for rep in EXAMPLES],
)


def features(rep, group, dtype, n=16):
    """Whole numbers, small enough to be exact in every dtype."""
    shape = rep.shape(group) or (3,)
    lead = (n, 5, 5) if isinstance(rep, Grid) else (n, 5)
    x = np.random.default_rng(0).integers(0, 12, size=(*lead, *shape))
    if dtype == "bool":
        return x > 5
    if dtype in ("bfloat16", "float16"):
        return ops.cast(x.astype("float32") / 8, dtype)
    return x.astype(dtype)


def move(rep, group, x, seed=0):
    symmetry = Symmetry(group, rep, rep)
    g = symmetry.sample(len(x), seed=seed)
    moved = symmetry.transform_inputs(g, x)
    assert dtype_of(symmetry.transform_outputs(g, x)) == dtype_of(moved)
    return moved


def test_every_registered_representation_has_an_example():
    classes = {type(rep) for rep in EXAMPLES}
    assert classes == registered(Representation)
    for rep in EXAMPLES:
        parameters = inspect.signature(type(rep)).parameters
        assert set(parameters) == set(rep.get_config())
        for name, parameter in parameters.items():
            assert rep.get_config()[name] != parameter.default, (rep, name)


@every
def test_copies_are_equal(rep, group):
    config = keras.saving.serialize_keras_object(rep)
    for again in (
        keras.saving.deserialize_keras_object(config),
        copy.deepcopy(rep),
    ):
        assert again == rep and hash(again) == hash(rep)
        assert repr(again) == repr(rep)
        assert again.get_config() == rep.get_config()
        assert again.per_node == rep.per_node
        assert again.moves_origin == rep.moves_origin
    for other in EXAMPLES:
        assert (other == rep) == (other is rep)
    assert rep == eval(repr(rep))  # reads like the call


@every
@pytest.mark.parametrize("dtype", ["int64", "int8", "uint8", "bool"])
def test_integers_are_moved_as_floats(rep, group, dtype):
    x = features(rep, group, dtype)
    moved = move(rep, group, x)
    expected = numpy(move(rep, group, x.astype("float32")))
    np.testing.assert_array_equal(numpy(moved), expected)
    if rep not in MOVED_ONLY:
        assert dtype_of(moved) == "float32"
        assert not np.allclose(expected, x)  # the test could have failed


@pytest.mark.parametrize("rep, group", MOVED_ONLY.items(), ids=repr)
@pytest.mark.parametrize("dtype", ["int32", "uint8", "bool", "float16"])
def test_what_is_only_moved_keeps_its_dtype(rep, group, dtype):
    x = ops.convert_to_tensor(features(rep, group, dtype))
    moved = move(rep, group, x)
    assert dtype_of(moved) == dtype
    expected = move(rep, group, numpy(x).astype("float32"))
    np.testing.assert_array_equal(numpy(moved), numpy(expected))


@every
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_narrow_dtypes_are_moved_in_float32(rep, group, dtype):
    x = features(rep, group, dtype)
    moved = move(rep, group, x)
    assert dtype_of(moved) == dtype
    expected = ops.cast(move(rep, group, ops.cast(x, "float32")), dtype)
    np.testing.assert_array_equal(numpy(moved), numpy(expected))


@every
def test_float64_is_kept(rep, group):
    with allowed("float64"):
        symmetry = Symmetry(group, rep, rep)
        x = features(rep, group, "float64") + 0.1
        g = symmetry.sample(len(x), seed=0, dtype="float64")
        there = symmetry.transform_inputs(g, x)
        back = symmetry.transform_inputs(symmetry.group.inverse(g), there)
        assert dtype_of(there) == dtype_of(back) == "float64"
        np.testing.assert_allclose(numpy(back), x, rtol=1e-11, atol=1e-11)


@every
def test_one_sample_none_and_tensors(rep, group):
    symmetry = Symmetry(group, rep, rep)
    x = features(rep, group, "float32")
    g = symmetry.sample(len(x), seed=0)
    whole = numpy(symmetry.transform_inputs(g, x))
    of_tensors = symmetry.transform_inputs(g, ops.convert_to_tensor(x))
    np.testing.assert_array_equal(numpy(of_tensors), whole)
    with_numpy = symmetry.transform_inputs(numpy(g), x)
    np.testing.assert_array_equal(numpy(with_numpy), whole)
    for n in (1, 0):
        first = keras.tree.map_structure(lambda a, n=n: a[:n], g)
        one = numpy(symmetry.transform_inputs(first, x[:n]))
        np.testing.assert_allclose(one, whole[:n], atol=1e-5)


def test_masked_integers_stay_where_they_are_padding():
    symmetry = Symmetry(MOTIONS, {"x": "point"}, "point per node")
    x = np.full((4, 3, 3), 7)
    mask = np.array([[1, 1, 0]] * 4)
    g = symmetry.sample(4, seed=0)
    moved = symmetry.transform_inputs(g, {"x": x, "mask": mask})
    assert moved["mask"] is mask
    assert dtype_of(moved["x"]) == "float32"
    np.testing.assert_array_equal(numpy(moved["x"])[:, 2], 7)
    assert np.abs(numpy(moved["x"])[:, :2] - 7).min(axis=(0, 2)).max() > 0


def test_integers_become_floatx():
    keras.config.set_floatx("float16")
    symmetry = Symmetry(groups.SO3(), "vector", "vector")
    g = symmetry.sample(2, seed=0)
    assert dtype_of(g) == "float16"
    x = np.full((2, 3), 5)
    moved = symmetry.transform_inputs(g, x)
    assert dtype_of(moved) == "float16"
    length = np.linalg.norm(numpy(moved), axis=1)
    np.testing.assert_allclose(length, np.sqrt(75), rtol=3e-3)
