"""Weightings against numbers written out by hand, and how they resume."""

import copy
import inspect
import json
import pathlib
import warnings

import keras
import numpy as np
import pytest
from keras import layers, ops
from test_groups_contract import registered

from keras_remul import (
    RemulModel,
    Symmetry,
    from_preset,
    groups,
    models,
    weighting,
)
from keras_remul.experiments.checkpoints import scores
from keras_remul.training.weighting import (
    Constant,
    Constrained,
    GradNorm,
    LossWeighting,
    Scheduled,
    StepMeasures,
)

INPUTS = {"positions": "point", "velocities": "vector", "charges": "scalar"}


def measured(objective=1.0, equivariance=1.0, error=1.0, scale=1.0, norms=None):
    numbers = [objective, equivariance, error, scale]
    tensors = [ops.convert_to_tensor(value, "float32") for value in numbers]
    if norms is not None:
        norms = ops.convert_to_tensor(norms, "float32")
    return StepMeasures(*tensors, norms)


def numbers(weighting):
    return [float(ops.convert_to_numpy(w)) for w in weighting.loss_weights()]


def transformer():
    return models.Transformer(num_layers=1, hidden_dim=8, num_heads=2)


def remul(weighting, model=None, **kwargs):
    kwargs.setdefault("seed", 0)
    wrapper = RemulModel(
        model or transformer(),
        Symmetry(groups.SO3(), INPUTS, "point"),
        weighting,
        **kwargs,
    )
    wrapper.compile(keras.optimizers.Adam(1e-2), loss="mse")
    return wrapper


# Scheduled.


@keras.saving.register_keras_serializable(package="keras_remul_tests")
def halved(step):
    return 1.0 / (1.0 + ops.cast(step, "float32"))


def test_schedule_by_hand():
    ramp = keras.optimizers.schedules.PolynomialDecay(0.0, 4, 8.0)
    scheduled = Scheduled(alpha=halved, beta=ramp)
    seen = []
    for _ in range(6):
        seen.append(numbers(scheduled))
        scheduled.update(measured())
        scheduled.advance()
    np.testing.assert_allclose(
        seen,
        [[1, 0], [1 / 2, 2], [1 / 3, 4], [1 / 4, 6], [1 / 5, 8], [1 / 6, 8]],
        atol=1e-6,
    )


def test_schedule_is_told_apart_by_its_arguments():
    decay = keras.optimizers.schedules.PolynomialDecay
    one, same = (Scheduled(halved, decay(0.0, 4, 8.0)) for _ in range(2))
    assert repr(one) == repr(same)
    assert "alpha=halved" in repr(one) and "decay_steps=4" in repr(one)
    assert repr(one) != repr(Scheduled(halved, decay(0.0, 5, 8.0)))


def test_schedule_follows_the_steps_of_fit(bodies):
    x, y = bodies
    boundaries = keras.optimizers.schedules.PiecewiseConstantDecay(
        [2, 5], [0.0, 1.0, 10.0]
    )  # the first value holds up to step 2, the second up to 5
    wrapper = remul(Scheduled(beta=boundaries), linear_model())
    history = wrapper.fit(x, y, batch_size=4, epochs=3, verbose=0).history
    np.testing.assert_allclose(history["beta"], [0.0, 1.0, 10.0])
    np.testing.assert_allclose(history["alpha"], [1.0, 1.0, 1.0])


# GradNorm.


