"""The laws that elements are drawn from, and what the elements keep."""

import collections
import itertools
import math

import keras
import numpy as np
import pytest
from compiled import once
from keras import ops
from scipy import stats

from keras_remul import groups
from keras_remul.representations import Irrep

N = 4000  # one size for all, so that JAX compiles each function once


def numpy(x):
    return ops.convert_to_numpy(x)


def rotation_angles(linear):
    """Angles of 3 x 3 rotations in [0, pi], accurate at both ends."""
    skew = linear - np.swapaxes(linear, 1, 2)
    sine = np.linalg.norm(skew, axis=(1, 2)) / math.sqrt(8)
    cosine = (np.trace(linear, axis1=1, axis2=2) - 1) / 2
    return np.arctan2(sine, cosine)


def rotation_axes(linear):
    """Axes times the sine of the angle."""
    return np.stack(
        [
            linear[:, 2, 1] - linear[:, 1, 2],
            linear[:, 0, 2] - linear[:, 2, 0],
            linear[:, 1, 0] - linear[:, 0, 1],
        ],
        axis=1,
    )


def looks_uniform(values, low, high):
    share = (np.asarray(values) - low) / (high - low)
    return stats.kstest(share, "uniform").pvalue > 1e-5


def looks_isotropic(vectors):
    """Uniform on the sphere: each component is uniform in [-1, 1]."""
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return all(looks_uniform(unit[:, i], -1, 1) for i in range(3))


@pytest.mark.parametrize(
    "bounds", [(0, 10), (0, 0.2), (90, 180), (30, 60), (0, 179.0)]
)
def test_so3_between_angles_is_haar_conditioned_on_them(bounds):
    group = groups.SO3(*bounds)
    g = numpy(group.sample(N, seed=1)).astype("float64")
    angle = rotation_angles(g)
    low, high = np.radians(bounds)
    assert low - 1e-4 <= angle.min() and angle.max() <= high + 1e-4

    def y(t):  # t - sin t without cancellation
        t = np.asarray(t)
        series = t**3 / 6 * (1 - t**2 / 20 * (1 - t**2 / 42))
        return np.where(t < 0.1, series, t - np.sin(t))

    cdf = (y(angle) - y(low)) / (y(high) - y(low))
    assert stats.kstest(cdf, "uniform").pvalue > 1e-5
    assert looks_isotropic(rotation_axes(g))


def test_so3_by_one_angle():
    g = numpy(groups.SO3(min_angle=40, max_angle=40).sample(N, seed=0))
    np.testing.assert_allclose(np.degrees(rotation_angles(g)), 40, rtol=1e-4)


def test_uniform_angle_is_not_the_haar_law():
    # The mistake that the test above must catch.
    angle = np.random.default_rng(0).uniform(0, np.pi, N)
    cdf = (angle - np.sin(angle)) / np.pi
    assert stats.kstest(cdf, "uniform").pvalue < 1e-5


@pytest.mark.parametrize("bounds", [(0, 15), (90, 180), (45, 45)])
def test_so2_between_angles(bounds):
    g = numpy(
        groups.SO2(axis=None, min_angle=bounds[0], max_angle=bounds[1]).sample(
            N, seed=2
        )
    )
    angle = np.degrees(np.arctan2(g[:, 1, 0], g[:, 0, 0]))
    low, high = bounds
    assert low - 1e-3 <= np.abs(angle).min()
    assert np.abs(angle).max() <= high + 1e-3
    if low < high:
        assert looks_uniform(np.abs(angle), low, high)
    assert abs(np.sign(angle).mean()) < 6 / math.sqrt(N)


@pytest.mark.parametrize(
    "group", [groups.O2(), groups.SE2(), groups.E2()], ids=repr
)
def test_plane_groups_are_haar(group):
    g = group.sample(N, seed=0)
    linear = numpy(group.linear(g))
    angle = np.arctan2(linear[:, 1, 0], linear[:, 0, 0])
    parity = np.linalg.det(linear)
    for turned in (angle, np.mod(angle + 1 + np.pi, 2 * np.pi) - np.pi):
        assert looks_uniform(turned, -np.pi, np.pi)
    if group.proper:
        assert parity.min() > 0
    else:
        assert abs(parity.mean()) < 6 / math.sqrt(N)
        assert looks_uniform(angle[parity < 0], -np.pi, np.pi)


