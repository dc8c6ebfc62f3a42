"""Group axioms and the law of the samples, not the implementation."""

import functools

import keras
import numpy as np
import pytest
from compiled import once
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops
from scipy import stats

from keras_remul import groups

GROUPS = [
    groups.SO2(axis="y"),
    groups.SO2(axis=[1.0, -2.0, 0.5]),
    groups.SO2(axis=None),
    groups.SO3(),
    groups.O3(),
    groups.Translations(translation_std=3.0),
    groups.Translations(dimension=2),
    groups.SE3(),
    groups.E3(translation_std=2.0),
    groups.O2(),
    groups.O2(axis="y"),
    groups.O2(axis=[1.0, -2.0, 0.5]),
    groups.SE2(),
    groups.E2(),
    groups.SO2(axis=None, max_angle=20.0),
    groups.SO3(min_angle=90.0, max_angle=120.0),
    groups.Lorentz(max_rapidity=0.7),
    groups.Boosts(max_rapidity=0.7),
    groups.Product(
        {
            "boost": groups.Boosts([1.0, -2.0, 0.5], 0.7),
            "turn": groups.O2([-2.0, 4.0, -1.0]),
        }
    ),
    groups.Scalings(),
    groups.Cyclic(4),
    groups.Cyclic(5),
    groups.Dihedral(2),
    groups.Dihedral(4),
    groups.Negation(),
    groups.Permutations(6),
    groups.CircularShifts(sizes=(7, 11)),
    groups.Wallpaper(5),
    groups.Product({"turn": groups.O3(), "nodes": groups.Permutations(6)}),
    groups.Product({"turn": groups.SO3(), "unit": groups.Scalings()}),
]
every_group = pytest.mark.parametrize("group", GROUPS, ids=repr)
isometries = pytest.mark.parametrize(
    "group", [g for g in GROUPS if g.dimension and g.orthogonal], ids=repr
)
seeds = st.integers(0, 2**31 - 1)


def numpy(x):
    return ops.convert_to_numpy(x)


def flat(g):
    """Elements, a nest of arrays, as one array `(n, k)`."""
    leaves = [numpy(leaf) for leaf in keras.tree.flatten(g)]
    return np.concatenate([a.reshape(len(a), -1) for a in leaves], axis=1)


