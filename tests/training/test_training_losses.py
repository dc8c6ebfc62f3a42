"""Losses of RemulModel: by name, between predictions, of layers, in logs."""

import collections
import inspect

import keras
import numpy as np
import pytest
from keras import layers, ops
from test_training import QuarterTurn

from keras_remul import RemulModel, Symmetry, groups, losses, weighting

VECTOR = Symmetry(QuarterTurn(), "vector", "vector")


def linear(**kwargs):
    return keras.Sequential(
        [keras.Input((3,)), layers.Dense(3, name="dense", **kwargs)]
    )


def points(rng, n=8):
    x = rng.normal(size=(n, 3)).astype("float32")
    return x, (2 * x).astype("float32")


def two_heads(as_dict, names=("zeta", "alpha")):
    """The first output is not the first in the alphabet."""
    inputs = keras.Input((3,))
    heads = [
        layers.Dense(width, name=name)(inputs)
        for name, width in zip(names, (3, 1), strict=True)
    ]
    outputs = dict(zip(names, heads, strict=True)) if as_dict else heads
    return keras.Model(inputs, outputs)


# Losses by name.

GIVEN = {
    "one for all": "mae",
    "list": ["mae", "mse"],
    "dict": {"alpha": "mse", "zeta": "mae"},
    "one is None": {"alpha": None, "zeta": "mae"},
    "partial": {"zeta": "mae"},
}


@pytest.mark.usefixtures("untraced")
@pytest.mark.filterwarnings("ignore:Gradients do not exist")
@pytest.mark.parametrize("as_dict", [False, True])
@pytest.mark.parametrize("given", GIVEN)
def test_losses_are_those_of_keras(rng, given, as_dict):
    if given == "partial" and not as_dict:
        pytest.skip("Keras wants all names of a list of outputs")
    x, _ = points(rng)
    y = {"zeta": 2 * x, "alpha": x[:, :1] + 1}
    loss, structure = GIVEN[given], {"zeta": "vector", "alpha": "scalar"}
    if given == "list" and as_dict:
        loss = ["mse", "mae"]  # Keras takes the keys in their order
    if not as_dict:
        y, structure = list(y.values()), list(structure.values())
    model = two_heads(as_dict)
    model.compile("sgd", loss=loss)
    expected = model.evaluate(x, y, verbose=0, return_dict=True)["loss"]
    remul = RemulModel(model, Symmetry(QuarterTurn(), "vector", structure))
    remul.compile("sgd", loss=loss)
    logs = remul.evaluate(x, y, verbose=0, return_dict=True)
    assert logs["objective_loss"] == pytest.approx(expected, rel=1e-5)
    # What Keras says for data moved by hand is the loss of the second task.
    g = QuarterTurn().sample(len(x))
    moved = ops.convert_to_numpy(remul.symmetry.transform_inputs(g, x))
    goal = keras.tree.map_structure(
        ops.convert_to_numpy, remul.symmetry.transform_outputs(g, y)
    )
    expected = model.evaluate(moved, goal, verbose=0, return_dict=True)["loss"]
    assert logs["equivariance_loss"] == pytest.approx(expected, rel=1e-5)
    assert np.isfinite(remul.fit(x, y, verbose=0).history["loss"]).all()


@pytest.mark.usefixtures("untraced")
@pytest.mark.filterwarnings("ignore:Gradients do not exist")
def test_labels_by_name_and_left_out(rng):
    x, _ = points(rng)
    listed = RemulModel(
        two_heads(False),
        Symmetry(QuarterTurn(), "vector", ["vector", "scalar"]),
    )
    listed.compile("sgd", loss="mse")
    in_order = listed.evaluate(x, [2 * x, x[:, :1]], verbose=0)
    named = {"alpha": x[:, :1], "zeta": 2 * x}
    assert listed.evaluate(x, named, verbose=0) == in_order
    structure = {"zeta": "vector", "alpha": "scalar"}
    for options in ({}, {"augment": True}):
        remul = RemulModel(
            two_heads(True),
            Symmetry(QuarterTurn(), "vector", structure),
            **options,
        )
        remul.compile("sgd", loss={"zeta": "mse", "alpha": None})
        history = remul.fit(x, {"zeta": 2 * x}, verbose=0).history
        assert np.isfinite(history["loss"]).all()


