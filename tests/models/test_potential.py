"""Potentials: scale, reference energies, forces, stress, torque."""

import keras
import numpy as np
import pytest
from compiled import outputs
from keras import ops
from scipy.spatial.transform import Rotation

import keras_remul as kr
from keras_remul.layers import ReferenceEnergies
from keras_remul.models import (
    EGNN,
    MessagePassingNetwork,
    PointEdgeTransformer,
    Potential,
    Transformer,
    VectorTransformer,
)
from keras_remul.models.wrappers.consistency import check_consistency

pytestmark = pytest.mark.usefixtures("untraced")

WIDTH = dict(num_layers=1, hidden_dim=8)
NETWORKS = {
    "PointEdgeTransformer": lambda units: PointEdgeTransformer(
        **WIDTH, num_heads=2, cutoff=3.0, readout="nodes", units=units
    ),
    "EGNN": lambda units: EGNN(
        **WIDTH, cutoff=3.0, readout="nodes", units=units
    ),
    "MessagePassingNetwork": lambda units: MessagePassingNetwork(
        **WIDTH, readout="nodes", units=units
    ),
    "Transformer": lambda units: Transformer(
        **WIDTH, num_heads=2, readout="nodes", units=units
    ),
    "VectorTransformer": lambda units: VectorTransformer(
        **WIDTH,
        vector_dim=4,
        num_heads=2,
        cutoff=3.0,
        readout="nodes",
        units=units,
    ),
}
ENERGIES = {1: -13.6, 6: -1027.6, 8: -2041.8}
NOTHING = dict.fromkeys(ENERGIES, 0.0)


def potential(name="PointEdgeTransformer", units=1, **kwargs):
    keras.utils.set_random_seed(0)
    if name != "PointEdgeTransformer":
        kwargs = {"elements": list(ENERGIES), **kwargs}
    return Potential(NETWORKS[name](units), **kwargs)


def molecules(batch=6, atoms=5, seed=0):
    """Inputs, and labels of springs between all atoms, with padding."""
    rng = np.random.default_rng(seed)
    r = 1.2 * rng.normal(size=(batch, atoms, 3))
    mask = np.arange(atoms) < rng.integers(3, atoms + 1, size=(batch, 1))
    mask[0] = True
    numbers = rng.choice(list(ENERGIES), size=(batch, atoms, 1))
    numbers = np.where(mask[..., None], numbers, 0)
    away = r[:, :, None] - r[:, None]
    pairs = (mask[:, None] & mask[:, :, None])[..., None]
    forces = -0.1 * (away * pairs).sum(axis=2)
    energy = 0.025 * (away**2 * pairs).sum(axis=(1, 2, 3))
    table = np.zeros(119)
    table[list(ENERGIES)] = list(ENERGIES.values())
    energy = energy + table[numbers[..., 0]].sum(axis=1)
    x = {
        "positions": r.astype("float32"),
        "atomic_numbers": numbers.astype("int32"),
        "mask": mask,
    }
    return x, {"energy": energy[:, None], "forces": forces.astype("float32")}


def predict(model, x):
    return model.predict(x, batch_size=8, verbose=0)


def losses(**kwargs):
    return {"energy_per_atom": "mse", "forces": "mse", **kwargs}


# --- Reference energies ---


def test_reference_energies_are_those_of_least_squares():
    x, _ = molecules(40)
    layer = ReferenceEnergies()
    given = ReferenceEnergies(ENERGIES)
    energies = given.total(x["atomic_numbers"], x["mask"])
    # In float32 they would have steps of a meV.
    energies = energies + 1e-5 * np.arange(40)[:, None]
    layer.adapt(x["atomic_numbers"], energies, x["mask"])
    total = layer.total(x["atomic_numbers"], x["mask"])
    assert total.dtype == "float64"
    np.testing.assert_allclose(total, energies, atol=1e-3, rtol=0)
    assert layer.known_elements() == [1, 6, 8]
    np.testing.assert_allclose(
        ops.convert_to_numpy(layer(x["atomic_numbers"], x["mask"])),
        total,
        rtol=1e-6,
    )


