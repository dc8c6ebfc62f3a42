"""What holds for every model that is made of other models."""

import copy

import keras
import numpy as np
import pytest
from compiled import outputs
from keras import ops

from keras_remul import (
    Alignment,
    Canonicalization,
    FrameAveraging,
    Symmetry,
    from_preset,
    groups,
    models,
)
from keras_remul.backend import keras_internals
from keras_remul.models import MessagePassingNetwork
from keras_remul.models.wrappers.base import Wrapper
from keras_remul.models.wrappers.symmetrized import Symmetrized

pytestmark = pytest.mark.usefixtures("untraced")

BATCH, NODES = 4, 5
BACKEND = keras.backend.backend()
NODE_FEATURES = {"positions": "point", "velocities": "vector"}


def network(**kwargs):
    kwargs = {"num_layers": 1, "hidden_dim": 4, **kwargs}
    return MessagePassingNetwork(**kwargs)


def symmetry(group=None, inputs=NODE_FEATURES, declared="point"):
    return Symmetry(group or groups.SO3(), inputs, declared)


POTENTIAL = dict(references={1: -13.5}, torque_weight=0.125)
# Each with arguments that are not the defaults, around a model of positions.
CASES = {
    models.Ensemble: lambda net, **kwargs: models.Ensemble(
        [net, network()], [0.25, 0.5], **kwargs
    ),
    models.Correction: lambda net, **kwargs: models.Correction(
        network(time_unit=2.0), net, shows_start=False, **kwargs
    ),
    models.ConservativeForces: lambda net, **kwargs: models.ConservativeForces(
        net, **kwargs
    ),
    models.Potential: lambda net, **kwargs: models.Potential(
        net, **{**POTENTIAL, **kwargs}
    ),
    models.OnSkeleton: lambda net, **kwargs: models.OnSkeleton(
        net, [[1, 0], [2, 1]], length=2.0, graph=True, **kwargs
    ),
    FrameAveraging: lambda net, **kwargs: FrameAveraging(
        net, symmetry(), points="velocities", **kwargs
    ),
    Canonicalization: lambda net, **kwargs: Canonicalization(
        net, symmetry(), points="velocities", **kwargs
    ),
    Alignment: lambda net, **kwargs: Alignment(
        net, symmetry(), points="velocities", identity=None, **kwargs
    ),
    Symmetrized: lambda net, **kwargs: Symmetrized(
        net, symmetry(), num_samples=3, seed=5, **kwargs
    ),
}
# What the models in these are to read out.
READS = {models.ConservativeForces: "graph", models.Potential: "nodes"}
every = pytest.mark.parametrize("cls", CASES, ids=lambda cls: cls.__name__)
MOVED = [FrameAveraging, Canonicalization, Alignment, Symmetrized]


def make(cls, inner=None, **kwargs):
    if inner is None:
        inner = network(readout=READS.get(cls, "positions"))
    return CASES[cls](inner, **kwargs)


def bodies(nodes=NODES, batch=BATCH, seed=0):
    rng = np.random.default_rng(seed)
    return {
        key: rng.normal(size=(batch, nodes, 3)).astype("float32")
        for key in NODE_FEATURES
    }


def predict(model, x):
    return model.predict(x, batch_size=8, verbose=0)


def assert_close(a, b, **tolerance):
    tolerance = {"atol": 1e-5, **tolerance}
    keras.tree.map_structure(
        lambda u, v: np.testing.assert_allclose(u, v, **tolerance), a, b
    )


def adapted(model, x):
    """A model of weights that are not the initial ones."""
    rng = np.random.default_rng(1)
    outputs(model, x)
    model.set_weights(
        [w + 0.3 * rng.normal(size=w.shape) for w in model.get_weights()]
    )
    return model


def subclasses(cls):
    for sub in cls.__subclasses__():
        yield from (sub, *subclasses(sub))