class Ordered(keras.Model):
    """Outputs in an OrderedDict, which keeps an order that dicts do not."""

    def __init__(self):
        super().__init__()
        self.heads = {k: layers.Dense(3, name=k) for k in ("zeta", "alpha")}

    def build(self, shape):
        for head in self.heads.values():
            head.build(shape)
        self.built = True

    def call(self, x):
        return collections.OrderedDict(
            (key, self.heads[key](x)) for key in ("zeta", "alpha")
        )


@pytest.mark.parametrize("target", ["labels", "predictions"])
def test_outputs_belong_together_by_their_keys(rng, target):
    """Errors and losses by hand: nothing is swapped."""
    x, _ = points(rng)
    y = {"zeta": 2 * x + 1, "alpha": -x}
    symmetry = Symmetry(
        QuarterTurn(), "vector", {"alpha": "vector", "zeta": "vector"}
    )
    model = Ordered()
    model.build((None, 3))
    for order in (["zeta", "alpha"], ["alpha", "zeta"]):
        labels = collections.OrderedDict((key, y[key]) for key in order)
        remul = RemulModel(model, symmetry, target=target, seed=0)
        remul.compile(keras.optimizers.SGD(0.0), "mse")
        logs = remul.evaluate(x, labels, verbose=0, return_dict=True)
        y_pred = model.predict(x, verbose=0)
        expected = sum(np.mean((y_pred[key] - y[key]) ** 2) for key in y)
        assert logs["objective_loss"] == pytest.approx(expected, rel=1e-5)
        g = QuarterTurn().sample(len(x))
        moved = model.predict(turned(g, x), verbose=0)
        gaps = [moved[key] - turned(g, y_pred[key]) for key in y]
        error = np.linalg.norm(np.concatenate(gaps, axis=1), axis=1).mean()
        assert logs["equivariance_error"] == pytest.approx(error, rel=1e-5)
        goals = y if target == "labels" else y_pred
        expected = sum(
            np.mean((moved[key] - turned(g, goals[key])) ** 2) for key in y
        )
        assert logs["equivariance_loss"] == pytest.approx(expected, rel=1e-5)
        history = remul.fit(x, labels, verbose=0).history
        assert history["equivariance_error"][0] == pytest.approx(
            error, rel=1e-5
        )


def turned(g, x):
    return ops.convert_to_numpy(VECTOR.transform_inputs(g, x))


def test_unknown_names(rng):
    x, y = points(rng)
    remul = RemulModel(linear(), VECTOR, loss={"forces": "mse"})
    remul.compile("sgd", loss="mse")
    with pytest.raises(ValueError, match=r"`loss` names.*\['forces'\]"):
        remul.evaluate(x, y, verbose=0)


def test_objective_needs_its_loss():
    with pytest.raises(ValueError, match="objective needs a loss"):
        RemulModel(linear(), VECTOR, loss="mse").compile("sgd")


def test_consistency_without_labels(rng):
    x, _ = points(rng)
    for given in ("constructor", "compile"):
        remul = RemulModel(
            linear(),
            VECTOR,
            weighting.Constant(alpha=0.0),
            target="predictions",
            loss="mse" if given == "constructor" else None,
        )
        remul.compile("sgd", loss="mse" if given == "compile" else None)
        history = remul.fit(x, epochs=2, verbose=0).history
        assert history["equivariance_loss"][1] < history["equivariance_loss"][0]


# A loss between two predictions is least where they agree.

ALL_LOSSES = [
    loss
    for _, loss in inspect.getmembers(keras.losses, inspect.isclass)
    if issubclass(loss, keras.losses.Loss) and loss is not keras.losses.Loss
]
REFUSED = {
    "CTC", "CategoricalHinge", "Circle", "Dice", "Hinge", "Poisson",
    "SquaredHinge", "Tversky",
}  # fmt: skip


@pytest.mark.parametrize("kind", ALL_LOSSES, ids=lambda kind: kind.__name__)
def test_consistency_is_least_at_agreement(rng, kind):
    """Over all losses that Keras has, so that a new one is looked at."""
    if kind.__name__ in REFUSED:
        with pytest.raises(ValueError, match=r"minimum where they agree.*mse"):
            losses.consistency(kind())
        return
    logits = "from_logits" in inspect.signature(kind).parameters
    for options in [{}, {"from_logits": True}][: 1 + logits]:
        loss = kind(**options)
        distance = losses.consistency(loss)
        p = rng.uniform(0.05, 1.0, size=(6, 4)).astype("float32")
        q = rng.uniform(0.05, 1.0, size=(6, 4)).astype("float32")
        p, q = (a / a.sum(axis=1, keepdims=True) for a in (p, q))
        least, other = (float(distance(p, a)) for a in (p, q))
        assert least < other - 1e-4
        # Neither side gains by moving both: a first "label" cannot run away.
        assert float(distance(30 * p, 30 * p)) >= least - 1e-5