def test_reference_energies_keep_digits_beyond_float32():
    layer = ReferenceEnergies({8: -2041.839123456789})
    oxygen = np.full((1, 5, 1), 8)
    expected = 5 * -2041.839123456789
    assert abs(layer.total(oxygen)[0, 0] - expected) < 1e-7


def test_elements_without_a_reference_energy():
    layer = ReferenceEnergies(ENERGIES)
    with pytest.raises(ValueError, match=r"not known: \[7\].*\[1, 6, 8\]"):
        layer.total(np.array([[[6], [7]]]))
    assert np.isnan(ops.convert_to_numpy(layer(np.array([[[6], [7]]])))).all()


@pytest.mark.backend_independent
@pytest.mark.parametrize(
    "numbers, mask, match",
    [
        ([[[0]]], None, "from 1 to 118. Received: 0 for atom 0 of sample 0"),
        ([[[119]]], None, "Received: 119"),
        ([[[1.5]]], None, "Received: 1.5"),
        ([[1]], None, r"shape \(batch, atoms, 1\)"),
        ([[[1], [2]]], [[True]], r"`mask` of shape \(1, 2\)"),
    ],
)
def test_numbers_that_are_no_elements(numbers, mask, match):
    mask = None if mask is None else np.array(mask)
    with pytest.raises(ValueError, match=match):
        ReferenceEnergies(ENERGIES).total(np.array(numbers), mask)


@pytest.mark.backend_independent
@pytest.mark.parametrize("bad", [{0: 1.0}, {1: np.nan}, {119: 1.0}])
def test_reference_energies_that_are_none(bad):
    with pytest.raises(ValueError, match="finite energies"):
        ReferenceEnergies(bad)


# --- Labels ---


@pytest.mark.backend_independent
@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("atoms", [3, 12, 60])
def test_an_untrained_model_starts_near_the_labels(name, atoms):
    x, y = molecules(12, atoms)
    model = potential(name)
    model.adapt(x, y)
    t, p = model.targets(x, y), predict(model, x)
    for key in ("energy", "forces"):
        error = np.std(p[key] - t[key])
        # Of what the numbers of atoms do not explain.
        spread = max(np.std(t[key]), np.std(t[key] - p[key].mean()))
        assert error < 3 * spread
    np.testing.assert_allclose(
        model.total_energy(x, p), y["energy"], atol=10 * np.std(t["energy"])
    )


@pytest.mark.backend_independent
def test_labels_and_back():
    x, y = molecules()
    model = potential()
    model.adapt(x, y)
    t = model.targets(x, y)
    assert {key: a.dtype.name for key, a in t.items()} == dict.fromkeys(
        ("energy", "energy_per_atom", "forces"), "float32"
    )
    np.testing.assert_allclose(
        t["energy"][:, 0], t["energy_per_atom"][:, 0] * x["mask"].sum(1)
    )
    back = model.total_energy(x, t)
    assert back.dtype == "float64"
    np.testing.assert_allclose(back, y["energy"], atol=1e-5, rtol=0)


@pytest.mark.backend_independent
def test_adapt_again_after_training_leaves_the_model_alone():
    x, y = molecules()
    model = potential()
    model.adapt(x, y)
    before = predict(model, x)
    shifted = {**y, "energy": y["energy"] + 100.0 * x["mask"].sum(1)[:, None]}
    model.adapt_references(x, shifted)
    np.testing.assert_array_equal(predict(model, x)["energy"], before["energy"])
    error = model.total_energy(x, before) - shifted["energy"]
    assert np.abs(error).max() < 5.0