def normals(group, seed, n=16):
    """What elements are drawn from, by a generator that compiles nothing."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, group.num_normals)).astype("float32")


def axioms(group, *normals):
    """Sides that are equal, of each axiom."""
    a, b, c = map(group.from_normal, normals)
    e = group.identity(16)
    inverse, ab = group.inverse(a), group.compose(a, b)
    compose = group.compose
    return {
        "left identity": (compose(e, a), a),
        "right identity": (compose(a, e), a),
        "right inverse": (compose(a, inverse), e),
        "left inverse": (compose(inverse, a), e),
        "associative": (compose(ab, c), compose(a, compose(b, c))),
        "inverse of a product": (
            group.inverse(ab),
            compose(group.inverse(b), inverse),
        ),
    }


@every_group
def test_axioms(group):
    law = once(functools.partial(axioms, group))

    @settings(max_examples=5)
    @given(seed=seeds)
    def hold(seed):
        found = law(*(normals(group, seed + i) for i in range(3)))
        for name, sides in found.items():
            x, y = map(flat, sides)
            np.testing.assert_allclose(x, y, atol=2e-5, err_msg=name)

    hold()


@isometries
def test_elements_are_isometries(group):
    def parts(z):
        g = group.from_normal(z)
        return group.linear(g), group.parity(g), group.translation(g)

    parts, d = once(parts), group.dimension

    @settings(max_examples=5)
    @given(seed=seeds)
    def hold(seed):
        linear, parity, translation = parts(normals(group, seed))
        linear = numpy(linear)
        gram = np.swapaxes(linear, 1, 2) @ linear
        np.testing.assert_allclose(
            gram, np.broadcast_to(np.eye(d), gram.shape), atol=1e-5
        )
        determinant = np.linalg.det(linear)
        parity = np.ones(16) if parity is None else numpy(parity)
        np.testing.assert_allclose(determinant, parity, atol=1e-5)
        assert (translation is None) == (not group.has_translations)

    hold()


@every_group
def test_samples_are_reproducible(group):
    a, b = (flat(group.sample(16, seed=3)) for _ in range(2))
    np.testing.assert_array_equal(a, b)
    assert not np.allclose(a, flat(group.sample(16, seed=4)))
    assert np.ptp(a, axis=0).max() > 0
    generator = keras.random.SeedGenerator(3)
    c, d = (flat(group.sample(16, seed=generator)) for _ in range(2))
    assert not np.allclose(c, d)


@every_group
def test_shapes(group):
    g, e = group.sample(16, seed=0), group.identity(16)
    keras.tree.map_structure(
        lambda a, b: np.testing.assert_equal((*a.shape,), (*b.shape,)), g, e
    )
    if group.dimension and not isinstance(g, dict):
        assert g.shape == (16, group.matrix_size, group.matrix_size)
        d = group.dimension
        assert group.linear(g).shape == (16, d, d)


@every_group
def test_config_round_trip(group):
    config = keras.saving.serialize_keras_object(group)
    again = keras.saving.deserialize_keras_object(config)
    assert again == group and repr(again) == repr(group)
    np.testing.assert_array_equal(
        flat(again.sample(16, seed=0)), flat(group.sample(16, seed=0))
    )


def rotation_angles(linear):
    """Angles of 3 x 3 rotations in [0, pi]."""
    cosine = (np.trace(linear, axis1=1, axis2=2) - 1) / 2
    return np.arccos(np.clip(cosine, -1, 1))


def haar_angle_cdf(angle):
    """Law of the angle of a Haar rotation: density (1 - cos t) / pi."""
    return (angle - np.sin(angle)) / np.pi


@pytest.mark.parametrize(
    "group", [groups.SO3(), groups.O3(), groups.SE3(), groups.E3()], ids=repr
)
@settings(max_examples=3)
@given(seed=seeds)
def test_rotations_are_haar(group, seed):
    n = 4000
    linear = numpy(group.linear(group.sample(n, seed=seed)))
    linear = linear * np.sign(np.linalg.det(linear))[:, None, None]
    fixed = numpy(groups.SO3().sample(1, seed=seed + 1))
    # Haar: the law of R and of each Q R is the same, for a fixed Q.
    for rotations in (linear, fixed @ linear):
        p = stats.kstest(rotation_angles(rotations), haar_angle_cdf).pvalue
        assert p > 1e-5
    assert np.abs(linear.mean(axis=0)).max() < 6 / np.sqrt(n)


@given(seed=seeds)
def test_a_law_that_is_not_haar_is_caught(seed):
    # Euler angles, each uniform: a frequent mistake.
    rng = np.random.default_rng(seed)

    def turn(axis, t):
        i, j = [k for k in range(3) if k != axis]
        r = np.tile(np.eye(3), (len(t), 1, 1))
        r[:, i, i] = r[:, j, j] = np.cos(t)
        r[:, i, j], r[:, j, i] = -np.sin(t), np.sin(t)
        return r

    t = rng.uniform(0, 2 * np.pi, size=(3, 4000))
    euler = turn(2, t[0]) @ turn(1, t[1]) @ turn(2, t[2])
    assert stats.kstest(rotation_angles(euler), haar_angle_cdf).pvalue < 1e-5


@given(seed=seeds)
def test_plane_rotations_are_haar(seed):
    g = numpy(groups.SO2(axis=None).sample(4000, seed=seed))
    angle = np.arctan2(g[:, 1, 0], g[:, 0, 0]) / (2 * np.pi) + 0.5
    assert stats.kstest(angle, "uniform").pvalue > 1e-5


@pytest.mark.parametrize("group", [groups.O3(), groups.E3()], ids=repr)
def test_half_of_the_elements_reflect(group):
    parity = numpy(group.parity(group.sample(4000, seed=0)))
    assert set(np.unique(parity)) == {-1.0, 1.0}
    assert abs(parity.mean()) < 6 / np.sqrt(4000)


def test_translations_have_the_spread_asked_for():
    t = numpy(groups.Translations(translation_std=5.0).sample(4000, seed=0))
    assert t[:, :3, 3].std() == pytest.approx(5.0, rel=0.05)


@pytest.mark.parametrize("axis", ["x", "y", "z"])
def test_so2_keeps_its_axis_and_turns_right_handed(axis):
    i = "xyz".index(axis)
    g = numpy(groups.SO2(axis=axis).sample(16, seed=0))
    unit = np.eye(3)[i]
    np.testing.assert_allclose(g @ unit, np.tile(unit, (16, 1)), atol=1e-6)
    j, k = (i + 1) % 3, (i + 2) % 3  # the axis = e_j x e_k
    np.testing.assert_allclose(g[:, j, j], g[:, k, k], atol=1e-6)
    np.testing.assert_allclose(g[:, k, j], -g[:, j, k], atol=1e-6)
    assert np.abs(g[:, k, j]).max() > 0.5


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: groups.SO2(axis="w"), "Argument `axis`.*'w'"),
        (lambda: groups.SO2(axis=[0.0, 0.0, 0.0]), "Argument `axis`"),
        (lambda: groups.SO2(axis=[1.0, 0.0]), "Argument `axis`"),
        (lambda: groups.SE3(translation_std=0), "`translation_std`"),
        (lambda: groups.Translations(dimension=7), "`dimension`.*7"),
        (lambda: groups.SO3(min_angle=30, max_angle=20), "`min_angle`.*30"),
        (lambda: groups.SO3(max_angle=0), "`max_angle` > 0|max_angle > 0"),
        (lambda: groups.SO2(max_angle=200), "`max_angle`.*200"),
        (lambda: groups.Lorentz(max_rapidity=-1), "`max_rapidity`.*-1"),
        (lambda: groups.Boosts(axis=None), "`axis`.*None"),
        (lambda: groups.Boosts("z", -1), "`max_rapidity`.*-1"),
        (lambda: groups.Scalings(max_factor=1), "`max_factor`.*1"),
        (lambda: groups.Scalings(dimension=9), "`dimension`.*9"),
        (lambda: groups.Cyclic(0), "`order`.*0"),
        (lambda: groups.Permutations(0), "`num_nodes`.*0"),
        (lambda: groups.Permutations(2.5), "`num_nodes`.*2.5"),
        (lambda: groups.CircularShifts(7), "`sizes`.*7"),
        (lambda: groups.CircularShifts((0, 3)), "`sizes`"),
        (lambda: groups.Product([groups.SO3()]), "`factors`.*dict"),
        (lambda: groups.Product({"a": "SO3"}), "`factors`.*'SO3'"),
    ],
)
def test_errors(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("axis", ["x", "z", [1.0, -2.0, 0.5]])
def test_o2_of_space_keeps_its_axis(axis):
    group = groups.O2(axis=axis)
    g = numpy(group.sample(2000, seed=0))
    a = np.array({"x": [1, 0, 0], "z": [0, 0, 1]}.get(str(axis), axis), float)
    np.testing.assert_allclose(g @ a, np.tile(a, (2000, 1)), atol=1e-5)
    determinants = np.linalg.det(g)
    np.testing.assert_allclose(np.abs(determinants), 1, atol=1e-5)
    assert 0.45 < (determinants > 0).mean() < 0.55
    np.testing.assert_array_equal(
        numpy(group.parity(g)),
        np.sign(determinants),  # g of NumPy
    )