def test_gradnorm_by_hand():
    """Norms and rates of arXiv 1711.02257, steps in log w, in NumPy."""
    gradnorm = GradNorm(gamma=1.5, learning_rate=0.1)
    w = np.ones(2)
    steps = [
        ([2.0, 4.0], [1.0, 3.0]),
        ([1.0, 3.0], [0.5, 2.0]),
        ([0.5, 3.5], [0.7, 0.2]),
    ]
    first = np.array(steps[0][0])
    for losses, norms in steps:
        losses, norms = np.array(losses), np.array(norms)
        g = w * norms
        r = (losses / first) / np.mean(losses / first)
        w = w * np.exp(0.1 * np.clip(np.log(g.mean() * r**1.5 / g), -1, 1))
        w = 2 * w / w.sum()
        gradnorm.update(measured(*losses, norms=norms))
        np.testing.assert_allclose(numbers(gradnorm), w, rtol=1e-5)
    # First step: G = (1, 3), mean 2, r = 1: w = (2, 2 / 3)^0.1, scaled.
    again = GradNorm(gamma=1.5, learning_rate=0.1)
    again.update(measured(2.0, 4.0, norms=[1.0, 3.0]))
    up, down = np.exp(0.1 * np.log(2)), np.exp(0.1 * np.log(2 / 3))
    expected = [2 * up / (up + down), 2 * down / (up + down)]
    np.testing.assert_allclose(numbers(again), expected, rtol=1e-6)


def test_gradnorm_rests_where_the_norms_are_as_asked():
    gradnorm = GradNorm(gamma=0.0, learning_rate=0.1)
    for _ in range(200):
        gradnorm.update(measured(norms=[30.0, 0.2]))
    w = np.array(numbers(gradnorm))
    np.testing.assert_allclose(w * [30.0, 0.2], (w * [30.0, 0.2]).mean(), 1e-3)


def test_gradnorm_waits_for_gradients():
    gradnorm = GradNorm()
    for norms in ([0.0, 0.0], [1.0, 0.0], [np.nan, 1.0]):
        gradnorm.update(measured(norms=norms))
        assert numbers(gradnorm) == [1.0, 1.0]
    assert "both weights at 1" in gradnorm.warning()
    gradnorm.update(measured(norms=[1.0, 3.0]))
    assert numbers(gradnorm) != [1.0, 1.0] and gradnorm.warning() is None


def test_gradnorm_stays_positive_and_sums_to_two():
    gradnorm = GradNorm(learning_rate=10.0)
    for _ in range(5):
        gradnorm.update(measured(norms=[100.0, 1e-3]))
        assert min(numbers(gradnorm)) > 0
        assert sum(numbers(gradnorm)) == pytest.approx(2.0, rel=1e-6)


def linear_model(width=6):
    inputs = {
        "positions": keras.Input((None, 3), name="positions"),
        "velocities": keras.Input((None, 3), name="velocities"),
        "charges": keras.Input((None, 1), name="charges"),
    }
    together = layers.Concatenate()(list(inputs.values()))
    h = layers.Dense(width, name="hidden")(together)
    return keras.Model(inputs, layers.Dense(3, name="out")(h))