@pytest.mark.backend_independent
def test_given_references_are_kept():
    x, y = molecules()
    model = potential(references={**ENERGIES, 9: -2715.3})
    model.adapt(x, y)
    assert model.references.known_elements() == sorted(ENERGIES)
    table = ops.convert_to_numpy(model.references.table)[0]
    np.testing.assert_allclose(table[list(ENERGIES)], list(ENERGIES.values()))
    with pytest.raises(ValueError, match=r"not known: \[1, 8\]"):
        potential(references={6: -1027.6}).adapt(x, y)


@pytest.mark.backend_independent
@pytest.mark.parametrize(
    "key, value, match",
    [
        ("energy", lambda y: y["energy"][:, 0], "'energy' of shape"),
        ("energy", lambda y: y["energy"] * np.nan, "sample 0"),
        ("forces", lambda y: y["forces"][:, :2], "'forces' of shape"),
        ("forces", lambda y: y["forces"] + np.inf, "NaN or infinity"),
        ("forces", lambda y: 0 * y["forces"], "not all zero"),
        ("energy", lambda y: y["energy"] / 27.2114, "look|hartree"),
    ],
)
def test_labels_that_are_wrong(key, value, match):
    x, y = molecules()
    with pytest.raises(ValueError, match=match):
        potential().adapt(x, {**y, key: value(y)})


@pytest.mark.backend_independent
@pytest.mark.parametrize(
    "change, match",
    [
        (lambda x: x["positions"][:, :1] + 0 * x["positions"], "one place"),
        (lambda x: x["positions"] * np.nan, "finite numbers in 'positions'"),
    ],
)
def test_positions_that_are_wrong(change, match):
    x, y = molecules()
    with pytest.raises(ValueError, match=match):
        potential().adapt({**x, "positions": change(x)}, y)


@pytest.mark.backend_independent
def test_a_cell_that_is_too_small_without_a_list():
    x, y = crystal()
    with pytest.raises(ValueError, match="NaN.*2 of 2.*periodic_graph"):
        potential().adapt({**x, "box": 0.5 * x["box"]}, y)


@pytest.mark.backend_independent
def test_one_composition_alone_leaves_references_open():
    x, y = molecules()
    one = {key: np.repeat(a[:1], 2, 0) for key, a in x.items()}
    two = {key: np.repeat(a[:1], 2, 0) for key, a in y.items()}
    with pytest.warns(UserWarning, match="other compositions"):
        potential().adapt(one, two)


@pytest.mark.backend_independent
@pytest.mark.parametrize("key", ["energy", "forces"])
def test_labels_that_are_missing(key):
    x, y = molecules()
    del y[key]
    with pytest.raises(ValueError, match=key):
        potential().adapt(x, y)
    del x["atomic_numbers"]
    with pytest.raises(ValueError, match="atomic_numbers"):
        potential().targets(x, y)


# --- Energies, forces, stress ---


@pytest.mark.parametrize("name", NETWORKS)
def test_forces_are_the_gradient(name):
    x, y = molecules(3)
    model = potential(name)
    model.adapt(x, y)
    p = predict(model, x)
    assert (p["forces"][~x["mask"]] == 0).all()
    direction = np.random.default_rng(1).normal(size=p["forces"].shape)
    h = 3e-3
    up, down = (
        predict(
            model,
            {**x, "positions": (x["positions"] + s * direction).astype("f4")},
        )["energy"]
        for s in (h, -h)
    )
    work = (p["forces"] * direction).sum(axis=(1, 2))
    scale = np.abs(p["forces"]).max()
    np.testing.assert_allclose(
        -(up - down)[:, 0] / (2 * h), work, atol=2e-2 * scale, rtol=2e-2
    )
    np.testing.assert_allclose(p["forces"].sum(1), 0.0, atol=1e-4 * scale)


