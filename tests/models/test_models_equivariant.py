"""The strictly equivariant models: how exact they are, and that it shows."""

import keras
import numpy as np
import pytest
from keras import ops
from keras.src.backend.common import dtypes

from keras_remul import Symmetry, evaluate_equivariance, groups, models
from keras_remul.evaluation.testing import (
    assert_equivariant,
    assert_not_equivariant,
)

BATCH, NODES, VALID = 8, 5, 3
STEPS = 40  # of training
SMALL = {
    "VectorTransformer": dict(hidden_dim=8, vector_dim=4, num_heads=2),
    "GATr": dict(hidden_dim=8, multivector_dim=8, num_heads=2),
    "SE3Transformer": dict(
        num_degrees=3, hidden_dim=4, num_heads=2, radial_dim=8
    ),
}
NAMES = list(SMALL)
GROUPS = {name: groups.E3() for name in SMALL}
GROUPS["SE3Transformer"] = groups.SE3()


def small(name, num_layers=1, **kwargs):
    keras.utils.set_random_seed(0)
    return getattr(models, name)(num_layers, **SMALL[name], **kwargs)


def inputs(seed=0):
    rng = np.random.default_rng(seed)
    widths = {"positions": 3, "velocities": 3, "charges": 1}
    return {
        key: rng.normal(size=(BATCH, NODES, width)).astype("float32")
        for key, width in widths.items()
    }


def padded(x, valid=VALID):
    mask = np.ones((BATCH, NODES), bool)
    mask[:, valid:] = False
    return {**x, "mask": mask}


def cut(x):
    return {key: a[:, :VALID] for key, a in x.items() if key != "mask"}


def call(model, x):
    """f(x), compiled in one piece."""
    return model.predict(x, batch_size=BATCH, verbose=0)


# Compiling takes longer than all else here: one model, one shape, one step.
@pytest.fixture(scope="module", params=NAMES)
def model(request):
    model = small(request.param)
    model.compile(keras.optimizers.Adam(1e-2), "mse")
    model.build({key: a.shape for key, a in inputs().items()})
    model.start = model.get_weights()
    return model


@pytest.fixture
def name(model):
    return type(model).__name__


def symmetry(group):
    roles = {"positions": "point", "velocities": "vector", "charges": "scalar"}
    return Symmetry(group, inputs=roles, outputs="point")


def test_equivariant_before_and_after_training(model, name):
    x = padded(inputs(), NODES)
    own = symmetry(GROUPS[name])
    # Twisted: the target is chiral, so that training pulls away from O(3).
    target = x["positions"] + np.cross(x["positions"], x["velocities"])

    def error():
        return np.mean((call(model, x) - target) ** 2)

    uniform = x["positions"] + x["velocities"]
    assert np.abs(call(model, x) - uniform).max() > 1e-3
    assert_equivariant(model, own, x, tolerance=1e-5)
    before = error()
    many = {key: np.concatenate([a] * STEPS) for key, a in x.items()}
    many_targets = np.tile(target, (STEPS, 1, 1))
    model.fit(many, many_targets, BATCH, shuffle=False, verbose=0)
    assert error() < before
    assert_equivariant(model, own, x, tolerance=1e-5)


def test_kernels_of_both_parities_see_a_reflection():
    model = small("SE3Transformer", num_layers=2)
    assert_not_equivariant(
        model, symmetry(groups.E3()), inputs(), at_least=1e-4
    )


class BiasedVectors(models.VectorTransformer):
    """Broken: a bias on vectors."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.vector_embedding = keras.layers.Dense(
            self.vector_dim, bias_initializer="ones", name="biased"
        )


class MixedComponents(models.GATr):
    """Broken: the components of multivectors in another order."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        call = self.multivector_embedding.call
        self.multivector_embedding.call = lambda x: ops.roll(call(x), 1, axis=0)


