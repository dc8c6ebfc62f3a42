"""Alignment: exact about any axis, with reflections, whatever the order."""

import keras
import numpy as np
import pytest
from compiled import outputs
from keras import ops
from scipy.spatial.transform import Rotation

from keras_remul import (
    Alignment,
    Canonicalization,
    Symmetry,
    evaluate_equivariance,
    groups,
)
from keras_remul.models import ConservativeForces, MessagePassingNetwork
from keras_remul.representations import MirrorPermutation

pytestmark = pytest.mark.usefixtures("untraced")

GROUPS = [
    groups.SO2(axis="y"),
    groups.O2(axis=[1.0, 2.0, 2.0]),
    groups.SO3(),
    groups.O3(),
    groups.SO2(axis=None),
]


def symmetry(group, partners=None):
    inputs = {"positions": "point", "velocities": "vector"}
    if partners:
        inputs["parts"] = MirrorPermutation(partners)
    return Symmetry(group, inputs, "point")


@pytest.fixture
def body(rng):
    """Samples of a body that changes its shape a little."""

    def make(dim=3, samples=8):
        shape = 2 * rng.normal(size=(6, dim))
        x = shape + 0.2 * rng.normal(size=(samples, 6, dim))
        v = rng.normal(size=(samples, 6, dim))
        return {
            "positions": x.astype("float32"),
            "velocities": v.astype("float32"),
        }

    return make


def network(x):
    model = MessagePassingNetwork(num_layers=1, hidden_dim=8)
    model.build({key: a.shape for key, a in x.items()})
    rng = np.random.default_rng(0)
    model.set_weights(
        [0.5 * rng.normal(size=w.shape) for w in model.get_weights()]
    )
    return model


def error(model, sym, x):
    result = evaluate_equivariance(
        lambda x: outputs(model, x), x, sym, num_samples=2
    )
    return result["relative_equivariance_error"]


@pytest.mark.parametrize("group", GROUPS, ids=repr)
def test_equivariant(group, body):
    x, sym = body(group.dimension), symmetry(group)
    plain = network(x)
    model = Alignment(plain, sym)
    model(x)
    assert error(plain, sym, x) > 1e-2
    assert error(model, sym, x) > 1e-2  # no reference yet
    model.adapt(x)
    assert error(model, sym, x) < 2e-5


def test_keeps_what_the_group_lets_be(body):
    # Turns about y leave the vertical to the network.
    x = body()
    model = Alignment(network(x), symmetry(groups.SO2(axis="y")))
    model.adapt(x)
    assert error(model, symmetry(groups.SO3()), x) > 1e-2


def test_order_of_mirrored_nodes(body):
    x = body()
    x["parts"] = np.tile(np.eye(6, dtype="float32"), (8, 1, 1))
    sym = symmetry(groups.O2(axis="y"), [1, 0, 3, 2, 4, 5])
    model = Alignment(network(x), sym, identity="parts")
    model.adapt(x)
    assert error(model, sym, x) < 2e-5
    # A mirror image with left and right exchanged fits the reference only
    # where the nodes are looked up.
    g = ops.convert_to_tensor(sym.group.reflection()[None], "float32")
    g = ops.tile(g, (8, 1, 1))
    moved = sym.transform_inputs(g, x)
    back = [ops.convert_to_numpy(f) for f in model.frames(moved)[0]]
    front = [ops.convert_to_numpy(f) for f in model.frames(x)[0]]
    mirror = sym.group.reflection()
    np.testing.assert_allclose(back[1], mirror @ front[0], atol=1e-4)
    np.testing.assert_allclose(back[0], mirror @ front[1], atol=1e-4)


@pytest.mark.parametrize("group", GROUPS[:4], ids=repr)
def test_rotation_near(group, rng):
    # The rotation itself, from noisy pairs of points; 0 says nothing.
    rotations = groups.SO3() if group.dimension == 3 else group
    if isinstance(group, groups.SO2 | groups.O2):
        rotations = groups.SO2(axis=group.axis)
    r = ops.convert_to_numpy(rotations.sample(5, seed=0))
    p = rng.normal(size=(5, 20, 3))
    q = np.einsum("bij,bnj->bni", r, p)
    m = np.einsum("bni,bnj->bij", q, p).astype("float32")
    found = ops.convert_to_numpy(group.rotation_near(ops.convert_to_tensor(m)))
    np.testing.assert_allclose(found, r, atol=1e-5)
    zero = ops.convert_to_numpy(group.rotation_near(ops.zeros((2, 3, 3))))
    np.testing.assert_allclose(zero, np.tile(np.eye(3), (2, 1, 1)), atol=1e-6)


@pytest.mark.parametrize("sign", [1, -1])
def test_rotation_near_agrees_with_scipy(sign, rng):
    # Also where the best orthogonal matrix is a reflection.
    p = rng.normal(size=(4, 3))
    q = sign * p + 0.1 * rng.normal(size=(4, 3))
    assert np.sign(np.linalg.det(q.T @ p)) == sign
    expected, _ = Rotation.align_vectors(q, p)
    m = ops.convert_to_tensor((q.T @ p)[None], "float32")
    found = ops.convert_to_numpy(groups.SO3().rotation_near(m))[0]
    np.testing.assert_allclose(found, expected.as_matrix(), atol=1e-4)