def test_direct_forces_have_no_sum_and_conserve_nothing():
    x, y = molecules()
    model = potential(units=4, forces="direct")
    model.adapt(x, y)
    p = predict(model, x)
    np.testing.assert_allclose(p["forces"].sum(1), 0.0, atol=1e-5)
    # The same network, and the gradient of its energy.
    other = Potential(model.model)
    assert np.abs(predict(other, x)["forces"] - p["forces"]).max() > 1e-3
    with pytest.raises(ValueError, match='"nodes" and units=4'):
        predict(potential(forces="direct"), x)
    with pytest.raises(ValueError, match='need forces="gradient"'):
        potential(forces="direct", stress=True)


def crystal(batch=2, atoms=4):
    x, y = molecules(batch, atoms)
    del x["mask"]
    x["atomic_numbers"] = np.maximum(x["atomic_numbers"], 1)
    cell = np.array([[7.0, 0, 0], [1.0, 8.0, 0], [0.5, -1.0, 7.5]])
    x["box"] = np.tile(cell, (batch, 1, 1)).astype("float32")
    return x, y


def test_stress_is_the_derivative_by_strain():
    x, _ = crystal()
    model = potential(stress=True)
    p = predict(model, x)
    np.testing.assert_allclose(p["stress"], np.swapaxes(p["stress"], 1, 2))
    strain = np.array([[0.3, 0.1, -0.2], [0.1, -0.4, 0.5], [-0.2, 0.5, 0.2]])
    h = 2e-3

    def energy(step):
        deform = np.eye(3) + step * strain
        return predict(
            model,
            {
                **x,
                "positions": (x["positions"] @ deform).astype("float32"),
                "box": (x["box"] @ deform).astype("float32"),
            },
        )["energy"][:, 0]

    found = (energy(h) - energy(-h)) / (2 * h)
    volume = np.abs(np.linalg.det(x["box"]))
    expected = (p["stress"] * strain).sum(axis=(1, 2)) * volume
    np.testing.assert_allclose(found, expected, rtol=2e-2, atol=2e-2)
    # With a list of images the same.
    neighbors, shifts = kr.graphs.periodic_graph(x["positions"], 3.0, x["box"])
    listed = predict(model, {**x, "neighbors": neighbors, "shifts": shifts})
    for key in p:
        np.testing.assert_allclose(listed[key], p[key], atol=2e-5)


@pytest.mark.backend_independent
def test_stress_needs_a_cell():
    x, _ = crystal()
    edges = {**x, "box": np.full((2, 3), 7.0, "float32")}
    for wrong in ({k: v for k, v in x.items() if k != "box"}, edges):
        with pytest.raises(ValueError, match="lattice vectors"):
            potential(stress=True)(wrong)


# --- Torque ---


def torque(x, forces):
    r = x["positions"] - x["positions"].mean(axis=1, keepdims=True)
    return np.cross(r, forces).sum(axis=1)


def test_the_torque_is_the_derivative_by_a_rotation():
    x, _ = molecules(3)
    model = potential()
    forces = predict(model, x)["forces"]
    axis, h = np.array([0.0, 0.6, 0.8]), 1e-2

    def energy(angle):
        turn = Rotation.from_rotvec(angle * axis).as_matrix()
        turned = (x["positions"] @ turn.T).astype("float32")
        return predict(model, {**x, "positions": turned})["energy"][:, 0]

    found = (energy(h) - energy(-h)) / (2 * h)
    expected = -torque(x, forces) @ axis
    np.testing.assert_allclose(found, expected, rtol=2e-2, atol=2e-3)


