"""Representation laws: rho(gh) = rho(g) rho(h), rho(e) = 1."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

from keras_remul import Symmetry, groups, representations
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
    act,
)

GROUPS = [
    groups.SO2(axis="y"),
    groups.SO2(axis=None),
    groups.SO3(),
    groups.O3(),
    groups.SE3(),
    groups.E3(),
    groups.E2(),
    groups.Lorentz(max_rapidity=0.5),
    groups.Product({"turn": groups.O3(), "unit": groups.Scalings(1.5)}),
    groups.Product({"boost": groups.Boosts("z", 0.5), "turn": groups.O2("z")}),
]
LINEAR = [
    Scalar(),
    Pseudoscalar(),
    Vector(),
    Pseudovector(),
    Tensor(1),
    Tensor(2),
    Tensor(3),
    SymmetricMatrix(),
    FourVector(),
    Irrep(3, parity=1),
    DirectSum(["pseudoscalar", "vector", SymmetricMatrix()]),
    Homogeneous(-1.5, "vector"),
    MirrorPermutation([0, 2, 1, 3]),
    Odd("vector"),
]


def fits(group, rep):
    try:
        rep.check(group)
    except ValueError:
        return False
    return True


PAIRS = [
    pytest.param(group, rep, id=f"{group!r}-{rep!r}")
    for group in GROUPS
    for rep in LINEAR
    if fits(group, rep)
]
POINT_PAIRS = [
    pytest.param(group, Point(), id=f"{group!r}-Point()") for group in GROUPS
]
seeds = st.integers(0, 2**31 - 1)


def numpy(x):
    return ops.convert_to_numpy(x)


def features(rep, group, n, seed):
    shape = (n, 5, *rep.shape(group))
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


@pytest.mark.parametrize("group, rep", PAIRS)
@settings(max_examples=2)
@given(seed=seeds)
def test_rho_is_a_homomorphism(group, rep, seed):
    a, b = group.sample(3, seed=seed), group.sample(3, seed=seed + 1)
    k = int(np.prod(rep.shape(group)))

    def rho(g):
        return numpy(rep.rho(group, g))

    np.testing.assert_allclose(
        rho(group.compose(a, b)), rho(a) @ rho(b), atol=2e-5
    )
    np.testing.assert_allclose(
        rho(group.identity(3)), np.tile(np.eye(k), (3, 1, 1)), atol=1e-6
    )
    np.testing.assert_allclose(
        rho(group.inverse(a)), np.linalg.inv(rho(a)), atol=2e-5
    )


@pytest.mark.parametrize("group, rep", PAIRS + POINT_PAIRS)
@settings(max_examples=2)
@given(seed=seeds)
def test_transform_is_an_action(group, rep, seed):
    a, b = group.sample(3, seed=seed), group.sample(3, seed=seed + 1)
    x = features(rep, group, 3, seed)
    once = rep.transform(group, group.compose(a, b), ops.convert_to_tensor(x))
    moved = rep.transform(group, b, ops.convert_to_tensor(x))
    twice = rep.transform(group, a, moved)
    np.testing.assert_allclose(numpy(once), numpy(twice), atol=5e-5)
    back = rep.transform(group, group.inverse(b), moved)
    np.testing.assert_allclose(numpy(back), x, atol=2e-5)


@pytest.mark.parametrize("group, rep", PAIRS)
def test_transform_agrees_with_rho(group, rep):
    g = group.sample(3, seed=0)
    x = features(rep, group, 3, 0)
    flat = x.reshape(3, 5, -1)
    expected = flat @ np.swapaxes(numpy(rep.rho(group, g)), 1, 2)
    got = numpy(rep.transform(group, g, ops.convert_to_tensor(x)))
    np.testing.assert_allclose(got.reshape(flat.shape), expected, atol=1e-5)


def test_against_numpy_by_hand(rng):
    group = groups.E3()
    g = group.sample(4, seed=0)
    r, t = numpy(g)[:, :3, :3], numpy(g)[:, :3, 3]
    det = np.linalg.det(r)
    x = rng.normal(size=(4, 3)).astype("float32")
    rotated = np.einsum("bij,bj->bi", r, x)

    def act(rep, value=x):
        return numpy(rep.transform(group, g, ops.convert_to_tensor(value)))

    def close(got, expected):
        np.testing.assert_allclose(got, expected, atol=1e-5)

    close(act(Vector()), rotated)
    close(act(Point()), rotated + t)
    close(act(Pseudovector()), det[:, None] * rotated)
    close(act(Pseudoscalar()), det[:, None] * x)
    close(act(Scalar()), x)
    tensor = rng.normal(size=(4, 3, 3)).astype("float32")
    close(act(Tensor(2), tensor), r @ tensor @ np.swapaxes(r, 1, 2))
    # The cross product of two vectors is a pseudovector.
    y = rng.normal(size=(4, 3)).astype("float32")
    close(
        np.cross(act(Vector()), act(Vector(), y)),
        act(Pseudovector(), np.cross(x, y)),
    )


def test_leading_axes_share_the_element_of_their_sample(rng):
    group = groups.SO3()
    g = group.sample(2, seed=0)
    x = rng.normal(size=(2, 4, 5, 3)).astype("float32")
    got = numpy(Vector().transform(group, g, ops.convert_to_tensor(x)))
    expected = np.einsum("bij,bnkj->bnki", numpy(g), x)
    np.testing.assert_allclose(got, expected, atol=1e-5)


EVERY = [
    *LINEAR,
    Point(),
    Grid("vector"),
    OnFactor("a", DirectSum(["1o", "point"])),
    PerNode("scalar"),
    PerSample(OnFactor("a", "vector")),
]


@pytest.mark.parametrize("rep", EVERY, ids=repr)
def test_config_round_trip(rep):
    config = keras.saving.serialize_keras_object(rep)
    again = keras.saving.deserialize_keras_object(config)
    assert again == rep and repr(again) == repr(rep)
    assert again.moves_origin == rep.moves_origin
    assert again.per_node == rep.per_node


def test_names():
    assert representations.get("Vector") == Vector()
    assert representations.get(Tensor(2)) == Tensor(2)
    with pytest.raises(ValueError, match="Did you mean 'vector'"):
        representations.get("vectro")
    with pytest.raises(ValueError, match="Unknown representation 3"):
        representations.get(3)
    get = representations.get
    assert get("four_vector") == FourVector()
    assert get("symmetric_matrix") == SymmetricMatrix()
    assert get("0e") == Scalar() and get("0o") == Pseudoscalar()
    assert get("1o") == Irrep(1) and get("1e") == Irrep(1, parity=1)
    assert get("6e") == Irrep(6)
    assert get("image") == Grid(Scalar())
    assert get("0e + 1o") == DirectSum([Scalar(), Irrep(1)])
    assert get("vector@left") == OnFactor("left", Vector())
    assert get("0e + 1o@left") == OnFactor("left", DirectSum(["0e", "1o"]))
    assert get("scalar per node") == PerNode(Scalar())
    assert get("0e + 1o@left per sample") == PerSample(
        OnFactor("left", DirectSum(["0e", "1o"]))
    )
    for unknown in ("7e", "9o", "1x", "vector + vektor"):
        with pytest.raises(ValueError):
            get(unknown)


def test_direct_sum():
    total = Scalar() + Vector() + Tensor(2)
    assert total == DirectSum(["scalar", DirectSum(["vector", Tensor(2)])])
    assert total.shape(groups.SO3()) == (13,)
    group = groups.E3()
    parts = DirectSum(["point", "pseudovector", Tensor(2)])
    assert parts.moves_origin and not total.moves_origin
    g = group.sample(3, seed=0)
    x = features(parts, group, 3, 0)
    moved = numpy(parts.transform(group, g, ops.convert_to_tensor(x)))
    slices = ((Point(), 0, 3), (Pseudovector(), 3, 6), (Tensor(2), 6, 15))
    for rep, start, stop in slices:
        part = x[..., start:stop].reshape(3, 5, *rep.shape(group))
        expected = rep.transform(group, g, ops.convert_to_tensor(part))
        np.testing.assert_allclose(
            moved[..., start:stop],
            numpy(expected).reshape(3, 5, -1),
            atol=1e-5,
        )


def test_symmetric_matrix_is_the_matrix(rng):
    group = groups.SO3()
    g = group.sample(4, seed=0)
    a = rng.normal(size=(4, 3, 3)).astype("float32")
    a = a + np.swapaxes(a, 1, 2)
    voigt = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))

    def pack(m):
        return np.stack([m[:, i, j] for i, j in voigt], axis=-1)

    moved = SymmetricMatrix().transform(
        group, g, ops.convert_to_tensor(pack(a))
    )
    r = numpy(g)
    expected = pack(r @ a @ np.swapaxes(r, 1, 2))
    np.testing.assert_allclose(numpy(moved), expected, atol=1e-5)


def test_four_vector_under_space_and_lorentz(rng):
    x = rng.normal(size=(4, 5, 4)).astype("float32")
    group = groups.O3()
    g = group.sample(4, seed=0)
    moved = numpy(FourVector().transform(group, g, ops.convert_to_tensor(x)))
    np.testing.assert_array_equal(moved[..., 0], x[..., 0])
    expected = x[..., 1:] @ np.swapaxes(numpy(g), 1, 2)
    np.testing.assert_allclose(moved[..., 1:], expected, atol=1e-5)


def test_grids_move_cells_and_components(rng):
    # The gradient of an image is a vector field on it.
    group = groups.Dihedral(4)
    g = group.sample(16, seed=0)
    image = rng.normal(size=(16, 6, 6)).astype("float32")

    def gradient(u):
        dx = np.roll(u, -1, axis=2) - np.roll(u, 1, axis=2)
        dy = np.roll(u, 1, axis=1) - np.roll(u, -1, axis=1)  # y is up
        return np.stack([dx, dy], axis=-1)

    moved = Grid().transform(group, g, ops.convert_to_tensor(image[..., None]))
    expected = gradient(numpy(moved)[..., 0])
    field = Grid("vector").transform(
        group, g, ops.convert_to_tensor(gradient(image))
    )
    np.testing.assert_allclose(numpy(field), expected, atol=1e-6)
    assert not np.allclose(numpy(field), gradient(image))


@keras.saving.register_keras_serializable("tests")
class Spin2(Representation):
    """A user's own: (xx - yy, 2 xy), turned by twice the angle."""

    def check(self, group):
        if group.dimension != 2:
            raise ValueError(f"Spin2() is of the plane. Received: {group!r}")

    def shape(self, group):
        return (2,)

    def transform(self, group, g, x):
        return act(group.compose(group.linear(g), group.linear(g)), x)


