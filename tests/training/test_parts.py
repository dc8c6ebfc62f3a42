"""A tolerance for each output, and for each factor of the group."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from keras_remul import RemulModel, Symmetry, groups
from keras_remul.training.parts import make_parts
from keras_remul.training.weighting import Constant, Constrained

OUTPUTS = {"energy": "scalar", "force": "vector"}
TOLERANCES = {"force": 0.5, "energy": 0.1}


def network():
    x = keras.Input((3,), name="x")
    h = layers.Dense(4, name="hidden")(x)
    made = {
        "energy": layers.Dense(1, name="energy")(h),
        "force": layers.Dense(3, name="force")(h),
    }
    return keras.Model({"x": x}, made)


def of_outputs(weighting, **kwargs):
    keras.utils.set_random_seed(3)
    symmetry = Symmetry(groups.SO3(), {"x": "vector"}, OUTPUTS)
    kwargs = {"target": "predictions", "seed": 0, **kwargs}
    wrapper = RemulModel(network(), symmetry, weighting, **kwargs)
    wrapper.compile(keras.optimizers.Adam(1e-2), "mse")
    return wrapper


PRODUCT = groups.Product(
    {"space": groups.SO3(), "nodes": groups.Permutations(4)}
)


def of_factors(weighting, **kwargs):
    """A model that does not tell nodes apart, but directions."""
    keras.utils.set_random_seed(3)
    x = keras.Input((4, 3))
    model = keras.Model(x, layers.Dense(3)(x))
    symmetry = Symmetry(PRODUCT, "vector", "vector")
    kwargs = {"target": "predictions", "seed": 0, **kwargs}
    wrapper = RemulModel(model, symmetry, weighting, **kwargs)
    wrapper.compile(keras.optimizers.Adam(1e-2), "mse")
    return wrapper


@pytest.fixture
def pulled(rng):
    x = {"x": rng.normal(size=(16, 3)).astype("float32")}
    return x, {"energy": x["x"][:, :1] * 3, "force": x["x"] * 2 + x["x"][:, :1]}


@pytest.fixture
def moving(rng):
    x = rng.normal(size=(18, 4, 3)).astype("float32")
    return x, x * np.array([3.0, 1.0, 1.0], "float32")


@pytest.mark.filterwarnings("ignore:The equivariance error of")
def test_outputs_with_equal_weights_are_the_whole(pulled):
    x, y = pulled
    settings = dict(epochs=2, batch_size=8, shuffle=False, verbose=0)
    settings["validation_data"] = pulled
    whole = of_outputs(Constant(beta=2.0)).fit(x, y, **settings).history
    weighting = Constrained(
        TOLERANCES, initial_beta=2.0, learning_rate=1e-9, margin=False
    )
    history = of_outputs(weighting).fit(x, y, **settings).history
    for name in set(whole) - {"beta", "val_beta"}:
        np.testing.assert_allclose(history[name], whole[name], rtol=1e-5)
    for name in OUTPUTS:
        np.testing.assert_allclose(history[f"beta_{name}"], 2.0, rtol=1e-5)
        error = history[f"equivariance_error_{name}"]
        assert np.all(np.less(error, history["equivariance_error"]))


@pytest.mark.filterwarnings("ignore:The equivariance error of")
def test_each_output_has_its_own_beta(pulled):
    x, y = pulled
    wrapper = of_outputs(Constrained({"energy": 1e-3, "force": 1e3}))
    with pytest.warns(UserWarning, match="error of 'energy' at the end"):
        history = wrapper.fit(x, y, epochs=8, verbose=0).history
    betas = {
        k: np.divide(history[f"beta_{k}"], history["alpha"]) for k in OUTPUTS
    }
    assert betas["energy"][-1] > 1.0 > betas["force"][-1]
    assert "beta" not in history
    error = {f"equivariance_error_{name}": 2e-3 for name in OUTPUTS}
    assert wrapper.weighting.excess(error) == pytest.approx(1.0)


def test_each_factor_has_its_own_beta(moving):
    x, y = moving
    weighting = Constrained({"space": 0.1, "nodes": 0.1})
    assert "{'nodes': 0.1, 'space': 0.1}" in repr(weighting)
    wrapper = of_factors(weighting)
    with pytest.warns(UserWarning, match="error of 'space' at the end"):
        history = wrapper.fit(
            x, y, epochs=3, batch_size=4, validation_data=moving, verbose=0
        ).history
    for prefix in ("", "val_"):
        error = {
            name: history[f"{prefix}equivariance_error_{name}"]
            for name in PRODUCT.factors
        }
        assert max(error["nodes"]) < 1e-5
        assert min(error["space"]) > 0.5
        # Every second sample is moved in space.
        np.testing.assert_allclose(
            history[f"{prefix}equivariance_error"],
            np.array(error["space"]) / 2,
            rtol=0.25,
        )
    np.testing.assert_allclose(
        history["val_equivariance_error"],
        np.array(history["val_equivariance_error_space"]) / 2,
        atol=1e-5,
    )
    betas = [history[f"beta_{name}"][-1] for name in ("space", "nodes")]
    assert betas[0] > betas[1]


def test_factors_are_drawn_one_at_a_time():
    parts = make_parts(
        Symmetry(PRODUCT, "vector", "vector"), ["nodes", "space"]
    )
    g = PRODUCT.sample(5, seed=0)
    turns = parts.turns_by_place(5, 1)
    np.testing.assert_array_equal(ops.convert_to_numpy(turns), [1, 0, 1, 0, 1])
    alone = keras.tree.map_structure(
        ops.convert_to_numpy, parts.alone(g, turns)
    )
    g, still = (
        keras.tree.map_structure(ops.convert_to_numpy, elements)
        for elements in (g, PRODUCT.identity(5))
    )
    for i, turn in enumerate([1, 0, 1, 0, 1]):
        for k, name in enumerate(["nodes", "space"]):
            expected = (g if k == turn else still)[name][i]
            np.testing.assert_array_equal(alone[name][i], expected)


@pytest.mark.parametrize("make", [of_outputs, of_factors])
@pytest.mark.filterwarnings("ignore:The equivariance error of")
def test_resumes_exactly(pulled, moving, tmp_path, make):
    (x, y), names = (
        (pulled, OUTPUTS) if make is of_outputs else (moving, PRODUCT.factors)
    )
    steps = dict(epochs=2, batch_size=8, shuffle=False, verbose=0)
    steps["validation_data"] = x, y
    straight = make(Constrained(dict.fromkeys(names, 0.1)))
    straight.fit(x, y, **steps)
    straight.save(tmp_path / "model.keras")
    expected = straight.fit(x, y, **steps).history
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert repr(again.weighting) == repr(straight.weighting)
    history = again.fit(x, y, **steps).history
    for name, value in expected.items():
        np.testing.assert_allclose(history[name], value, rtol=1e-5, atol=1e-6)


@pytest.mark.backend_independent
@pytest.mark.parametrize(
    "make, names, message",
    [
        (of_outputs, ["energy"], r"all outputs.*\['energy', 'force'\] or no"),
        (of_factors, ["space", "turn"], r"no outputs.*\['nodes', 'space'\]"),
    ],
)
def test_unknown_parts(make, names, message):
    with pytest.raises(ValueError, match=message):
        make(Constrained(dict.fromkeys(names, 0.1)))


@pytest.mark.backend_independent
def test_errors_before_the_first_step():
    both = groups.Product({"a": groups.SO3(), "b": groups.Permutations(4)})
    nested = {"a": {"c": "vector"}, "b": "vector"}
    for group, message in ((both, "not both"), (groups.SO3(), "one array")):
        with pytest.raises(ValueError, match=message):
            make_parts(Symmetry(group, "vector", nested), ["a", "b"])
    wrapper = of_outputs(Constrained(TOLERANCES))
    with pytest.raises(
        ValueError, match=r"\['force'\] have a tolerance and no"
    ):
        wrapper.compile(loss={"energy": "mse"})
    wrapper = of_factors(Constrained({"space": 0.1, "nodes": 0.1}))
    loss = keras.losses.MeanSquaredError(reduction="mean_with_sample_weight")
    with pytest.raises(ValueError, match="reduction of a loss must be one of"):
        wrapper.compile(loss=loss)