@pytest.mark.parametrize("make", [molecules, crystal])
def test_the_torque_is_added_to_the_loss(make):
    """Without a cell by hand; in a cell by a rotation of all of it."""
    x, y = make(4)
    weight = 0.5
    model = potential(torque_weight=weight)
    model.adapt(x, y)
    t = model.targets(x, y)
    model.compile(keras.optimizers.SGD(0.0), loss=losses())
    logs = model.fit(x, t, batch_size=4, verbose=0, shuffle=False).history
    added = logs["loss"][0] - sum(logs[f"{k}_loss"][0] for k in losses())
    p = predict(model, x)
    atoms = x["mask"].sum(1) if "mask" in x else 4
    if "mask" in x:
        square = (torque(x, p["forces"]) ** 2).sum(-1)
    else:
        square = np.zeros(4)
        for axis in np.eye(3):
            h = 1e-2
            up, down = (
                predict(
                    model,
                    {
                        **x,
                        **{
                            key: (x[key] @ turn.T).astype("float32")
                            for key in ("positions", "box")
                        },
                    },
                )["energy"][:, 0]
                for turn in Rotation.from_rotvec(
                    [h * axis, -h * axis]
                ).as_matrix()
            )
            square += ((up - down) / (2 * h)) ** 2
    expected = weight * np.mean(square / atoms)
    np.testing.assert_allclose(added, expected, rtol=5e-2, atol=1e-5)
    assert expected > 1e-5


@pytest.mark.backend_independent
def test_a_torque_weight_makes_the_energy_invariant():
    x, y = molecules(16)
    spread = {}
    for weight in (0.0, 100.0):
        model = potential(torque_weight=weight)
        model.adapt(x, y)
        model.compile(keras.optimizers.Adam(1e-2), loss=losses())
        model.fit(x, model.targets(x, y), epochs=30, batch_size=16, verbose=0)
        f = predict(model, x)["forces"]
        spread[weight] = np.mean(torque(x, f) ** 2)
    assert spread[100.0] < 0.3 * spread[0.0]


# --- In training ---


def bonded(batch=4):
    """One molecule that vibrates, with labels of Morse bonds."""
    rng = np.random.default_rng(0)
    rest = np.array([[0, 0, 0], [1.2, 0, 0], [0, 1.2, 0], [0, 0, 1.2]])
    r = rest + 0.1 * rng.normal(size=(batch, 4, 3))
    away = r[:, :1] - r[:, 1:]
    d = np.linalg.norm(away, axis=-1, keepdims=True)
    decay = np.exp(2.0 * (1.2 - d))
    bonds = -16.0 * (1.0 - decay) * decay * away / d
    forces = np.concatenate([bonds.sum(1, keepdims=True), -bonds], axis=1)
    x = {
        "positions": r.astype("float32"),
        "atomic_numbers": np.tile([[6], [1], [1], [8]], (batch, 1, 1)),
    }
    energy = 4.0 * np.square(1.0 - decay).sum(axis=1)
    return x, {"energy": energy, "forces": forces.astype("float32")}


def unlearned(model):
    """What is left of the forces of `bonded` after some steps."""
    x, y = bonded()
    model.adapt(x, y)
    model.compile(keras.optimizers.Adam(2e-2), loss=losses())
    model.fit(x, model.targets(x, y), epochs=60, batch_size=4, verbose=0)
    error = predict(model, x)["forces"] - y["forces"]
    return np.std(error) / np.std(y["forces"])


@pytest.mark.backend_independent
@pytest.mark.parametrize("name", NETWORKS)
def test_a_few_molecules_are_learned_by_heart(name):
    assert unlearned(potential(name, references=NOTHING)) < 0.5


@pytest.mark.backend_independent
@pytest.mark.parametrize(
    "energy, force, match",
    [
        (1.0, 1.0, None),
        (1.0, -1.0, "without the minus sign"),
        (1.0 / 27.2114, 1.0, "energies are in hartree"),
        (23.0605, 1.0, "energies are in kcal/mol"),
        (1.0, 23.0605, "forces are in kcal/mol/Angstrom"),
        (1.0, 0.0194469, "forces are in hartree/bohr"),
        (0.0, 3.0, None),  # energies that say nothing
    ],
)
def test_energies_are_those_of_the_forces(energy, force, match):
    x, y = bonded(40)
    # Frames may be turned.
    turns = Rotation.random(40, random_state=0).as_matrix()
    arrays = (
        x["positions"] @ turns,
        x["atomic_numbers"][..., 0],
        energy * y["energy"][:, 0],
        force * y["forces"] @ turns,
    )
    if match is None:
        check_consistency(*arrays)
        return
    with pytest.raises(ValueError, match=match):
        check_consistency(*arrays)
    y = {"energy": energy * y["energy"], "forces": force * y["forces"]}
    with pytest.raises(ValueError, match=match):
        potential(references=NOTHING).adapt(x, y)