@keras.saving.register_keras_serializable(package="keras_remul_tests")
class Recorder(GradNorm):
    """Keeps the norms that a step measured."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.norms = self.add_weight(
            shape=(2,), initializer="zeros", trainable=False, name="norms"
        )

    def update(self, measured):
        self.norms.assign(measured.gradient_norms)
        super().update(measured)


@pytest.mark.parametrize(
    "layer, run_eagerly", [(None, False), ("hidden", False), ("hidden", True)]
)
def test_gradient_norms_by_finite_differences(bodies, layer, run_eagerly):
    x, y = bodies
    model = linear_model(width=2)
    recorder = Recorder(layer=layer)
    wrapper = remul(recorder, model)
    wrapper.compile(
        keras.optimizers.SGD(0.0), loss="mse", run_eagerly=run_eagerly
    )
    seed = ops.convert_to_numpy(wrapper.seed_generator.state).copy()
    variables = recorder.gradient_variables(model)
    assert {v.path.split("/")[-2] for v in variables} == {layer or "out"}

    def losses():
        wrapper.seed_generator.state.assign(seed)  # the same g
        wrapper.reset_metrics()
        logs = wrapper.train_on_batch(x, y, return_dict=True)
        return np.array([logs["objective_loss"], logs["equivariance_loss"]])

    losses()
    norms = ops.convert_to_numpy(recorder.norms).copy()
    squares = np.zeros(2)
    for variable in variables:
        start = ops.convert_to_numpy(variable).copy()
        for place in np.ndindex(*start.shape):
            sides = []
            for step in (1e-2, -1e-2):
                value = start.copy()
                value[place] += step
                variable.assign(value)
                sides.append(losses())
            variable.assign(start)
            squares += ((sides[0] - sides[1]) / 2e-2) ** 2
    np.testing.assert_allclose(norms, np.sqrt(squares), rtol=1e-3)


def test_gradnorm_leaks_no_gradient_into_the_model(bodies):
    """Its first step is that of Constant(1, 1), to the bit or nearly."""
    x, y = bodies
    results = []
    start = None
    for weights in (Constant(), GradNorm(learning_rate=0.5)):
        model = linear_model()
        start = start or model.get_weights()
        model.set_weights(start)
        wrapper = remul(weights, model)
        wrapper.compile(keras.optimizers.SGD(0.1), loss="mse")
        wrapper.train_on_batch(x, y)
        results.append(model.get_weights())
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-7)


class FixedTurns(groups.SO3):
    """The same elements at each step, on each backend."""

    def sample(self, n, seed=None, dtype=None):
        z = np.random.default_rng(7).normal(size=(12, self.num_normals))
        return self.from_normal(ops.convert_to_tensor(z, "float32"))


def test_gradnorm_is_the_same_on_each_backend(bodies):
    """50 steps, of which every tenth beta was written down once (on JAX)."""
    folder = pathlib.Path(__file__).parents[1] / "stored" / "tiny_transformer"
    x, y = bodies
    wrapper = RemulModel(
        from_preset(folder),
        Symmetry(FixedTurns(), INPUTS, "point"),
        GradNorm(learning_rate=0.025),
    )
    wrapper.compile(keras.optimizers.Adam(3e-3), loss="mse")
    history = wrapper.fit(x, y, epochs=50, shuffle=False, verbose=0).history
    expected = [1.0029297, 0.9833887, 0.9880580, 0.9999741, 0.9903516]
    np.testing.assert_allclose(history["beta"][9::10], expected, rtol=1e-4)


def test_gradnorm_needs_a_layer_that_is_there(bodies):
    x, y = bodies
    with pytest.raises(ValueError, match="no layer 'haed'.*/head'"):
        remul(GradNorm(layer="haed")).fit(x, y, verbose=0)


# Constrained.


def test_constrained_by_hand():
    constrained = Constrained(0.1, learning_rate=0.5, memory=0.5)
    beta, running = 1.0, None
    for error in (0.2, 0.2, 0.01, 5.0):
        running = error if running is None else 0.5 * running + 0.5 * error
        beta *= np.exp(0.5 * np.clip(np.log(running / 0.1), -1, 1))
        constrained.update(measured(error=error))
        np.testing.assert_allclose(numbers(constrained), [1.0, beta], rtol=1e-5)


def test_constrained_keeps_a_margin_for_data_not_trained_on():
    constrained = Constrained(0.1, memory=0.0)
    for logs in ({}, {"equivariance_error": 0.3}):  # no step was taken yet
        constrained.validated(logs)
    constrained.update(measured(error=0.1))
    assert numbers(constrained)[1] == pytest.approx(1.0, rel=1e-6)
    for error, margin in ((0.125, 1.25), (0.08, 1.0), (3.0, 2.0)):
        constrained.validated({"equivariance_error": error})
        found = np.exp(keras.ops.convert_to_numpy(constrained.log_margin))
        np.testing.assert_allclose(found, margin, rtol=1e-6)
    before = numbers(constrained)[1]
    constrained.update(measured(error=0.05))  # with the margin the tolerance
    assert numbers(constrained)[1] == before
    constrained.update(measured(error=0.1))  # twice the tolerance
    grown = numbers(constrained)[1] / before
    assert grown == pytest.approx(2.0**0.02, rel=1e-5)


def test_constrained_of_before_there_was_a_margin():
    config = Constrained(0.1).get_config()
    assert Constrained.from_config(config).margin
    del config["margin"]
    old = Constrained.from_config(config)
    assert len(old.weights) == 2
    old.update(measured(error=0.1))
    old.validated({"equivariance_error": 0.2})
    old.update(measured(error=0.1))
    assert numbers(old)[1] == pytest.approx(1.0, rel=1e-6)


def test_the_best_epoch_keeps_to_the_tolerance():
    history = {
        "val_mse": [1.0, 3.0, 2.0, 2.5],
        "val_equivariance_error": [0.5, 0.1, 0.09, 0.2],
    }
    order = scores(history, "val_mse", Constrained(0.1))
    assert order.index(min(order)) == 2
    assert order[0] == (pytest.approx(4.0), 1.0)
    for free in (Constant(), Constrained(0.1, "relative_equivariance_error")):
        order = scores(history, "val_mse", free)
        assert order.index(min(order)) == 0
    del history["val_equivariance_error"]
    assert scores(history, "val_mse", Constant())[1] == (0.0, 3.0)


def test_fit_tells_the_weighting_of_validation_data_only(bodies):
    class Told(Constant):
        def validated(self, logs):
            self.logs.append(logs)

    x, y = bodies
    weighting = Told()
    weighting.logs = []
    wrapper = remul(weighting)
    history = wrapper.fit(
        x, y, validation_data=(x, y), epochs=2, verbose=0
    ).history
    wrapper.evaluate(x, y, verbose=0)
    found = [logs["equivariance_error"] for logs in weighting.logs]
    assert found == history["val_equivariance_error"]


def test_constrained_relative_error_and_limit():
    constrained = Constrained(
        0.1, "relative_equivariance_error", memory=0.0, max_beta=2.0
    )
    constrained.update(measured(error=0.3, scale=3.0))
    assert numbers(constrained)[1] == pytest.approx(1.0, rel=1e-6)
    for _ in range(200):
        constrained.update(measured(error=3.0, scale=3.0))
    assert numbers(constrained)[1] == pytest.approx(2.0, rel=1e-6)
    assert "above the tolerance of 0.1" in constrained.warning()
    assert "`max_beta`: this model cannot reach it" in constrained.warning()


def test_constrained_warns_where_it_failed(bodies):
    x, y = bodies
    wrapper = remul(Constrained(1e-6))
    wrapper.model.build({key: value.shape for key, value in x.items()})
    wrapper.model.head.kernel.assign(wrapper.model.head.kernel * 50)
    with pytest.warns(UserWarning, match="above the tolerance.*train for long"):
        wrapper.fit(x, y, epochs=2, verbose=0)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*tolerance")
        remul(Constrained(10.0)).fit(x, y, epochs=2, verbose=0)


def test_constrained_reaches_its_tolerance(bodies):
    x, y = bodies
    y = y * np.array([2.0, 1.0, 1.0], "float32")  # breaks the symmetry
    many = {key: np.tile(value, (80, 1, 1)) for key, value in x.items()}
    wrapper = remul(
        Constrained(0.3, learning_rate=0.05),
        linear_model(),
        target="predictions",
    )
    wrapper.optimizer.learning_rate.assign(0.02)
    history = wrapper.fit(
        many, np.tile(y, (80, 1, 1)), epochs=25, batch_size=48, verbose=0
    ).history
    assert np.mean(history["equivariance_error"][-2:]) == pytest.approx(
        0.3, rel=0.2
    )


# All of them.

ALL = {
    "constant": lambda: Constant(beta=2.0),
    "scheduled": lambda: Scheduled(
        beta=keras.optimizers.schedules.PolynomialDecay(0.1, 10, 5.0)
    ),
    "gradnorm": GradNorm,
    "constrained": lambda: Constrained(0.05),
}


@pytest.mark.parametrize(
    "policy, kind",
    [
        *(("float32", kind) for kind in ALL),
        # The loss is scaled, of which the measures must not see anything.
        *(("mixed_float16", kind) for kind in ("gradnorm", "constrained")),
        ("mixed_bfloat16", "gradnorm"),
    ],
)
@pytest.mark.filterwarnings(
    "ignore:The equivariance error at the end of training"
)
def test_trains_and_resumes_exactly(bodies, tmp_path, kind, policy):
    x, y = bodies
    keras.config.set_dtype_policy(policy)
    steps = dict(epochs=3, batch_size=3, shuffle=False, verbose=0)  # 12

    def fresh():
        keras.utils.set_random_seed(5)
        return remul(ALL[kind](), linear_model())

    straight = fresh()
    straight.fit(x, y, **steps)
    straight.save(tmp_path / "model.keras")
    expected = straight.fit(x, y, **steps).history
    again = keras.saving.load_model(tmp_path / "model.keras")
    history = again.fit(x, y, **steps).history
    assert {"alpha", "beta"} <= set(history)
    for a, b in zip(
        again.model.get_weights(), straight.model.get_weights(), strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)
    for name, value in expected.items():
        np.testing.assert_allclose(history[name], value, rtol=1e-5)
    assert np.isfinite(history["loss"]).all()


# Every argument at a value that is not its default.
EXAMPLES = [
    Constant(alpha=0.5, beta=2.0, name="mine"),
    Scheduled(
        alpha=halved,
        beta=keras.optimizers.schedules.PolynomialDecay(0.1, 400_000, 8.0),
        name="mine",
    ),
    GradNorm(gamma=0.5, learning_rate=0.1, layer="d", name="mine"),
    Constrained(
        0.05,
        measure="relative_equivariance_error",
        alpha=2.0,
        initial_beta=3.0,
        learning_rate=0.1,
        memory=0.5,
        max_beta=7.0,
        margin=False,
        name="mine",
    ),
]


def test_every_registered_weighting_has_an_example():
    assert {type(example) for example in EXAMPLES} == registered(LossWeighting)


@pytest.mark.parametrize("made", EXAMPLES, ids=lambda w: type(w).__name__)
def test_configuration_keeps_every_argument(made):
    config = json.loads(json.dumps(keras.saving.serialize_keras_object(made)))
    again = keras.saving.deserialize_keras_object(copy.deepcopy(config))
    assert again.get_config() == made.get_config()
    assert keras.saving.serialize_keras_object(again) == config
    assert repr(again) == repr(made)
    assert type(made).__name__ in repr(made)
    assert again.name == "mine"
    parameters = inspect.signature(type(made).__init__).parameters
    for name, parameter in parameters.items():
        if name not in ("self", "kwargs"):
            value = made.get_config()[name]
            assert value != parameter.default, name
            assert keras.saving.serialize_keras_object(
                getattr(again, name)
            ) == keras.saving.serialize_keras_object(getattr(made, name))
    same = copy.deepcopy(made)
    assert same.get_config() == made.get_config()
    assert numbers(same) == numbers(made) == numbers(again)


def test_own_weighting_in_two_methods(bodies):
    class Doubling(LossWeighting):
        def __init__(self):
            super().__init__()
            self.beta = self.add_weight(
                shape=(), initializer="ones", trainable=False, name="beta"
            )

        def loss_weights(self):
            return 1.0, ops.convert_to_tensor(self.beta)

        def update(self, measured):
            self.beta.assign(self.beta * 2)

    x, y = bodies
    wrapper = remul(Doubling(), linear_model())
    history = wrapper.fit(x, y, epochs=3, verbose=0).history
    assert history["beta"] == [1.0, 2.0, 4.0]


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: Constrained(0.0), "`tolerance` must be.*above 0"),
        (lambda: Constrained(0.1, "E"), "`measure` must be one of"),
        (lambda: Constrained(0.1, memory=1.0), "`memory`"),
        (lambda: GradNorm(gamma=-1.0), "`gamma`"),
        (lambda: GradNorm(learning_rate=0.0), "`learning_rate`"),
        (lambda: Scheduled(beta="linear"), "`beta`.*'linear'"),
    ],
)
def test_errors(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_module_lists_all():
    assert set(weighting.__all__) >= {"Constant", "Scheduled", "GradNorm"}
