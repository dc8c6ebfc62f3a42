"""Data as users of Keras have them: masks, integers, streams, other kinds."""

import keras
import numpy as np
import pytest
from keras import layers, ops
from test_training import QuarterTurn

from keras_remul import RemulModel, Symmetry, groups, models, weighting

torch_data = pytest.importorskip("torch.utils.data")
SO3 = Symmetry(groups.SO3(), "vector", "vector")


def linear():
    return keras.Sequential(
        [keras.Input((3,)), layers.Dense(3, kernel_initializer="zeros")]
    )


# Masks that Keras attaches.


def masking():
    inputs = keras.Input((4, 3))
    return keras.Model(inputs, layers.Dense(3)(layers.Masking(0.0)(inputs)))


def embedding():
    tokens = keras.Input((4,), dtype="int32")
    h = layers.Embedding(5, 8, mask_zero=True)(tokens)
    return keras.Model(tokens, layers.Dense(3)(h))


def several():
    inputs = keras.Input((4, 3))
    h = layers.Masking(0.0)(inputs)
    return keras.Model(
        inputs,
        {
            "steps": layers.Dense(3, name="steps")(h),
            "last": layers.Dense(3, name="last")(layers.GRU(4)(h)),
        },
    )


def masked_data(rng, make):
    steps = rng.normal(size=(16, 4, 3)).astype("float32")
    y = rng.normal(size=(16, 4, 3)).astype("float32")
    y[:, 2:] = 100.0  # means nothing
    if make is embedding:
        x = rng.integers(1, 5, size=(16, 4))
        x[:, 2:] = 0
        return x, y
    steps[:, 2:] = 0
    return steps, {"steps": y, "last": y[:, 0]} if make is several else y


@pytest.mark.parametrize("make", [masking, embedding, several])
@pytest.mark.parametrize("target", ["labels", "predictions"])
def test_masks_of_keras_are_kept(rng, make, target):
    x, y = masked_data(rng, make)
    model = make()
    model.compile("sgd", "mse")
    expected = model.evaluate(x, y, verbose=0, return_dict=True)["loss"]
    assert expected < 20
    outputs = {"steps": "vector", "last": "vector"}
    symmetry = Symmetry(
        QuarterTurn(),
        "scalar" if make is embedding else "vector",
        outputs if make is several else "vector",
    )
    remul = RemulModel(model, symmetry, target=target, seed=0)
    metrics = [keras.metrics.MeanSquaredError("mse")]
    remul.compile(
        keras.optimizers.SGD(1e-2),
        "mse",
        metrics={"steps": metrics} if make is several else metrics,
    )
    start = model.get_weights()
    found = []
    for spoiled in (0.0, 1e4):
        model.set_weights(start)
        labels = keras.tree.map_structure(np.copy, y)
        steps = labels["steps"] if make is several else labels
        steps[:, 2:] += spoiled
        logs = remul.evaluate(x, labels, verbose=0, return_dict=True)
        assert logs["objective_loss"] == pytest.approx(expected, rel=1e-5)
        remul.fit(x, labels, batch_size=8, shuffle=False, verbose=0)
        found.append([*logs.values(), *map(np.sum, model.get_weights())])
    np.testing.assert_allclose(*found, rtol=1e-5, atol=1e-6)


# Integers.


def test_integer_labels_are_moved(rng):
    x = rng.normal(size=(64, 3)).astype("float32")
    y = rng.integers(-9, 10, size=(64, 3))
    logs = []
    for labels in (y, y.astype("float32")):
        remul = RemulModel(linear(), SO3, seed=0)
        remul.compile("sgd", "mse")
        logs.append(remul.evaluate(x, labels, verbose=0, return_dict=True))
        first = remul.train_on_batch(x, labels, return_dict=True)
        # |R y| = |y|, and f = 0 at the start.
        assert first["equivariance_loss"] == pytest.approx(
            np.mean(y**2), rel=1e-5
        )
    assert logs[0] == pytest.approx(logs[1], rel=1e-6)


@pytest.mark.parametrize("augment", [False, True])
def test_integer_inputs_are_moved(rng, augment):
    x = rng.integers(-20, 21, size=(32, 3))
    histories = []
    for data in (x, x.astype("float32")):
        keras.utils.set_random_seed(0)
        model = keras.Sequential([keras.Input((3,)), layers.Dense(3)])
        remul = RemulModel(model, SO3, augment=augment, seed=0)
        remul.compile(keras.optimizers.SGD(1e-4), "mse")
        y = 2.0 * x.astype("float32")
        histories.append(remul.fit(data, y, verbose=0).history)
    for name, values in histories[1].items():
        assert histories[0][name] == pytest.approx(values, rel=1e-5), name


class Typed(keras.Model):
    """Not built, and reads integers as places in a table."""

    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(3)
        self.table = self.add_weight(shape=(5, 4), name="table")

    def call(self, x):
        h = ops.take(self.table, x["types"][..., 0], axis=0)
        parts = [x["positions"], h]
        return x["positions"] + self.dense(ops.concatenate(parts, -1))


