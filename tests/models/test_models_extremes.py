"""Every model: no nodes, and coordinates whose squares are too large."""

import keras
import numpy as np
import pytest
from compiled import outputs
from test_models_sizes import MODELS
from test_registry import JETS, MADE, inputs, is_model

import keras_remul as kr

pytestmark = pytest.mark.usefixtures("untraced")

MATCH = "no nodes|reference has 4 nodes. Received: 0 nodes"
# Of nodes with positions; taggers of jets are in test_jets.py.
NAMES = sorted(name for name in MADE if is_model(name) and name not in JETS)


def given(name, batch=3, nodes=4):
    x = inputs(batch, nodes)
    if name in MODELS:
        x["charges"] = np.ones((batch, nodes, 1), "float32")
    if name == "LinearNodes":
        one_hot = np.eye(nodes, dtype="float32")
        x["one_hot"] = np.tile(one_hot, (batch, 1, 1))
    return x


@pytest.mark.parametrize("name", NAMES)
def test_no_nodes(name):
    model, x = MADE[name](), given(name)
    none = {key: a[:, :0] for key, a in x.items()}
    for call in (model, lambda x: model.predict(x, verbose=0)):
        with pytest.raises(ValueError, match=MATCH):
            call(none)
    # And where it was built before.
    outputs(model, x)
    for call in (model, lambda x: model.predict(x, verbose=0)):
        with pytest.raises(ValueError, match=MATCH):
            call(none)


@pytest.mark.parametrize("name", NAMES)
def test_large_coordinates(name):
    """Finite numbers, or an error that says how large the inputs are."""
    model, x = MADE[name](), given(name)
    assert np.isfinite(flat(model.predict(x, verbose=0))).all()
    for value in (1e30, -3e38):
        x["positions"][1, 0, 1] = value
        try:
            y = model.predict(x, verbose=0)
        except ValueError as error:
            assert f"as large as {abs(np.float32(value)):.3g}" in str(error)
        else:
            assert np.isfinite(flat(y)).all()


def flat(y):
    return np.concatenate([np.ravel(a) for a in keras.tree.flatten(y)])


def symmetry():
    parts = {"positions": "point", "velocities": "vector"}
    return kr.Symmetry(kr.groups.SE3(), parts, "point")


def moved(x):
    return x["positions"] + x["velocities"]


@pytest.mark.parametrize(
    "model",
    [moved, kr.models.EGNN(num_layers=1, hidden_dim=4)],
    ids=["function", "EGNN"],
)
def test_measures(model):
    """What is measured is finite, or there is an error."""
    x = inputs()
    del x["mask"]
    none = {key: a[:, :0] for key, a in x.items()}
    with pytest.raises(ValueError, match="no nodes|nothing to measure"):
        kr.evaluate_equivariance(model, none, symmetry())
    x["positions"][0] = 1e30
    try:
        figures = kr.evaluate_equivariance(model, x, symmetry(), num_samples=2)
    except ValueError as error:
        assert "NaN or infinite" in str(error)
    else:
        assert all(np.isfinite(value) for value in figures.values())


def test_outputs_without_numbers_of_other_causes_pass():
    model, x = kr.models.EGNN(num_layers=1, hidden_dim=4), given("EGNN")
    del x["mask"]
    model(x)
    model.weights[0].assign(model.weights[0] * np.nan)
    assert np.isnan(model.predict(x, verbose=0)).any()
