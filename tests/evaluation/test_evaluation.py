"""Measures of equivariance against cases that can be done by hand."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_remul import (
    RemulModel,
    Symmetry,
    callbacks,
    evaluate_equivariance,
    groups,
    models,
)
from keras_remul.evaluation.testing import (
    assert_equivariant,
    assert_not_equivariant,
)

pytestmark = pytest.mark.usefixtures("untraced")

GROUPS = [
    groups.SO2(axis="y"),
    groups.SO3(),
    groups.O3(),
    groups.Translations(),
    groups.SE3(),
    groups.E3(),
]
every_group = pytest.mark.parametrize("group", GROUPS, ids=repr)


def symmetry(group):
    inputs = {
        "positions": "point",
        "velocities": "vector",
        "charges": "scalar",
    }
    return Symmetry(group, inputs, "point")


def equivariant(x):
    """Coulomb-like pull plus drift: commutes with E(3)."""
    r = x["positions"][:, :, None] - x["positions"][:, None]
    weight = x["charges"] * np.swapaxes(x["charges"], 1, 2)
    weight = weight / (1 + (r**2).sum(-1))
    pull = (weight[..., None] * r).sum(axis=2)
    return x["positions"] + 0.5 * x["velocities"] + pull


def numpy_inputs(fn):
    return lambda x: fn(keras.tree.map_structure(ops.convert_to_numpy, x))


@every_group
def test_exactly_equivariant_function(bodies, group):
    x, _ = bodies
    assert_equivariant(numpy_inputs(equivariant), symmetry(group), x, 2e-6)


@every_group
def test_broken_function_is_caught(bodies, group):
    x, _ = bodies

    def broken(x):
        # Position along a fixed direction of space: keeps no rotation about
        # another axis, no translation along it.
        return equivariant(x) + 0.3 * x["positions"][..., :1] ** 2

    assert_not_equivariant(numpy_inputs(broken), symmetry(group), x)
    with pytest.raises(AssertionError, match="Not equivariant under"):
        assert_equivariant(numpy_inputs(broken), symmetry(group), x)


def test_assert_not_equivariant_can_fail(bodies):
    x, _ = bodies
    with pytest.raises(AssertionError, match="Expected a model that is not"):
        assert_not_equivariant(
            numpy_inputs(equivariant), symmetry(groups.SO3()), x
        )


def test_trivial_functions_prove_nothing(bodies):
    x, _ = bodies
    sym = symmetry(groups.SO3())
    with pytest.raises(AssertionError, match="same for all samples"):
        assert_equivariant(lambda x: np.zeros((12, 5, 3)), sym, x)
    flat = Symmetry(groups.SO2(axis="z"), sym.inputs, "vector")

    def along_axis(x):
        return np.asarray(x["charges"]) * np.array([0.0, 0.0, 1.0])

    with pytest.raises(AssertionError, match="does not move the output"):
        assert_equivariant(numpy_inputs(along_axis), flat, x)


def test_untrained_transformer_is_not_equivariant(bodies):
    x, _ = bodies
    model = models.Transformer(num_layers=1, hidden_dim=16, num_heads=2)
    model(x)
    model.head.kernel.assign(model.head.kernel * 30)
    assert_not_equivariant(model, symmetry(groups.SO3()), x)
    # Centering makes it equivariant to translations.
    assert_equivariant(model, symmetry(groups.Translations()), x, 1e-5)


def test_measures_by_hand(rng):
    """f adds a fixed vector a: f(gx) - g f(x) = a - Ra."""
    a = np.array([3.0, 0.0, 0.0])
    x = rng.normal(size=(40, 3))
    sym = Symmetry(groups.SO3(), "vector", "vector")
    result = evaluate_equivariance(
        lambda x: ops.convert_to_numpy(x) + a, x, sym, y=x, num_samples=400
    )
    # R a is uniform on the sphere, so that the mean distance from a is 4/3 of
    # its radius; the cancelling measure tends to ||a - E[R] a|| = |a|.
    assert result["equivariance_error"] == pytest.approx(3.0 * 4 / 3, rel=0.02)
    assert result["average_equivariance_error"] == pytest.approx(3.0, rel=0.05)
    # g^-1 f(gx) = x + R^-1 a: variance |a|^2 / 3 per component, mean x.
    assert result["orbit_variance"] == pytest.approx(3.0, rel=0.02)
    assert result["mse"] == pytest.approx(3.0, rel=1e-5)
    assert result["symmetrized_mse"] == pytest.approx(0.0, abs=0.05)
    assert result["orbit_variance_share"] == pytest.approx(1.0, abs=0.02)
    scale = np.linalg.norm(x + a, axis=1).mean()
    assert result["relative_equivariance_error"] == pytest.approx(
        result["equivariance_error"] / scale, rel=1e-5
    )


def test_small_average_error_of_a_broken_function(rng):
    """E cancels where E' does not: the reason why E' is the primary one."""
    x = rng.normal(size=(20, 3))
    sym = Symmetry(groups.SO3(), "vector", "vector")

    def cubic(x):
        return 0.3 * ops.convert_to_numpy(x) ** 3

    result = evaluate_equivariance(cubic, x, sym, num_samples=500)
    assert (
        result["average_equivariance_error"]
        < 0.3 * result["equivariance_error"]
    )


def test_identity_of_the_split(bodies):
    x, y = bodies
    sym = symmetry(groups.SO3())
    model = models.Transformer(num_layers=1, hidden_dim=8, num_heads=2)
    result = evaluate_equivariance(model, x, sym, y=y, num_samples=6)
    assert result["mse"] == pytest.approx(
        result["symmetrized_mse"] + result["orbit_variance"]
    )


def test_values_of_each_sample(bodies):
    x, y = bodies
    sym = symmetry(groups.SO3())
    x = {**x, "mask": np.ones((12, 5), "float32")}
    x["mask"][::2, 3:] = 0  # samples of two sizes
    model = models.Transformer(num_layers=1, hidden_dim=8, num_heads=2)
    arguments = {"y": y, "num_samples": 4}
    result = evaluate_equivariance(model, x, sym, **arguments)
    values = evaluate_equivariance(model, x, sym, per_sample=True, **arguments)
    assert {v.shape for v in values.values()} == {(12,)}
    assert values.keys() == result.keys()
    for name in (
        "equivariance_error",
        "relative_equivariance_error",
        "average_equivariance_error",
    ):
        assert values[name].mean() == pytest.approx(result[name], rel=1e-6)
    size = x["mask"].sum(axis=1)
    for name in ("orbit_variance", "mse", "symmetrized_mse"):
        mean = (values[name] * size).sum() / size.sum()
        assert mean == pytest.approx(result[name], rel=1e-5)
    # The values are those of the samples alone, by a function whose error is
    # known: f adds (c, 0, 0), so E' is 4/3 |c|.
    shift = np.linspace(1, 2, 12)[:, None] * np.array([1.0, 0.0, 0.0])
    vectors = Symmetry(groups.SO3(), "vector", "vector")
    errors = evaluate_equivariance(
        lambda v: ops.convert_to_numpy(v) + shift,
        np.ones((12, 3)),
        vectors,
        num_samples=400,
        per_sample=True,
    )["equivariance_error"]
    np.testing.assert_allclose(errors, 4 / 3 * shift[:, 0], rtol=0.1)


def test_float32_is_exact_to_its_precision(bodies):
    x, _ = bodies
    for group in GROUPS:
        result = evaluate_equivariance(
            numpy_inputs(equivariant), x, symmetry(group), num_samples=4
        )
        assert result["relative_equivariance_error"] < 1e-6, group


def test_float64_is_exact_to_its_precision(float64):
    rng = np.random.default_rng(0)
    x = {k: rng.normal(size=(6, 4, 3)) for k in ("positions", "velocities")}
    roles = {"positions": "point", "velocities": "vector"}

    def pull(x):
        x = keras.tree.map_structure(ops.convert_to_tensor, x)
        r = x["positions"][:, :, None] - x["positions"][:, None]
        weight = 1 / (1 + ops.sum(r**2, axis=-1, keepdims=True))
        return x["positions"] + x["velocities"] + ops.sum(weight * r, axis=2)

    for group in (groups.SO3(), groups.E3(), groups.SO2(axis="y")):
        sym = Symmetry(group, roles, "point")
        error = evaluate_equivariance(pull, x, sym)[
            "relative_equivariance_error"
        ]
        assert 0 < error < 1e-12, group

    inputs = keras.Input((4, 3))
    norms = ops.sum(inputs**2, axis=-1, keepdims=True)
    model = keras.Model(inputs, inputs * keras.layers.Dense(1)(norms))
    vectors = Symmetry(groups.SO3(), "vector", "vector")
    error = evaluate_equivariance(model, x["velocities"], vectors)
    assert 0 < error["relative_equivariance_error"] < 1e-12


def test_origin_and_center(bodies):
    x, _ = bodies
    sym = symmetry(groups.SO3())

    def fn(x):
        return x["positions"] + np.array([0.1, 0.0, 0.0])

    far = {**x, "positions": x["positions"] + 100.0}
    result = evaluate_equivariance(
        numpy_inputs(fn), far, sym, origin=far["positions"]
    )
    norm = 0.1 * np.sqrt(5)
    assert result["relative_equivariance_error"] == pytest.approx(
        result["equivariance_error"] / norm, rel=1e-3
    )
    centered = evaluate_equivariance(numpy_inputs(fn), far, sym)
    positions = x["positions"] - x["positions"].mean(axis=1, keepdims=True)
    scale = np.linalg.norm(positions.reshape(12, -1), axis=1).mean()
    assert centered["relative_equivariance_error"] == pytest.approx(
        centered["equivariance_error"] / scale, rel=1e-3
    )


def test_padding_changes_no_measure(bodies, rng):
    x, y = bodies
    sym = symmetry(groups.E3())
    model = models.Transformer(num_layers=1, hidden_dim=8, num_heads=2)
    expected = evaluate_equivariance(model, x, sym, y=y, num_samples=3)
    padded = {
        key: np.concatenate([value, 9 + value[:, :2]], axis=1)
        for key, value in {**x, "y": y}.items()
    }
    labels = padded.pop("y")
    padded["mask"] = np.array([[1.0] * 5 + [0.0] * 2] * 12, "float32")
    result = evaluate_equivariance(model, padded, sym, y=labels, num_samples=3)
    for name, value in expected.items():
        assert result[name] == pytest.approx(value, rel=1e-4), name


def test_a_remul_model_counts_as_the_model_in_it(bodies):
    x, _ = bodies
    sym = symmetry(groups.SO3())
    model = models.Transformer(num_layers=1, hidden_dim=8, num_heads=2)
    assert evaluate_equivariance(model, x, sym) == evaluate_equivariance(
        RemulModel(model, sym), x, sym
    )


@pytest.mark.traced
def test_metric_of_training_agrees_with_the_evaluation(bodies):
    x, y = bodies
    many = {k: np.repeat(v, 40, axis=0) for k, v in x.items()}
    sym = symmetry(groups.SO3())
    model = models.Transformer(num_layers=1, hidden_dim=8, num_heads=2)
    wrapper = RemulModel(model, sym)
    wrapper.compile("sgd", loss="mse")
    logs = wrapper.evaluate(
        many, np.repeat(y, 40, 0), batch_size=480, verbose=0, return_dict=True
    )
    expected = evaluate_equivariance(model, x, sym, num_samples=40)[
        "equivariance_error"
    ]
    assert logs["equivariance_error"] == pytest.approx(expected, rel=0.1)


@pytest.mark.traced
def test_callback_serves_plain_models(bodies):
    x, y = bodies
    sym = symmetry(groups.SO3())
    model = models.Transformer(num_layers=1, hidden_dim=8, num_heads=2)
    model.compile("adam", loss="mse")
    history = model.fit(
        x,
        y,
        epochs=2,
        verbose=0,
        callbacks=[
            callbacks.EquivarianceError(x, sym),
            keras.callbacks.EarlyStopping(
                "val_equivariance_error", mode="min", patience=5
            ),
        ],
    ).history
    last = evaluate_equivariance(model, x, sym, num_samples=4)
    assert history["val_equivariance_error"][-1] == pytest.approx(
        last["equivariance_error"]
    )
    assert history["val_orbit_variance"][-1] == pytest.approx(
        last["orbit_variance"]
    )
    assert len(history["val_relative_equivariance_error"]) == 2


def test_errors(bodies):
    x, _ = bodies
    sym = symmetry(groups.SO3())
    with pytest.raises(ValueError, match="`num_samples` must be an integer"):
        evaluate_equivariance(numpy_inputs(equivariant), x, sym, num_samples=1)
    with pytest.raises(ValueError, match=r"`f\(x\)` is declared as Point"):
        evaluate_equivariance(lambda x: np.zeros((12, 5, 4)), x, sym)
    with pytest.raises(ValueError, match="Missing"):
        evaluate_equivariance(numpy_inputs(equivariant), {}, sym)