def test_config_and_weights(body, tmp_path):
    x = body()
    model = Alignment(network(x), symmetry(groups.O3()), name="aligned")
    model.adapt(x)
    y = model.predict(x, verbose=0)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(again.predict(x, verbose=0), y, atol=1e-5)
    assert again.get_config()["points"] == "positions"


def test_errors(body):
    x = body()
    for group in (groups.E3(), groups.Lorentz()):
        wrong = "four_vector" if group.dimension == 4 else "vector"
        with pytest.raises(ValueError, match="under SO2, O2, SO3 or O3"):
            Alignment(network(x), Symmetry(group, [wrong], wrong))
    with pytest.raises(ValueError, match="must be a keras.Model"):
        Alignment(None, symmetry(groups.O3()))
    model = Alignment(network(x), symmetry(groups.O3()))
    with pytest.raises(ValueError, match="without padding"):
        model.adapt({**x, "mask": np.ones((8, 6))})
    # Principal axes cannot leave the vertical alone.
    with pytest.raises(ValueError, match="all rotations"):
        Canonicalization(network(x), symmetry(groups.O2(axis="y")))


# --- Where the best rotation is not unique ---

LINES = [groups.SO3(), groups.O3(), groups.SO2(axis="y"), groups.SO2(axis=None)]


def on_a_line(group, nodes=4, samples=3):
    """Nodes on the vertical; in the plane, in one place."""
    x = np.zeros((samples, nodes, group.dimension), "float32")
    if group.dimension == 3:
        x[:, :, 1] = [0.0, 1.0, 3.0, 4.5][:nodes]
    v = np.random.default_rng(0).normal(size=x.shape)
    return {"positions": x, "velocities": v.astype("float32")}


@pytest.mark.parametrize("group", LINES, ids=repr)
def test_refuses_a_reference_on_a_line(group, body):
    x = on_a_line(group)
    model = Alignment(network(x), symmetry(group))
    with pytest.raises(ValueError, match="lie on a line"):
        model.adapt(x)
    assert not ops.convert_to_numpy(model.reference).any()
    two = {key: a[:, :2] for key, a in body().items()}
    if group.dimension == 3 and group.generators().keys() > {"rotation"}:
        with pytest.raises(ValueError, match="The mean of the 2 nodes"):
            Alignment(network(two), symmetry(group)).adapt(two)


def test_two_nodes_are_enough_about_an_axis(body):
    x = {key: a[:, :2] for key, a in body().items()}
    sym = symmetry(groups.SO2(axis="y"))
    model = Alignment(network(x), sym)
    model.adapt(x)
    assert model.determined(x).all()
    assert error(model, sym, x) < 2e-5


@pytest.mark.parametrize("group", GROUPS, ids=repr)
def test_says_where_the_rotation_is_not_determined(group, body):
    x = body(group.dimension, samples=3)
    model = Alignment(network(x), symmetry(group))
    model(x)
    assert not model.determined(x).any()  # no reference yet
    model.adapt(x)
    assert model.determined(x).all()
    x["positions"][1] = x["positions"][1, :1]  # all in one place
    np.testing.assert_array_equal(model.determined(x), [True, False, True])


@pytest.mark.parametrize("ready", [True, False])
@pytest.mark.parametrize("group", [GROUPS[0], GROUPS[3]], ids=repr)
def test_gradients_are_finite(group, ready, body):
    x = body(group.dimension)
    sym = Symmetry(group, symmetry(group).inputs, "scalar")
    inner = MessagePassingNetwork(num_layers=1, hidden_dim=4, readout="graph")
    model = Alignment(inner, sym)
    if ready:
        model.adapt(x)
    x["positions"][0] = 0.0  # in one place
    if group.dimension == 3:
        x["positions"][1] = on_a_line(group)["positions"][0, :1]
        x["positions"][2] *= [0.0, 1.0, 0.0]
    forces = ConservativeForces(model)
    forces.compile("adam", {"energy": "mse", "forces": "mse"})
    labels = {"energy": np.ones((8, 1)), "forces": x["velocities"]}
    forces.fit(x, labels, verbose=0)
    y = outputs(forces, x)
    assert np.isfinite(y["forces"]).all() and np.isfinite(y["energy"]).all()
    assert all(np.isfinite(w).all() for w in forces.get_weights())


@pytest.mark.parametrize("group", GROUPS[:4], ids=repr)
def test_padding(group, body):
    x = body()
    sym = symmetry(group)
    model = Alignment(network(x), sym)
    model.adapt(x)
    mask = np.arange(6) < np.array([[6], [5], [4]] + [[6]] * 5)
    masked = {**x, "mask": mask}
    y = outputs(model, masked)
    assert error(model, sym, masked) < 2e-5
    spoilt = {
        key: np.where(mask[:, :, None], x[key], 1e3).astype("float32")
        for key in x
    }
    again = outputs(model, {**spoilt, "mask": mask})
    valid = mask[:, :, None] * np.ones(3, bool)
    np.testing.assert_allclose(again[valid], y[valid], atol=1e-4)