@pytest.mark.backend_independent
def test_egnn_without_a_cutoff_does_not_tell_bonds():
    keras.utils.set_random_seed(0)
    net = EGNN(**WIDTH, readout="nodes")
    model = Potential(net, elements=list(ENERGIES), references=NOTHING)
    assert unlearned(model) > 0.8


@pytest.mark.traced
@pytest.mark.parametrize("stress", [False, True])
def test_remul_on_energies_and_forces(stress):
    x, y = crystal(8) if stress else molecules(8)
    model = potential(stress=stress)
    model.adapt(x, y)
    t = model.targets(x, y)
    if stress:
        t["stress"] = np.zeros((8, 3, 3), "float32")
    remul = kr.RemulModel(
        model, model.make_symmetry(x), target="predictions", seed=0
    )
    remul.compile(keras.optimizers.Adam(1e-2), loss=losses())
    history = remul.fit(x, t, epochs=4, batch_size=4, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]
    assert np.isfinite(history["equivariance_error"]).all()


@pytest.mark.traced
@pytest.mark.parametrize(
    "name, make", [("EGNN", crystal), ("VectorTransformer", molecules)]
)
def test_equivariance_of_an_equivariant_model(name, make):
    """Its energies, forces and stress move as declared."""
    x, y = make(4)
    model = potential(name, stress="box" in x)
    model.adapt(x, y)
    measured = kr.evaluate_equivariance(model, x, model.make_symmetry(x))
    assert measured["relative_equivariance_error"] < 1e-4


@pytest.mark.traced
def test_equivariance_of_another_model():
    x, y = crystal(4)
    model = potential("MessagePassingNetwork", stress=True)
    model.adapt(x, y)
    measured = kr.evaluate_equivariance(model, x, model.make_symmetry(x))
    assert measured["relative_equivariance_error"] > 1e-2


def test_elements_and_what_is_none():
    x, y = molecules()
    model = potential("EGNN")
    model.adapt(x, y)
    unknown = {**x, "atomic_numbers": np.where(x["mask"][..., None], 7, 0)}
    energy = outputs(model, unknown)["energy"]
    assert np.isnan(energy).all()
    del x["atomic_numbers"]
    with pytest.raises(ValueError, match="`elements` needs inputs"):
        model(x)


@pytest.mark.backend_independent
@pytest.mark.parametrize(
    "kwargs, match",
    [
        (dict(forces="free"), "`forces` must be one of"),
        (dict(torque_weight=-1.0), "`torque_weight` must be.*at least 0"),
        (dict(torque_weight=np.nan), "`torque_weight` must be.*at least 0"),
    ],
)
def test_arguments_that_are_wrong(kwargs, match):
    with pytest.raises(ValueError, match=match):
        potential(**kwargs)


def test_saved_and_loaded_with_its_scale(tmp_path):
    x, y = molecules()
    model = potential(units=4, forces="direct")
    model.adapt(x, y)
    model.save_to_preset(tmp_path / "preset", x=x)
    again = kr.from_preset(tmp_path / "preset")
    assert again.forces == "direct"
    p, q = predict(model, x), predict(again, x)
    np.testing.assert_allclose(q["forces"], p["forces"], atol=1e-6)
    np.testing.assert_array_equal(
        again.total_energy(x, p), model.total_energy(x, p)
    )