@pytest.mark.parametrize(
    "loss", ["binary_crossentropy", "bce", keras.losses.kl_divergence]
)
def test_consistency_by_name(loss):
    assert isinstance(losses.consistency(loss), losses.Divergence)


def test_consistency_takes_other_functions_as_they_are():
    def mine(a, b):
        return ops.mean(ops.square(a - b), axis=-1)

    assert (
        float(losses.consistency(mine)(np.ones((2, 3)), np.ones((2, 3)))) == 0
    )
    with pytest.raises(ValueError, match="Poisson"):
        losses.consistency("poisson")


@pytest.mark.parametrize(
    "loss, labels",
    [
        (
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            "sparse",
        ),
        (keras.losses.CategoricalCrossentropy(from_logits=True), "one-hot"),
        (keras.losses.BinaryCrossentropy(from_logits=True), "one-hot"),
    ],
    ids=lambda value: getattr(value, "name", value),
)
@pytest.mark.parametrize("target", ["labels", "predictions"])
def test_classification(rng, loss, labels, target):
    """Integer labels, both targets: the losses stay above 0 and fall."""
    x, _ = points(rng, 32)
    classes = np.argmax(np.abs(x), axis=1)
    y = np.eye(3, dtype="float32")[classes] if labels == "one-hot" else classes
    remul = RemulModel(
        linear(),
        Symmetry(groups.SO3(), "vector", "scalar"),
        weighting.Constant(beta=10.0),
        target=target,
        seed=0,
    )
    remul.compile(keras.optimizers.Adam(0.1), loss=loss)
    history = remul.fit(x, y, epochs=30, verbose=0).history
    assert min(history["equivariance_loss"]) > 0
    assert history["objective_loss"][-1] < history["objective_loss"][0] + 0.05


# The losses of layers: once, outside of alpha and beta.


@pytest.mark.usefixtures("untraced")
@pytest.mark.parametrize(
    "alpha, beta", [(1.0, 0.0), (1.0, 1.0), (0.0, 1.0), (0.1, 3.0)]
)
def test_own_losses_of_layers(rng, alpha, beta):
    x, y = points(rng)
    logs = []
    for strength in (0.0, 10.0):
        keras.utils.set_random_seed(0)
        regularizer = keras.regularizers.L2(strength)
        model = linear(kernel_regularizer=regularizer)
        remul = RemulModel(
            model, VECTOR, weighting.Constant(alpha, beta), seed=0
        )
        remul.compile(keras.optimizers.SGD(0.0), "mse")
        logs.append(
            [
                remul.evaluate(x, y, verbose=0, return_dict=True)["loss"],
                remul.train_on_batch(x, y, return_dict=True)["loss"],
            ]
        )
    own = float(ops.convert_to_numpy(model.losses[0]))
    for without, with_own in zip(*logs, strict=True):
        assert with_own - without == pytest.approx(own, rel=1e-4)


def test_own_losses_do_not_enter_gradnorm(rng):
    x, y = points(rng)
    found = []
    for strength in (0.0, 100.0):
        keras.utils.set_random_seed(0)
        model = linear(kernel_regularizer=keras.regularizers.L2(strength))
        remul = RemulModel(model, VECTOR, weighting.GradNorm(), seed=0)
        remul.compile(keras.optimizers.SGD(0.0), "mse")
        remul.train_on_batch(x, y)
        weights = remul.weighting
        found.append(
            [*weights.task_weights.numpy(), *weights.first_losses.numpy()]
        )
    np.testing.assert_allclose(*found, rtol=1e-5)


# alpha = 0 is augmentation, and costs what it costs.