@pytest.mark.parametrize("broken", [BiasedVectors, MixedComponents])
def test_a_broken_model_is_caught(broken):
    model = broken(1, **SMALL[broken.__base__.__name__])
    assert_not_equivariant(model, symmetry(groups.E3()), inputs())


@pytest.mark.parametrize("name", NAMES)
def test_float64_stays_exact_through_training(name, float64, monkeypatch):
    # Keras makes float32 of products in float64, except on TensorFlow.
    monkeypatch.setitem(dtypes.BIT64_TO_BIT32_DTYPE, "float64", "float64")
    x = {key: a.astype("float64") for key, a in inputs().items()}
    steps = {key: np.concatenate([a] * STEPS) for key, a in x.items()}
    # Chiral, so that training pulls away from O(3).
    turned = np.cross(steps["positions"], steps["velocities"])
    model = small(name)
    model.compile(keras.optimizers.Adam(1e-2), "mse")
    model.fit(steps, steps["positions"] + turned, BATCH, verbose=0)
    result = evaluate_equivariance(
        model, x, symmetry(GROUPS[name]), num_samples=4
    )
    assert 0 < result["relative_equivariance_error"] < 1e-12


def test_padding_and_order_of_nodes(model):
    x = padded(inputs())
    model.set_weights(model.start)
    for key in set(x) - {"mask"}:
        x[key][~x["mask"]] = np.nan
    expected = call(model, cut(x))
    y = call(model, x)
    np.testing.assert_allclose(y[:, :VALID], expected, atol=1e-6)
    assert np.isfinite(y).all()

    order = [2, 0, 1]
    x = cut(x)
    permuted = call(model, {key: a[:, order] for key, a in x.items()})
    np.testing.assert_allclose(permuted, expected[:, order], atol=1e-6)
    assert np.abs(permuted - expected).max() > 1e-2


def test_a_sample_without_nodes_or_at_rest_gives_finite_gradients(model):
    x = padded(inputs())
    x["mask"][0] = False
    x["velocities"][:] = 0.0
    model.fit(x, x["positions"], BATCH, verbose=0)
    assert all(np.isfinite(w).all() for w in model.get_weights())


def test_save_and_load(model, tmp_path):
    x = padded(inputs())
    y = call(model, x)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(call(loaded, x), y, atol=1e-6)
    assert [v.path for v in loaded.weights] == [v.path for v in model.weights]
    assert all(layer.built for layer in model._flatten_layers())


def test_functional_model_and_positions_alone(model, name):
    x = {k: keras.Input(a.shape[1:], name=k) for k, a in inputs().items()}
    assert keras.Model(x, model(x)).output_shape == (None, NODES, 3)
    x = {"positions": inputs()["positions"]}
    model = small(name)
    assert call(model, x).shape == (BATCH, NODES, 3)
    assert "velocity_scale" not in [v.name for v in model.weights]


def test_clear_errors(model, name):
    x = inputs()
    with pytest.raises(ValueError, match="three dimensions.*2"):
        small(name)({"positions": x["positions"][..., :2]})
    with pytest.raises(ValueError, match="(?s)Expected.*Received.*spin"):
        model({**x, "spin": x["charges"]})
    with pytest.raises(ValueError, match="multiple"):
        getattr(models, name)(**{**SMALL[name], "num_heads": 3})


@pytest.mark.parametrize(
    "name, variant",
    [
        ("Transformer", "nbody_gravity"),
        ("GATr", "nbody_gravity"),
        ("SE3Transformer", "nbody_charged"),
    ],
)
def test_variants(name, variant):
    cls = getattr(models, name)
    model = cls.variant(variant, num_layers=1)
    expected = {**cls.variants[variant], "num_layers": 1}
    assert expected.items() <= model.get_config().items()
    with pytest.raises(ValueError, match=f"mean '{variant}'"):
        cls.variant(variant[:-1])
    with pytest.raises(ValueError, match="no variants"):
        models.VectorTransformer.variant(variant)