def test_boosts_along_the_beam_and_rotations_about_it():
    """The symmetry of a collider: pT, and differences of y and phi."""
    beam = groups.Product(
        {"boost": groups.Boosts("z", 1.5), "turn": groups.SO2("z")}
    )
    assert beam.dimension == 4 and beam.proper
    g = beam.sample(N, seed=0)
    linear = numpy(beam.linear(g))
    turned, boosted = numpy(g["turn"]), numpy(g["boost"])
    np.testing.assert_array_equal(linear[:, 1:3, 1:3], turned[:, :2, :2])
    np.testing.assert_allclose(linear[:, ::3, ::3], boosted[:, ::3, ::3])
    assert looks_uniform(np.arcsinh(boosted[:, 0, 3]), -1.5, 1.5)
    p = np.random.default_rng(0).normal(size=(2, 3))
    energy = np.sqrt(1 + (p**2).sum(1, keepdims=True))
    p = np.concatenate([energy, p], axis=1)  # two particles of mass 1
    moved = p @ np.swapaxes(linear, 1, 2)  # (N, 2, 4)

    def kept(p):
        rapidity = np.arctanh(p[..., 3] / p[..., 0])
        azimuth = np.arctan2(p[..., 2], p[..., 1])
        between = azimuth[..., 1] - azimuth[..., 0]
        parts = rapidity[..., 1] - rapidity[..., 0], np.cos(between)
        transverse = np.hypot(p[..., 1], p[..., 2])
        return np.concatenate([transverse, np.stack(parts, -1)], axis=-1)

    np.testing.assert_allclose(kept(moved), np.tile(kept(p), (N, 1)), atol=1e-4)
    for other in (groups.SO2("x"), groups.SO3(), groups.Boosts("x")):
        mixed = groups.Product({"boost": groups.Boosts("z"), "other": other})
        assert mixed.dimension is None
    unit = groups.Product({"beam": beam, "unit": groups.Scalings(dimension=4)})
    assert unit.dimension == 4


def test_lorentz_keeps_the_metric():
    metric = np.diag([1.0, -1.0, -1.0, -1.0])
    group = groups.Lorentz(max_rapidity=2.0)
    g = numpy(group.sample(N, seed=0)).astype("float64")
    gram = np.swapaxes(g, 1, 2) @ metric @ g
    scale = np.abs(g).max(axis=(1, 2), keepdims=True) ** 2
    assert (np.abs(gram - metric) / scale).max() < 2e-6
    assert g[:, 0, 0].min() >= 1 - 1e-6  # keeps the direction of time
    np.testing.assert_allclose(np.linalg.det(g), 1, atol=1e-4)


def test_lorentz_law():
    g = numpy(groups.Lorentz(max_rapidity=1.5).sample(N, seed=0))
    g = g.astype("float64")
    rapidity = np.arcsinh(np.linalg.norm(g[:, 1:, 0], axis=1))
    assert looks_uniform(rapidity, 0, 1.5)
    assert looks_isotropic(g[:, 1:, 0])
    assert looks_isotropic(g[:, 0, 1:])  # the inverse's direction: R^T u
    # The rotation is what is left after the boost is taken off.
    time, u = g[:, :1, 0], g[:, 1:, 0]
    boost_inverse = np.eye(3) + u[:, :, None] * u[:, None] / (
        1 + time[:, :, None]
    )
    rotation = np.linalg.inv(boost_inverse) @ g[:, 1:, 1:]
    angle = rotation_angles(rotation)
    assert looks_uniform((angle - np.sin(angle)) / np.pi, 0, 1)


def test_scalings_law():
    group = groups.Scalings(max_factor=3.0, dimension=2)
    g = group.sample(N, seed=0)
    scale = numpy(group.scale(g))
    assert looks_uniform(np.log(scale), -math.log(3), math.log(3))
    np.testing.assert_array_equal(numpy(g), scale[:, None, None] * np.eye(2))