class Rows(layers.Layer):
    """Notes how many samples go through, in training and in all."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def call(self, x, training=None):
        if training:
            self.seen.append(x.shape[0])
        return x


@pytest.mark.parametrize("make", [weighting.Constant, weighting.Scheduled])
def test_alpha_zero_is_augmentation(rng, make):
    x, y = points(rng)
    symmetry = Symmetry(groups.SO3(), "vector", "vector")

    def train(**kwargs):
        keras.utils.set_random_seed(1)
        rows = Rows()
        model = keras.Sequential([keras.Input((3,)), rows, layers.Dense(3)])
        remul = RemulModel(model, symmetry, seed=0, **kwargs)
        remul.compile(
            keras.optimizers.SGD(0.1), "mse", metrics=["mae"], run_eagerly=True
        )
        history = remul.fit(
            x, y, epochs=2, batch_size=4, shuffle=False, verbose=0
        ).history
        return history, model.get_weights(), set(rows.seen)

    twin = train(augment=True, weighting=weighting.Constant(beta=0.0))
    alias = train(weighting=make(alpha=0.0, beta=1.0))
    assert set(alias[0]) == set(twin[0]) == {"loss", "mae"}
    for name, values in twin[0].items():
        assert alias[0][name] == pytest.approx(values, rel=1e-5)
    for a, b in zip(alias[1], twin[1], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)
    assert alias[2] == twin[2] == {4}
    assert train(weighting=make(alpha=0.0), num_samples=2)[2] == {8}
    assert train(weighting=make(alpha=0.0), fraction=0.5)[2] == {2}
    assert train()[2] == {8} and train(weighting=make(beta=0.0))[2] == {4}


def test_alpha_zero_takes_no_interval():
    with pytest.raises(ValueError, match="`interval`.*nothing to train"):
        RemulModel(linear(), VECTOR, weighting.Constant(alpha=0.0), interval=2)


# What is logged.


def test_validation_loss_is_that_of_the_task(rng):
    """Whatever beta is: EarlyStopping by default sees the task improve."""
    x, y = points(rng, 32)
    ramp = keras.optimizers.schedules.ExponentialDecay(1e-3, 4, 2.2)
    symmetry = Symmetry(groups.SO3(), "vector", "vector")
    remul = RemulModel(
        linear(), symmetry, weighting.Scheduled(beta=ramp), seed=0
    )
    remul.compile(keras.optimizers.SGD(0.02), "mse", metrics=["mse"])
    early = keras.callbacks.EarlyStopping(patience=1)
    history = remul.fit(
        x,
        y,
        validation_data=(x, y),
        batch_size=8,
        epochs=12,
        verbose=0,
        callbacks=[early],
    ).history
    assert len(history["loss"]) == 12 and history["beta"][-1] > 5
    for other in ("val_mse", "val_objective_loss"):
        np.testing.assert_allclose(
            history["val_loss"], history[other], rtol=1e-5
        )


def test_callbacks_that_monitor(rng, tmp_path):
    """By default the loss of the task; the others want a `mode`, as any."""
    x, y = points(rng)
    remul = RemulModel(linear(), VECTOR)
    remul.compile("sgd", "mse")
    for name, mode in (("loss", "auto"), ("equivariance_error", "min")):
        callback = keras.callbacks.ModelCheckpoint(
            tmp_path / f"{name}.weights.h5",
            monitor=f"val_{name}",
            mode=mode,
            save_best_only=True,
            save_weights_only=True,
        )
        history = remul.fit(
            x, y, validation_data=(x, y), verbose=0, callbacks=[callback]
        ).history
        assert callback.best == pytest.approx(min(history[f"val_{name}"]))


@pytest.mark.parametrize("group", [groups.SO3(), groups.E3()], ids=repr)
def test_evaluation_does_not_depend_on_the_batch_size(rng, group):
    x, _ = points(rng, 50)
    x *= np.linspace(0.1, 3, 50, dtype="float32")[:, None]
    remul = RemulModel(linear(), Symmetry(group, "point", "point"))
    remul.compile("sgd", "mse", metrics=["mae"])
    logs = [
        remul.evaluate(x, 2 * x, batch_size=n, verbose=0, return_dict=True)
        for n in (1, 7, 50)
    ]
    assert logs[1] == pytest.approx(logs[0], rel=1e-4)
    assert logs[2] == pytest.approx(logs[0], rel=1e-4)
    # Each sample has its own g, not all of them the same one.
    alone = [
        remul.evaluate(
            np.repeat(x[:1], n, 0),
            np.repeat(x[:1], n, 0),
            verbose=0,
            return_dict=True,
        )["equivariance_error"]
        for n in (1, 2)
    ]
    assert abs(alone[0] - alone[1]) > 1e-3


def test_what_was_not_seen_is_not_logged_as_zero():
    tracker = RemulModel(linear(), VECTOR)._equivariance_tracker
    assert np.isnan(float(tracker.result()))
    tracker.update_state(2.0, 3)
    assert float(tracker.result()) == 2.0