def test_own_representation(rng):
    group = groups.SO2(axis=None)
    g = group.sample(4, seed=0)
    rep = Spin2()
    v = rng.normal(size=(4, 2)).astype("float32")

    def spin(u):
        return np.stack([u[:, 0] ** 2 - u[:, 1] ** 2, 2 * u[:, 0] * u[:, 1]], 1)

    turned = numpy(Vector().transform(group, g, ops.convert_to_tensor(v)))
    moved = rep.transform(group, g, ops.convert_to_tensor(spin(v)))
    np.testing.assert_allclose(numpy(moved), spin(turned), atol=1e-5)
    assert (rep + Vector()).shape(group) == (4,)
    config = keras.saving.serialize_keras_object(rep + Vector())
    assert keras.saving.deserialize_keras_object(config) == rep + Vector()
    symmetry = Symmetry(group, {"e": rep}, rep)
    assert symmetry.transform_inputs(g, {"e": spin(v)})["e"].shape == (4, 2)
    with pytest.raises(ValueError, match="`outputs`: Spin2"):
        Symmetry(groups.SO3(), "vector", rep)


def test_errors():
    with pytest.raises(ValueError, match="`rank`.*0"):
        Tensor(0)
    with pytest.raises(ValueError, match="no matrix rho"):
        Point().rho(groups.SE3(), groups.SE3().sample(2, seed=0))
    with pytest.raises(ValueError, match="three dimensions"):
        Pseudovector().check(groups.SO2(axis=None))