def chi_square(counts, cells):
    assert len(counts) == cells
    return stats.chisquare(list(counts.values())).pvalue > 1e-5


@pytest.mark.parametrize(
    "group, cells",
    [
        (groups.Cyclic(4), 4),
        (groups.Cyclic(7), 7),
        (groups.Dihedral(1), 2),
        (groups.Dihedral(4), 8),
        (groups.Dihedral(3), 6),
        (groups.Permutations(4), 24),
        (groups.CircularShifts((3, 5)), 15),
    ],
    ids=repr,
)
def test_all_elements_are_equally_likely(group, cells):
    g = numpy(group.sample(N, seed=0)).reshape(N, -1)
    rows = [tuple(row) for row in np.round(g, 4).tolist()]
    assert chi_square(collections.Counter(rows), cells)


FINITE = [
    groups.Cyclic(1),
    groups.Cyclic(5),
    groups.Dihedral(1),
    groups.Dihedral(4),
    groups.Permutations(1),
    groups.Permutations(4),
    groups.Negation(),
    groups.CircularShifts((3, 1, 2)),
    groups.Wallpaper(2, order=2),
    groups.Product(
        {"turn": groups.Dihedral(3), "nodes": groups.Permutations(3)}
    ),
    groups.Product(
        {
            "pair": groups.Product(
                {"a": groups.Cyclic(2), "b": groups.CircularShifts((3,))}
            ),
            "c": groups.Cyclic(3),
        }
    ),
]
INFINITE = [
    groups.SO2(),
    groups.O2(),
    groups.SO3(),
    groups.O3(),
    groups.SO2(min_angle=90.0, max_angle=90.0),
    groups.Translations(),
    groups.SE2(),
    groups.E2(),
    groups.SE3(),
    groups.E3(),
    groups.Scalings(),
    groups.Lorentz(),
    groups.Boosts(),
    groups.Product({"a": groups.Cyclic(2), "b": groups.SO3()}),
]


def rows(g):
    """Elements, a nest of arrays, as a list of tuples."""
    leaves = [numpy(leaf) for leaf in keras.tree.flatten(g)]
    flat = [np.reshape(a, (len(a), -1)) for a in leaves]
    # Without -0.
    return [
        tuple(row) for row in (np.concatenate(flat, 1).round(4) + 0.0).tolist()
    ]


@pytest.mark.parametrize("group", FINITE, ids=repr)
def test_elements_are_the_group(group):
    order = group.num_elements
    every = group.elements()
    listed = rows(every)
    assert len(listed) == len(set(listed)) == order
    assert listed[0] == rows(group.identity(1))[0]
    assert set(rows(group.inverse(every))) == set(listed)
    turned = keras.tree.map_structure(
        lambda a: ops.concatenate([a[-1:]] * order), every
    )
    assert set(rows(group.compose(turned, every))) == set(listed)
    # Of the same form as those drawn, and all that can be drawn.
    drawn = group.sample(600, seed=0)
    assert set(rows(drawn)) == set(listed)
    keras.tree.map_structure(
        lambda a, b: np.testing.assert_equal(
            [a.shape[1:], a.dtype], [b.shape[1:], b.dtype]
        ),
        every,
        drawn,
    )


@pytest.mark.parametrize("group", INFINITE, ids=repr)
def test_infinite_groups_have_no_list(group):
    assert group.num_elements is None
    with pytest.raises(ValueError, match=r"is infinite.*`sample`"):
        group.elements()


def test_groups_too_large_to_list():
    for group in (
        groups.Permutations(8),
        groups.CircularShifts((200, 100)),
        groups.Product({"a": groups.Permutations(6), "b": groups.Cyclic(20)}),
    ):
        with pytest.raises(ValueError, match="too many to list.*`sample`"):
            group.elements()


def test_every_group_says_whether_it_is_finite():
    assert {type(group) for group in FINITE + INFINITE} == {
        getattr(groups, name) for name in groups.__all__ if name != "Group"
    }