@pytest.mark.parametrize("stream", [False, True])
def test_integer_features_of_an_unbuilt_model(rng, stream):
    x = {
        "positions": rng.normal(size=(16, 4, 3)).astype("float32"),
        "types": rng.integers(0, 5, size=(16, 4, 1)),
    }
    inputs = {"positions": "point", "types": "scalar"}
    remul = RemulModel(Typed(), Symmetry(groups.SO3(), inputs, "point"))
    remul.compile("adam", "mse")

    def batches():
        while True:
            yield x, x["positions"]

    if stream:
        remul.fit(batches(), steps_per_epoch=2, shuffle=False, verbose=0)
    else:
        remul.fit(x, x["positions"], verbose=0)
    assert len(remul.model.trainable_variables) == 3


# Streams: each batch is trained on once, and nothing is looked at before.


class Once(torch_data.IterableDataset):
    """Each record comes once."""

    def __init__(self, records):
        self.records = iter(records)

    def __iter__(self):
        yield from self.records


def count_batches(model, *data, **kwargs):
    class Count(keras.callbacks.Callback):
        batches = 0

        def on_train_batch_end(self, batch, logs=None):
            self.batches += 1

    count = Count()
    model.fit(*data, verbose=0, callbacks=[count], shuffle=False, **kwargs)
    return count.batches


@pytest.mark.filterwarnings("ignore:Your input ran out of data")
@pytest.mark.parametrize("kind", ["loader", "generator", "validation"])
def test_each_batch_of_a_stream_is_used(rng, kind):
    records = rng.normal(size=(20, 2, 3)).astype("float32")

    def stream():
        if kind == "loader":
            pairs = [(x, y) for x, y in records]
            return torch_data.DataLoader(Once(pairs), batch_size=5)
        return ((a[:, 0], a[:, 1]) for a in np.split(records, 4))

    found = []
    for wrap in (False, True):
        model = linear()
        model = RemulModel(model, SO3, seed=0) if wrap else model
        model.compile("sgd", "mse")
        model.train_on_batch(records[:5, 0], records[:5, 1])
        if kind == "validation":
            model.fit(records[:, 0], records[:, 1], verbose=0)
            logs = model.evaluate(stream(), verbose=0, return_dict=True)
            whole = model.evaluate(
                records[:, 0], records[:, 1], verbose=0, return_dict=True
            )
            assert logs["loss"] == pytest.approx(whole["loss"], rel=1e-5)
        else:
            found.append(count_batches(model, stream()))
    assert len(set(found)) <= 1


def test_zero_beta_is_the_plain_twin_on_a_shuffled_loader():
    import torch

    x = torch.arange(30.0).reshape(10, 3) / 30
    found = []
    for wrap in (False, True):
        model = fitted = linear()
        if wrap:
            fitted = RemulModel(model, SO3, weighting.Constant(beta=0.0))
        fitted.compile(keras.optimizers.SGD(0.1), "mse")
        torch.manual_seed(0)
        fitted.fit(
            torch_data.DataLoader(
                torch_data.TensorDataset(x, x), batch_size=2, shuffle=True
            ),
            shuffle=False,  # the loader does
            verbose=0,
        )
        found.append(model.get_weights()[0])
    np.testing.assert_array_equal(*found)


def test_bad_shapes_in_a_stream_come_before_the_first_step(rng):
    x = rng.normal(size=(8, 3)).astype("float32")
    remul = RemulModel(linear(), SO3)
    remul.compile("sgd", "mse")
    remul.fit(x, x, verbose=0)
    steps = int(remul.optimizer.iterations)

    class Bad(keras.utils.PyDataset):
        def __len__(self):
            return 2

        def __getitem__(self, i):
            return {"a": x}, x

    with pytest.raises(ValueError):
        remul.fit(Bad(), verbose=0)
    assert int(remul.optimizer.iterations) == steps


# Arrays of another structure than at the last call.


def test_weights_may_come_and_go(rng):
    inputs = keras.Input((4, 3))
    heads = {
        "force": layers.Dense(3, name="force")(inputs),
        "energy": layers.Dense(1, name="energy")(layers.Flatten()(inputs)),
    }
    symmetry = Symmetry(
        QuarterTurn(), "vector", {"force": "vector", "energy": "scalar"}
    )
    remul = RemulModel(keras.Model(inputs, heads), symmetry)
    remul.compile(keras.optimizers.SGD(0.0), "mse")
    x = rng.normal(size=(4, 4, 3)).astype("float32")
    y = {"force": x, "energy": x[:, 0, :1]}
    whole = np.arange(4.0)
    each = {"force": np.repeat(whole[:, None], 4, 1), "energy": whole}
    for method in ("evaluate", "fit"):
        run = getattr(remul, method)
        for _ in range(2):
            run(x, y, verbose=0)
        found = []
        for weights in (whole, each, whole.astype("int32")):
            result = run(x, y, sample_weight=weights, verbose=0)
            found.append(result if method == "evaluate" else result.history)
        for other in found[1:]:
            leaves = map(keras.tree.flatten, (other, found[0]))
            for a, b in zip(*leaves, strict=True):
                assert a == pytest.approx(b, rel=1e-5)