TWO = groups.Product({"a": groups.SO3(), "b": groups.SO3()})


@pytest.mark.parametrize(
    "rep, group, message",
    [
        (Vector(), groups.Permutations(4), r"Vector\(\).*acts on vectors"),
        (Point(), groups.CircularShifts((3, 3)), r"Point\(\).*on vectors"),
        (Tensor(2), groups.Permutations(4), r"Tensor\(rank=2\)"),
        (Vector(), TWO, r"\['a', 'b'\].*OnFactor\('a', Vector\(\)\)"),
        (Homogeneous(1), TWO, "do not commute"),
        (FourVector(), groups.O2(), "3 or 4 dimensions.*2 dimensions"),
        (Pseudovector(), groups.Lorentz(), "3 dimensions.*4 dimensions"),
        (Grid(), groups.SO3(), r"Grid\(Scalar\(\)\).*on a grid"),
        (Grid(), groups.Cyclic(3), "order 1, 2 or 4"),
        (Grid("vector"), groups.CircularShifts((3, 3)), "on vectors"),
        (OnFactor("c", Vector()), TWO, "factor 'c'"),
        (OnFactor("a", Vector()), groups.SO3(), "factor 'a'"),
        (DirectSum(["scalar", "2e"]), groups.O2(), "Irrep"),
    ],
)
def test_representations_that_do_not_fit(rep, group, message):
    with pytest.raises(ValueError, match=message):
        rep.check(group)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: DirectSum([]), "`representations`"),
        (lambda: MirrorPermutation([1, 2, 0]), r"`partners`.*\[1, 2, 0\]"),
        (lambda: MirrorPermutation([3, 0]), "`partners`"),
        (lambda: DirectSum("vector"), "`representations`.*'vector'"),
        (lambda: DirectSum(["image", "scalar"]), "Grid"),
        (lambda: Grid("point"), r"Grid must be linear.*Point\(\)"),
        (lambda: Grid(PerNode("scalar")), r"PerNode or PerSample"),
        (lambda: PerNode("image"), r"wrapped again.*Grid\(Scalar"),
        (lambda: PerSample(PerNode("vector")), r"wrapped again.*PerNode"),
        (lambda: PerNode("scalar") + Vector(), r"cannot be.*PerNode\(\.\.\.\)"),
        (lambda: Homogeneous(2, "point"), r"must be linear.*Point\(\)"),
    ],
)
def test_constructor_errors(make, message):
    with pytest.raises(ValueError, match=message):
        make()