def test_finite_groups_are_closed():
    for group in (groups.Cyclic(6), groups.Dihedral(4)):
        g, h = group.sample(200, seed=0), group.sample(200, seed=1)
        products = numpy(group.compose(g, h))
        distance = np.abs(products[:, None] - numpy(g)).max(axis=(2, 3))
        assert distance.min(axis=1).max() < 1e-5


def test_permutations_compose_as_functions(rng):
    group = groups.Permutations(5)
    a, b = (group.sample(3, seed=i) for i in range(2))
    x = ops.convert_to_tensor(rng.normal(size=(3, 5, 2)))
    once = group.permute(group.compose(a, b), x)
    twice = group.permute(a, group.permute(b, x))
    np.testing.assert_array_equal(numpy(once), numpy(twice))
    expected = np.stack([numpy(x)[i][numpy(a)[i]] for i in range(3)])
    np.testing.assert_array_equal(numpy(group.permute(a, x)), expected)


def test_shifts_are_np_roll(rng):
    group = groups.CircularShifts(sizes=(4, 6))
    g = group.sample(5, seed=0)
    x = rng.normal(size=(5, 4, 6, 2)).astype("float32")
    group.check_grid((4, 6))
    moved = numpy(group.move_grid(g, ops.convert_to_tensor(x)))
    for i, shift in enumerate(numpy(g)):
        expected = np.roll(x[i], shift, axis=(0, 1))
        np.testing.assert_array_equal(moved[i], expected)


@pytest.mark.parametrize("dtype", ["float32", "int32"])
def test_quarter_turns_and_flips_are_those_of_numpy(rng, dtype):
    group = groups.Dihedral(4)
    by_hand = {}
    for turns, flip in itertools.product(range(4), range(2)):
        c, s = [(1, 0), (0, 1), (-1, 0), (0, -1)][turns]
        matrix = np.array([[c, -s], [s, c]]) @ np.diag([1, 1 - 2 * flip])
        by_hand[tuple(matrix.ravel())] = turns, flip
    assert len(by_hand) == 8
    g = np.array(list(by_hand), "float32").reshape(8, 2, 2)
    x = rng.normal(size=(8, 5, 5, 3), scale=50).astype(dtype)
    moved = numpy(
        group.move_grid(ops.convert_to_tensor(g), ops.convert_to_tensor(x))
    )
    for i, (turns, flip) in enumerate(by_hand.values()):
        image = np.flip(x[i], axis=0) if flip else x[i]  # y -> -y first
        np.testing.assert_array_equal(moved[i], np.rot90(image, turns))


def test_half_turns_work_on_oblong_images(rng):
    group = groups.Dihedral(2)
    group.check_grid((4, 6))
    g = group.sample(6, seed=0)
    x = rng.normal(size=(6, 4, 6, 1)).astype("float32")
    moved = numpy(group.move_grid(g, ops.convert_to_tensor(x)))
    assert moved.shape == x.shape and not np.allclose(moved, x)
    with pytest.raises(ValueError, match="square images.*4 x 6"):
        groups.Cyclic(4).check_grid((4, 6))
    with pytest.raises(ValueError, match=r"\[4, 6\] cells.*\[6, 4\]"):
        groups.CircularShifts((4, 6)).check_grid((6, 4))


def test_products():
    product = groups.Product(
        {
            "turn": groups.O3(),
            "unit": groups.Scalings(),
            "nodes": groups.Permutations(4),
        }
    )
    g = product.sample(5, seed=0)
    assert set(g) == {"turn", "unit", "nodes"} and product.num_nodes == 4
    scale = numpy(product.scale(g))
    np.testing.assert_allclose(
        numpy(product.linear(g)),
        scale[:, None, None] * numpy(g["turn"]),
        rtol=1e-6,
    )
    assert not product.proper and product.parity(g).shape == (5,)
    assert not product.orthogonal and product.dimension == 3
    # Two that do not commute: neither acts on vectors unless it is asked for.
    two = groups.Product({"a": groups.SO3(), "b": groups.SO3()})
    assert two.dimension is None
    shifted = groups.Product({"a": groups.SE3(), "b": groups.Scalings()})
    assert shifted.dimension is None
    with pytest.raises(ValueError, match=r"\['a', 'b'\].*OnFactor\('a'"):
        groups.Product(
            {"a": groups.Permutations(3), "b": groups.Permutations(3)}
        ).permute(None, None)