# Steps of the optimizer.


@pytest.mark.parametrize("interval", [1, 3])
def test_a_schedule_counts_each_step(rng, interval):
    x = rng.normal(size=(12, 3)).astype("float32")
    ramp = keras.optimizers.schedules.PolynomialDecay(0.0, 6, 6.0)
    remul = RemulModel(
        linear(), SO3, weighting.Scheduled(beta=ramp), interval=interval
    )
    remul.compile("sgd", "mse")
    remul.fit(x, x, batch_size=2, verbose=0)
    assert int(remul.weighting.step) == 6
    assert float(remul.weighting.loss_weights()[1]) == pytest.approx(6.0)


@pytest.mark.parametrize("interval, accumulate", [(1, 2), (2, 1), (2, 2)])
def test_interval_and_accumulated_gradients(rng, interval, accumulate):
    x = rng.normal(size=(40, 3)).astype("float32")
    remul = RemulModel(linear(), SO3, interval=interval, seed=0)
    optimizer = keras.optimizers.SGD(
        0.1, gradient_accumulation_steps=accumulate if accumulate > 1 else None
    )
    remul.compile(optimizer, "mse")
    history = remul.fit(x, 2 * x, batch_size=10, epochs=3, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]


# GradNorm.


class Spare(keras.Model):
    """The last layer is a head that the output does not use."""

    def __init__(self):
        super().__init__()
        self.used = layers.Dense(3, name="used")
        self.spare = layers.Dense(2, name="spare")

    def build(self, shape):
        self.used.build(shape)
        self.spare.build(shape)
        self.built = True

    def call(self, x):
        return self.used(x)


@pytest.mark.filterwarnings("ignore:Gradients do not exist")
def test_gradnorm_at_an_unused_layer_says_so(rng):
    x = rng.normal(size=(8, 3)).astype("float32")
    remul = RemulModel(Spare(), SO3, weighting.GradNorm())
    remul.compile("adam", "mse")
    with pytest.warns(UserWarning, match="both weights at 1.*GradNorm.layer="):
        remul.fit(x, x, verbose=0)
    named = RemulModel(Spare(), SO3, weighting.GradNorm(layer="used"))
    named.compile("adam", "mse")
    named.fit(x, x, verbose=0)
    assert np.ptp(named.weighting.get_weights()[0]) > 0


def test_gradnorm_passes_over_a_frozen_layer(rng):
    x = rng.normal(size=(8, 3)).astype("float32")
    model = keras.Sequential(
        [
            keras.Input((3,)),
            layers.Dense(4, name="first"),
            layers.Dense(3, name="frozen", trainable=False),
        ]
    )
    remul = RemulModel(model, SO3, weighting.GradNorm())
    remul.compile("adam", "mse")
    remul.fit(x, x, verbose=0)
    assert np.ptp(remul.weighting.get_weights()[0]) > 0
    frozen = RemulModel(model, SO3, weighting.GradNorm(layer="frozen"))
    frozen.compile("adam", "mse")
    with pytest.raises(ValueError, match="no layer 'frozen' with trainable"):
        frozen.fit(x, x, verbose=0)


@pytest.mark.usefixtures("untraced")
def test_gradnorm_does_not_see_the_scale_of_the_losses(rng):
    x = rng.normal(size=(32, 3)).astype("float32")
    found = []
    for scale in (1.0, 1e-4, 1e4):
        remul = RemulModel(linear(), SO3, weighting.GradNorm(), seed=0)
        remul.compile(keras.optimizers.SGD(0.0), "mse", loss_weights=[scale])
        remul.fit(x, 2 * x, batch_size=8, epochs=3, shuffle=False, verbose=0)
        found.append(remul.weighting.get_weights()[0])
    assert np.ptp(found[0]) > 1e-3
    np.testing.assert_allclose(found[1], found[0], rtol=1e-4)
    np.testing.assert_allclose(found[2], found[0], rtol=1e-4)


# Precision.


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_precision_is_that_of_the_wrapped_model(policy):
    inputs = {"positions": "point"}
    model = models.EGNN(num_layers=1, hidden_dim=4, dtype=policy)
    remul = RemulModel(model, Symmetry(groups.SO3(), inputs, "point"))
    remul.compile("adam", "mse")
    assert remul.dtype_policy.name == policy
    scaled = isinstance(remul.optimizer, keras.optimizers.LossScaleOptimizer)
    assert scaled == (policy == "mixed_float16")
    again = RemulModel.from_config(remul.get_config())
    assert again.dtype_policy.name == policy