def test_every_wrapper_has_a_case():
    registered = {
        cls
        for cls in subclasses(Wrapper)
        if keras.saving.get_registered_name(cls).startswith("keras_remul>")
    }
    assert registered == set(CASES)


@every
def test_configuration_keeps_everything(cls):
    dtype = "mixed_bfloat16"
    inner = network(dtype=dtype, readout=READS.get(cls, "positions"))
    model = make(cls, inner, name="mine", dtype=dtype, trainable=False)
    config = model.get_config()
    given = copy.deepcopy(config)
    again = cls.from_config(config)
    assert config == given  # Keras takes keys out of some
    assert again.get_config() == given
    assert again.name == "mine" and again.trainable is False
    assert again.dtype_policy.name == dtype
    assert any(part.dtype_policy.name == dtype for part in again.wrapped())
    y = keras.tree.flatten(outputs(again, bodies()))
    assert all(np.isfinite(leaf).all() for leaf in y)
    assert again.trainable_variables == []


@every
def test_saved_and_loaded(cls, tmp_path):
    x = bodies()
    model = adapted(make(cls), x)
    y = outputs(model, x)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert_close(outputs(loaded, x), y)
    model.save_to_preset(tmp_path / "preset")
    assert_close(outputs(cls.from_preset(tmp_path / "preset"), x), y)
    assert type(from_preset(tmp_path / "preset")) is cls


@every
def test_nothing_is_left_to_build(cls):
    """Else `predict` on JAX first computes a batch, an operation at a time."""
    model = make(cls)
    keras_internals.build(model, (bodies(), None, None))
    assert all(layer.built for layer in keras_internals.with_sublayers(model))


@pytest.mark.traced
@every
def test_another_number_of_nodes_and_samples(cls):
    """Also where TensorFlow leaves these sizes open."""
    model = make(cls)
    predict(model, bodies())
    for nodes, batch in ((3, 4), (6, 1)):
        x = bodies(nodes, batch)
        if cls is Alignment:  # which knows its nodes
            with pytest.raises(ValueError, match="reference has 5 nodes"):
                model(x)
            continue
        y = predict(model, x)
        moved = y["forces"] if cls in READS else y
        assert keras.tree.flatten(moved)[-1].shape == (batch, nodes, 3)
        assert_close(y, outputs(model, x), rtol=1e-4)


@pytest.mark.traced
@every
def test_trains_and_leaves_padding_out(cls):
    x, model = bodies(), make(cls)
    x["mask"] = np.arange(NODES) < np.array([[5], [4], [5], [3]])
    y = x["positions"] + 0.3 * x["velocities"]
    y = np.where(x["mask"][..., None], y, 1e6).astype("float32")
    if cls in READS:
        zeros = np.zeros((BATCH, 1))
        y = {"energy": zeros, "energy_per_atom": zeros, "forces": y}
        y = {key: y[key] for key in outputs(model, x)}
    key = "forces" if cls in READS else None
    metric = "forces_mse" if key else "mse"
    metrics = {key: ["mse"]} if key else ["mse"]
    model.compile(keras.optimizers.Adam(1e-2), "mse", metrics=metrics)
    history = model.fit(x, y, epochs=3, verbose=0).history
    losses = history["loss"]
    assert losses[-1] < losses[0] < 1e3
    assert max(history[metric]) < 1e3


@every
def test_refuses_what_is_no_model(cls):
    with pytest.raises(ValueError, match="keras.Model"):
        CASES[cls](np.sin)


# --- Whatever model is wrapped ---


