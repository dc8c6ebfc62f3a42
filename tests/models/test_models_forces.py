"""Forces: finite differences, zero work, training, padding."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_remul import Symmetry, evaluate_equivariance, groups
from keras_remul.models import (
    EGNN,
    ConservativeForces,
    MessagePassingNetwork,
    Transformer,
)

pytestmark = pytest.mark.usefixtures("untraced")

BATCH, NODES = 4, 4
ALL = [EGNN, MessagePassingNetwork, Transformer]


def small(cls, **kwargs):
    keras.utils.set_random_seed(0)
    kwargs = {"num_layers": 2, "hidden_dim": 8, "readout": "graph", **kwargs}
    if cls is Transformer:
        kwargs["num_heads"] = 2
    return cls(**kwargs)


def bodies():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(BATCH, NODES, 3)).astype("float32")
    return {"positions": x, "charges": np.ones((BATCH, NODES, 1), "float32")}


def call(model, x):
    return model.predict(x, batch_size=BATCH, verbose=0)


def moved(x, step):
    return {**x, "positions": x["positions"] + np.asarray(step, "float32")}


@pytest.mark.parametrize("cls", ALL)
def test_finite_differences_and_translation(cls):
    x, model = bodies(), ConservativeForces(small(cls))
    forces = call(model, x)["forces"]
    assert np.abs(forces).max() > 1e-2
    direction = np.random.default_rng(1).normal(size=forces.shape)
    step = 1e-2 * direction
    up = call(model, moved(x, step))["energy"]
    down = call(model, moved(x, -step))["energy"]
    work = (forces * direction).sum(axis=(1, 2))
    np.testing.assert_allclose(
        -(up - down)[:, 0] / 2e-2, work, rtol=1e-2, atol=1e-3
    )
    np.testing.assert_allclose(forces.sum(axis=1), 0.0, atol=1e-5)


def test_jacobian_is_symmetric_but_not_that_of_free_forces():
    # dF_i/dx_j = dF_j/dx_i is what makes the work along loops vanish.
    x = {key: a[:1] for key, a in bodies().items()}
    size, h = NODES * 3, 1e-2
    steps = np.concatenate([np.eye(size), -np.eye(size)]) * h
    many = {k: np.repeat(a, 2 * size, axis=0) for k, a in x.items()}
    many["positions"] = many["positions"] + steps.reshape(-1, NODES, 3).astype(
        "float32"
    )

    def asymmetry(forces):
        forces = forces.reshape(2, size, size).astype("float64")
        jacobian = (forces[0] - forces[1]) / (2 * h)
        return np.abs(jacobian - jacobian.T).max() / np.abs(jacobian).max()

    model = ConservativeForces(small(MessagePassingNetwork))
    predict = dict(batch_size=2 * size, verbose=0)
    assert asymmetry(model.predict(many, **predict)["forces"]) < 1e-2
    free = small(MessagePassingNetwork, readout="nodes", units=3)
    assert asymmetry(free.predict(many, **predict)) > 0.1


def test_rotations_turn_the_forces_of_egnn_alone():
    x = bodies()
    symmetry = Symmetry(
        groups.E3(),
        {"positions": "point", "charges": "scalar"},
        {"energy": "scalar", "forces": "vector"},
    )
    for cls in (EGNN, MessagePassingNetwork):
        model = ConservativeForces(small(cls))
        error = evaluate_equivariance(model, x, symmetry, num_samples=2)
        error = error["relative_equivariance_error"]
        assert error < 1e-5 if cls is EGNN else error > 1e-2


@pytest.mark.traced
@pytest.mark.parametrize("cls", ALL)
def test_fit_through_the_second_derivative(cls, tmp_path):
    x, model = bodies(), ConservativeForces(small(cls))
    # Springs to the center.
    away = x["positions"] - x["positions"].mean(axis=1, keepdims=True)
    energy = 0.5 * np.square(away).sum(axis=(1, 2))[:, None]
    y = {"energy": energy, "forces": -away}
    model.compile(
        keras.optimizers.Adam(1e-2),
        {"energy": "mse", "forces": "mse"},
        loss_weights={"energy": 1e-2, "forces": 1.0},
    )
    many = {key: np.tile(a, (40, 1, 1)) for key, a in x.items()}
    labels = {
        key: np.tile(a, (40,) + (1,) * (a.ndim - 1)) for key, a in y.items()
    }
    before = np.square(call(model, x)["forces"] - y["forces"]).mean()
    model.fit(many, labels, batch_size=BATCH, verbose=0)
    trained = call(model, x)
    assert np.square(trained["forces"] - y["forces"]).mean() < 0.8 * before
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    again = call(loaded, x)
    np.testing.assert_allclose(again["forces"], trained["forces"], atol=1e-5)


def test_dropout_draws_anew_at_each_step():
    # The state of its generator must come out of the differentiated function.
    x = bodies()
    model = ConservativeForces(small(Transformer, dropout=0.5))
    x = keras.tree.map_structure(ops.convert_to_tensor, x)
    first, second = (
        ops.convert_to_numpy(model(x, training=True)["energy"])
        for _ in range(2)
    )
    assert np.abs(first - second).max() > 1e-3


@pytest.mark.parametrize("cls", [EGNN, Transformer])
def test_padding_feels_no_force(cls):
    x, model = bodies(), ConservativeForces(small(cls))
    mask = np.arange(NODES) < np.full((BATCH, 1), 3)
    cut = {key: a[:, :3] for key, a in x.items()}
    expected = call(model, cut)
    x["positions"][:, 3] = 1e3
    y = call(model, {**x, "mask": mask})
    np.testing.assert_allclose(y["energy"], expected["energy"], atol=1e-5)
    np.testing.assert_allclose(
        y["forces"][:, :3], expected["forces"], atol=1e-5
    )
    assert (y["forces"][:, 3] == 0).all()


def test_clear_errors():
    with pytest.raises(ValueError, match="keras.Model.*energy"):
        ConservativeForces("energy")
    model = ConservativeForces(small(EGNN, units=2))
    with pytest.raises(ValueError, match="\\(batch, 1\\).*4, 2"):
        model(bodies())
