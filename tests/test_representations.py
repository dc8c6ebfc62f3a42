"""Representation laws: rho(gh) = rho(g) rho(h), rho(e) = 1."""

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras import ops

from keras_remul import groups, representations
from keras_remul.representations import (
    Point,
    Pseudoscalar,
    Pseudovector,
    Scalar,
    Tensor,
    Vector,
)

GROUPS = [
    groups.SO2(axis="y"),
    groups.SO2(axis=None),
    groups.SO3(),
    groups.O3(),
    groups.SE3(),
    groups.E3(),
]
LINEAR = [
    Scalar(),
    Pseudoscalar(),
    Vector(),
    Pseudovector(),
    Tensor(1),
    Tensor(2),
    Tensor(3),
]
PAIRS = [
    pytest.param(group, rep, id=f"{group!r}-{rep!r}")
    for group in GROUPS
    for rep in LINEAR
    if not (group.dimension == 2 and isinstance(rep, Pseudovector))
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


@pytest.mark.parametrize("rep", [*LINEAR, Point()], ids=repr)
def test_config_round_trip(rep):
    config = keras.saving.serialize_keras_object(rep)
    assert keras.saving.deserialize_keras_object(config) == rep


def test_names():
    assert representations.get("Vector") == Vector()
    assert representations.get(Tensor(2)) == Tensor(2)
    with pytest.raises(ValueError, match="Did you mean 'vector'"):
        representations.get("vectro")
    with pytest.raises(ValueError, match="Unknown representation 3"):
        representations.get(3)


def test_errors():
    with pytest.raises(ValueError, match="`rank`.*0"):
        Tensor(0)
    with pytest.raises(ValueError, match="no matrix rho"):
        Point().rho(groups.SE3(), groups.SE3().sample(2, seed=0))
    with pytest.raises(ValueError, match="three dimensions"):
        Pseudovector().check(groups.SO2(axis=None))