@keras.saving.register_keras_serializable(package="test_wrappers")
class Embedded(keras.Model):
    """Built by its first call, which has no argument `training`."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.table = keras.layers.Embedding(5, 3)
        self.dense = keras.layers.Dense(3)
        self.drop = keras.layers.Dropout(0.5)

    def call(self, inputs):
        h = self.dense(inputs["positions"]) + self.table(inputs["kinds"])
        return inputs["positions"] + self.drop(h)


EMBEDDED = {"positions": "point", "kinds": "scalar"}


@pytest.mark.traced
@pytest.mark.parametrize("cls", [*MOVED, models.Ensemble])
def test_integer_features_dropout_and_models_that_a_call_builds(cls):
    inner = Embedded()
    if cls is models.Ensemble:
        model = cls([inner, Embedded()])
    else:
        model = cls(inner, symmetry(inputs=EMBEDDED))
    x = {
        "positions": bodies()["positions"],
        "kinds": np.arange(BATCH * NODES).reshape(BATCH, NODES) % 5,
    }
    # Half of them in a plane, for branches that depend on the data.
    x["positions"][:2, :, 2] = 0.0
    model.compile(keras.optimizers.Adam(1e-2), "mse")
    history = model.fit(x, x["positions"], epochs=2, verbose=0).history
    assert np.isfinite(history["loss"]).all()
    assert len(inner.weights) == 3 and model.count_params() > 0
    one, two = (ops.convert_to_numpy(model(x, training=True)) for _ in range(2))
    assert np.abs(one - two).max() > 1e-3  # the dropout draws anew
    assert np.abs(one - outputs(model, x)).max() > 1e-3


@pytest.mark.traced
@every
def test_losses_of_layers_are_counted(cls):
    """Those that a layer inside adds, through gradients and branches too."""
    inputs = {k: keras.Input((NODES, 3), name=k) for k in NODE_FEATURES}
    if cls is models.OnSkeleton:  # which hands over more
        inputs["bone_lengths"] = keras.Input((NODES, 1), name="bone_lengths")
        inputs["edges"] = keras.Input((NODES, NODES, 2), name="edges")
    units = 1 if cls in READS else 3
    h = keras.layers.Dense(
        units, activity_regularizer=keras.regularizers.L2(10.0)
    )(inputs["positions"] + inputs["velocities"])
    if READS.get(cls) == "graph":
        h = ops.sum(h, axis=1)
    model, x = make(cls, keras.Model(inputs, h)), bodies()
    model.compile(keras.optimizers.SGD(0.0), "mse")
    y = outputs(model, x)
    if BACKEND == "tensorflow" and cls is Canonicalization:
        # TensorFlow does not let a loss out of a branch, and says so.
        with pytest.raises(Exception, match="out of scope"):
            model.train_on_batch(x, y)
        return
    assert model.train_on_batch(x, y, return_dict=True)["loss"] > 1.0


STRUCTURES = {  # and where the first array is
    "dict": (lambda a, b: {"b": b, "a": a}, "a"),
    "list": (lambda a, b: [a, b], 0),
    "tuple": (lambda a, b: (a, b), 0),
    "nested": (lambda a, b: {"a": [a], "b": {"c": b}}, ["a", 0]),
}


@pytest.mark.parametrize("name", STRUCTURES)
@pytest.mark.parametrize("cls", [*MOVED, models.Ensemble])
def test_structures_of_inputs_and_outputs(cls, name):
    structure, points = STRUCTURES[name]
    inputs = structure(*(keras.Input((NODES, 3), name=k) for k in "ab"))
    inner = keras.Model(
        inputs, keras.tree.map_structure(keras.layers.Dense(3), inputs)
    )
    declared = structure("vector", "vector")
    vectors = symmetry(groups.SO3(), declared, declared)
    if cls is models.Ensemble:
        model = cls([inner])
    elif cls is Symmetrized:
        model = cls(inner, vectors)
    else:
        model = cls(inner, vectors, points=points)
    x = structure(*bodies().values())
    y = outputs(model, x)
    keras.tree.assert_same_structure(y, x)
    model.compile("sgd", "mse")
    assert np.isfinite(model.train_on_batch(x, x)).all()
    again = type(model).from_config(model.get_config())
    again.build(keras.tree.map_structure(np.shape, x))
    again.set_weights(model.get_weights())
    for found, leaf in zip(
        keras.tree.flatten(outputs(again, x)),
        keras.tree.flatten(outputs(model, x)),
        strict=True,
    ):
        assert_close(found, leaf)


@pytest.mark.traced
@pytest.mark.parametrize("cls", [*MOVED, models.Ensemble])
def test_masks_of_keras(cls):
    """Of layers inside of the model, and of layers before it."""
    inputs = keras.Input((NODES, 3))
    h = keras.layers.Masking(7.0)(inputs)
    inside = keras.Model(inputs, keras.layers.Dense(3)(h))
    plain = keras.Model(inputs, keras.layers.Dense(3)(inputs))
    plain.supports_masking = True

    def wrap(model):
        if cls is models.Ensemble:
            return cls([model])
        vectors = symmetry(groups.Cyclic(1), "scalar", "scalar")
        if cls is Alignment or cls is Canonicalization:
            vectors = symmetry(groups.SO3(), "vector", "vector")
        if cls is Symmetrized:
            return cls(model, vectors)
        return cls(model, vectors, points=None)

    before = keras.Model(inputs, wrap(plain)(h))
    x = bodies()["positions"]
    x[:, 3:] = 7.0
    y = np.where(np.arange(NODES)[:, None] < 3, x, 1e6)
    for model in (before, wrap(inside)):
        if model is not before and cls in (Alignment, Canonicalization):
            continue  # turned, the value that says "padding" is another one
        model.compile("sgd", "mse")
        assert model.evaluate(x, y, verbose=0) < 1e3


def test_shapes_that_differ_are_not_broadcast():
    a, b = keras.Input((3,)), keras.Input((3,))
    one = keras.Model(a, keras.layers.Dense(1)(a))
    two = keras.Model(b, keras.layers.Flatten()(keras.layers.Dense(2)(b)))
    with pytest.raises(ValueError, match="the same shape"):
        models.Ensemble([one, two])(np.ones((2, 3), "float32"))
    with pytest.raises(ValueError, match="must be finite"):
        models.Ensemble([one, two], weights=[np.nan, 1.0])
    with pytest.raises(ValueError, match="must not hold a model twice"):
        models.Ensemble([one, one])


def test_correction_leaves_its_models_alone():
    x, start, inner = bodies(), network(time_unit=2.0), network()
    for model in (start, inner):
        keras_internals.build(model, (x, None, None))
    before = [copy.deepcopy(m.get_weights()) for m in (start, inner)]
    model = models.Correction(start, inner)
    assert model.start is not start and model.model is not inner
    y = outputs(model, x)
    assert float(ops.convert_to_numpy(model.model.velocity_scale)) == 0.0
    assert inner.velocity_initializer == "ones"
    assert model.model.velocity_initializer == "ones"
    model.compile(keras.optimizers.Adam(1e-1), "mse")
    model.fit(x, y + 1.0, verbose=0)
    assert start.trainable and inner.trainable
    assert not any(v.trainable for v in model.start.variables)
    for m, weights in zip((start, inner), before, strict=True):
        for old, new in zip(weights, m.get_weights(), strict=True):
            np.testing.assert_array_equal(old, new)


def test_correction_compares_labels_with_what_it_corrects():
    x, model = bodies(), make(models.Correction)
    y = x["positions"]
    model.adapt(x, y + 1.0)
    for labels, match in (
        (y[..., :1], "`y` to have the shape"),
        (y[:, 0], "`y` to have the shape"),
        (y * np.nan, "finite"),
        (predict(model.start, x), "differ from those of `start`"),
    ):
        with pytest.raises(ValueError, match=match):
            model.adapt(x, labels)
    with pytest.raises(ValueError, match="without padding"):
        model.adapt({**x, "mask": np.ones((BATCH, NODES))}, y)
    wrong = models.Correction(network(), network(num_times=2))
    with pytest.raises(ValueError, match="Expected `model` to give positions"):
        wrong(x)