@pytest.mark.backend_independent
@pytest.mark.parametrize(
    "group, count, degree",
    [
        (groups.SO3(), 12, 2),
        (groups.SO3(), 24, 3),
        (groups.SO3(), 60, 5),
        (groups.O3(), 24, 2),
        (groups.O3(), 120, 5),
    ],
)
def test_even_elements_average_functions_of_low_degree_away(
    group, count, degree
):
    even = group.even_elements(count)
    assert even.shape == (count, 3, 3)
    for parity in (1, -1):
        for k in range(1, degree + 1):
            mean = np.mean(numpy(Irrep(k, parity).rho(group, even)), axis=0)
            np.testing.assert_allclose(mean, 0, atol=1e-5)
    # Of the next one something stays, for at least one parity.
    left = [
        np.abs(np.mean(numpy(Irrep(degree + 1, p).rho(group, even)), 0)).max()
        for p in (1, -1)
    ]
    assert max(left) > 0.1
    assert group.even_elements(count + 1) is None


@pytest.mark.backend_independent
def test_even_elements_of_the_plane_and_of_products():
    turns = numpy(groups.SO2(axis="y").even_elements(5))
    angles = np.degrees(np.arctan2(turns[:, 0, 2], turns[:, 0, 0])) % 360
    np.testing.assert_allclose(angles, 72 * np.arange(5), atol=1e-4)
    assert groups.O2().even_elements(5) is None
    mirrored = numpy(groups.O2().even_elements(6))
    assert np.linalg.det(mirrored).sum() == pytest.approx(0, abs=1e-6)
    assert groups.SO2(axis=None, max_angle=20.0).even_elements(4) is None
    assert groups.E3().even_elements(24) is None
    both = {"space": groups.O3(), "charge": groups.Negation()}
    for count in (24, 48, 96):
        even = groups.Product(both).even_elements(count)
        sign, matrices = numpy(even["charge"])[:, 0, 0], numpy(even["space"])
        parity = np.sign(np.linalg.det(matrices))
        for factor in (sign, parity):
            mean = factor @ matrices.reshape(count, 9)
            np.testing.assert_allclose(mean, 0, atol=1e-5)
            assert factor.sum() == 0
        # Both together: only if each is taken with the other.
        assert (sign * parity).sum() == pytest.approx(
            24 if count == 24 else 0, abs=1e-5
        )
    assert groups.Product(both).even_elements(20) is None
    three = groups.Product({"t": groups.SO3(), "n": groups.Permutations(3)})
    assert len(three.even_elements(72)["n"]) == 72
    assert three.even_elements(12) is None


def test_wallpaper_groups_move_images_by_their_products():
    group = groups.Wallpaper(5)
    a, b = (group.sample(64, seed=i) for i in range(2))
    x = np.random.default_rng(0).normal(size=(64, 5, 5, 1)).astype("float32")

    @once
    def sides(a, b, x):
        ab, back = group.compose(a, b), group.inverse(a)
        moved = group.move_grid(a, x)
        return {
            "product": (
                group.move_grid(ab, x),
                group.move_grid(a, group.move_grid(b, x)),
            ),
            "inverse": (group.move_grid(back, moved), x),
        }

    for name, pair in sides(a, b, x).items():
        left, right = map(ops.convert_to_numpy, pair)
        np.testing.assert_array_equal(left, right, err_msg=name)
    # Shifts and turns do not commute, so that this is no direct product.
    images = [ops.convert_to_numpy(g["shift"]) for g in (a, b)]
    product = ops.convert_to_numpy(group.compose(a, b)["shift"])
    assert (product != (images[0] + images[1]) % 5).any()
    with pytest.raises(ValueError, match="`order` must be.*1, 2 or 4.*3"):
        groups.Wallpaper(5, order=3)
