"""RemulModel: the objective, every way of giving data, saving, errors."""

import importlib.util
import pathlib

import keras
import numpy as np
import pytest
from keras import layers, ops

from keras_remul import (
    RemulModel,
    Symmetry,
    from_preset,
    groups,
    models,
    weighting,
)
from keras_remul.groups.orthogonal import OrthogonalGroup

INPUTS = {"positions": "point", "velocities": "vector", "charges": "scalar"}


@keras.saving.register_keras_serializable(package="keras_remul_tests")
class QuarterTurn(OrthogonalGroup):
    """Always the same rotation, so that losses can be had by hand."""

    def sample(self, n, seed=None, dtype=None):
        turn = ops.convert_to_tensor(
            [[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]
        )
        return ops.tile(turn[None], (n, 1, 1))


def symmetry(group=None):
    return Symmetry(group or groups.SO3(), INPUTS, "point")


def dense_model():
    """The simplest model that is not equivariant: one matrix."""
    inputs = {
        "positions": keras.Input((None, 3), name="positions"),
        "velocities": keras.Input((None, 3), name="velocities"),
        "charges": keras.Input((None, 1), name="charges"),
    }
    together = layers.Concatenate()(list(inputs.values()))
    return keras.Model(inputs, layers.Dense(3, name="out")(together))


def remul(model=None, group=None, compiled=True, **kwargs):
    kwargs.setdefault("seed", 0)
    wrapper = RemulModel(model or dense_model(), symmetry(group), **kwargs)
    if compiled:
        wrapper.compile(keras.optimizers.Adam(1e-2), loss="mse")
    return wrapper


def by_hand(model, x, y, target):
    """L_obj and L_equi in NumPy for QuarterTurn."""
    kernel, bias = model.get_weights()
    turn = np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1.0]])

    def f(positions, velocities):
        parts = [positions, velocities, x["charges"]]
        return np.concatenate(parts, axis=-1) @ kernel + bias

    clean = f(x["positions"], x["velocities"])
    moved = f(x["positions"] @ turn.T, x["velocities"] @ turn.T)
    goal = (y if target == "labels" else clean) @ turn.T
    return np.mean((clean - y) ** 2), np.mean((moved - goal) ** 2)


@pytest.mark.parametrize("target", ["labels", "predictions"])
def test_losses_by_hand(bodies, target):
    x, y = bodies
    model = dense_model()
    objective, equivariance = by_hand(model, x, y, target)
    wrapper = remul(
        model,
        QuarterTurn(),
        target=target,
        weighting=weighting.Constant(alpha=0.5, beta=3.0),
    )
    logs = wrapper.evaluate(x, y, verbose=0, return_dict=True)
    assert logs["objective_loss"] == pytest.approx(objective, rel=1e-5)
    assert logs["equivariance_loss"] == pytest.approx(equivariance, rel=1e-5)
    assert logs["loss"] == pytest.approx(objective, rel=1e-5)
    expected = 0.5 * objective + 3.0 * equivariance
    first_step = wrapper.train_on_batch(x, y, return_dict=True)
    assert first_step["loss"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    "target, expected",
    [("labels", 0.1413552910), ("predictions", 0.0817583725)],
)
def test_first_loss_is_the_same_on_each_backend(target, expected):
    folder = pathlib.Path(__file__).parents[1] / "stored" / "tiny_transformer"
    with np.load(folder / "golden.npz") as golden:
        x = {key: golden[f"input/{key}"] for key in INPUTS}
    y = x["positions"] + 0.8 * x["velocities"]
    wrapper = remul(from_preset(folder), QuarterTurn(), target=target)
    loss = wrapper.train_on_batch(x, y, return_dict=True)["loss"]
    assert loss == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("target", ["labels", "predictions"])
def test_gradient_by_finite_differences(bodies, target):
    x, y = bodies
    model = dense_model()
    start = [w.copy() for w in model.get_weights()]
    wrapper = remul(model, QuarterTurn(), target=target, compiled=False)
    wrapper.compile(keras.optimizers.SGD(1.0), loss="mse")
    wrapper.train_on_batch(x, y)
    gradient = start[0] - model.get_weights()[0]
    for i, j in [(0, 1), (4, 2), (6, 0)]:
        losses = []
        for step in (1e-3, -1e-3):
            kernel = start[0].astype("float64")
            kernel[i, j] += step
            model.set_weights([kernel, start[1]])
            losses.append(sum(by_hand(model, x, y, target)))
        expected = (losses[0] - losses[1]) / 2e-3
        assert gradient[i, j] == pytest.approx(expected, rel=2e-2, abs=1e-3)


def test_zero_beta_is_plain_training(bodies):
    x, y = bodies
    model, twin = dense_model(), dense_model()
    twin.set_weights(model.get_weights())
    wrapper = remul(model, weighting=weighting.Constant(beta=0.0))
    logs = wrapper.fit(x, y, batch_size=4, epochs=2, shuffle=False, verbose=0)
    twin.compile(keras.optimizers.Adam(1e-2), loss="mse")
    expected = twin.fit(x, y, batch_size=4, epochs=2, shuffle=False, verbose=0)
    np.testing.assert_allclose(
        logs.history["loss"], expected.history["loss"], rtol=1e-5
    )
    assert set(logs.history) == {"loss"}


def test_alpha_scales_plain_steps_too(bodies):
    x, y = bodies
    model = dense_model()
    start, losses = model.get_weights(), []
    for alpha in (1.0, 0.5):
        model.set_weights(start)
        wrapper = remul(model, weighting=weighting.Constant(alpha, 0.0))
        losses.append(wrapper.train_on_batch(x, y))
    assert losses[1] == pytest.approx(0.5 * losses[0], rel=1e-6)


def test_training_lowers_both_losses(bodies):
    x, y = bodies
    history = remul().fit(x, y, epochs=60, verbose=0).history
    for name in ("objective_loss", "equivariance_loss", "equivariance_error"):
        assert history[name][-1] < 0.7 * history[name][0], name


def test_evaluate_repeats_itself_and_fit_draws_anew(bodies):
    x, y = bodies
    wrapper = remul()
    first, second = (wrapper.evaluate(x, y, verbose=0) for _ in range(2))
    assert first == second
    wrapper.optimizer.learning_rate.assign(0.0)
    losses = [
        wrapper.train_on_batch(x, y, return_dict=True)["equivariance_loss"]
        for _ in range(2)
    ]
    wrapper.reset_metrics()
    assert abs(losses[0] - losses[1]) > 1e-7


def test_predict_is_that_of_the_wrapped_model(bodies):
    x, _ = bodies
    wrapper = remul()
    np.testing.assert_array_equal(
        wrapper.predict(x, verbose=0), wrapper.model.predict(x, verbose=0)
    )


def test_each_kind_of_data_gives_the_same(bodies):
    x, y = bodies

    class Dataset(keras.utils.PyDataset):
        def __len__(self):
            return 3

        def __getitem__(self, i):
            part = slice(4 * i, 4 * i + 4)
            return {k: v[part] for k, v in x.items()}, y[part]

    def generator():
        dataset = Dataset()
        yield from (dataset[i] for i in range(3))

    def train(*data, **kwargs):
        keras.utils.set_random_seed(1)
        history = remul().fit(
            *data, epochs=1, shuffle=False, verbose=0, **kwargs
        )
        return history.history

    kinds = {
        "NumPy": train(x, y, batch_size=4),
        "PyDataset": train(Dataset()),
        "generator": train(generator(), steps_per_epoch=3),
    }
    # Keras takes data of other frameworks than its backend, too.
    if importlib.util.find_spec("tensorflow"):
        import tensorflow as tf

        data = tf.data.Dataset.from_tensor_slices((x, y)).batch(4)
        kinds["tf.data"] = train(data)
    if importlib.util.find_spec("torch"):
        import torch

        class Rows(torch.utils.data.Dataset):
            def __len__(self):
                return 12

            def __getitem__(self, i):
                return {k: v[i] for k, v in x.items()}, y[i]

        loader = torch.utils.data.DataLoader(Rows(), batch_size=4)
        kinds["DataLoader"] = train(loader)
    for name, history in kinds.items():
        for key, value in kinds["NumPy"].items():
            np.testing.assert_allclose(
                history[key], value, rtol=1e-4, err_msg=f"{name}: {key}"
            )


def test_sample_weight_reaches_both_losses(bodies):
    x, y = bodies
    weight = np.array([1.0] * 6 + [0.0] * 6, dtype="float32")
    spoiled = y.copy()
    spoiled[6:] += 100.0
    half = {k: v[:6] for k, v in x.items()}
    wrapper = remul(group=QuarterTurn())
    expected = wrapper.evaluate(half, y[:6], verbose=0, return_dict=True)
    logs = wrapper.evaluate(
        x, spoiled, sample_weight=weight, verbose=0, return_dict=True
    )
    # Keras divides by the number of samples, weighted or not.
    for name in ("objective_loss", "equivariance_loss", "loss"):
        assert logs[name] == pytest.approx(expected[name] / 2, rel=1e-5)


def pad(x, y, extra, rng):
    """Adds nodes that hold nonsense and are masked out."""
    rubbish = {
        k: rng.normal(size=(12, extra, v.shape[-1])) * 50
        for k, v in {**x, "y": y}.items()
    }
    padded = {
        k: np.concatenate([v, rubbish[k]], 1).astype("float32")
        for k, v in x.items()
    }
    padded["mask"] = np.array([[1.0] * 5 + [0.0] * extra] * 12, "float32")
    return padded, np.concatenate([y, rubbish["y"]], 1).astype("float32")


@pytest.mark.parametrize("group", [QuarterTurn(), groups.E3()], ids=repr)
@pytest.mark.parametrize("target", ["labels", "predictions"])
@pytest.mark.usefixtures("untraced")
def test_padding_changes_nothing(bodies, rng, group, target):
    x, y = bodies
    keras.utils.set_random_seed(2)
    model = models.Transformer(num_layers=1, hidden_dim=8, num_heads=2)
    model.build({k: v.shape for k, v in x.items()})
    start = model.get_weights()
    runs = []
    for data in ((x, y), pad(x, y, 3, rng)):
        model.set_weights(start)
        wrapper = remul(model, group, target=target, compiled=False)
        wrapper.compile("sgd", loss="mse", metrics=["mae", "mse"])
        logs = wrapper.evaluate(*data, verbose=0, return_dict=True)
        wrapper.fit(*data, epochs=2, shuffle=False, verbose=0, batch_size=6)
        runs.append((logs, model.get_weights()))
    for name, value in runs[0][0].items():
        assert runs[1][0][name] == pytest.approx(value, rel=1e-5), name
    for a, b in zip(runs[0][1], runs[1][1], strict=True):
        np.testing.assert_allclose(a, b, atol=2e-5)


def test_several_outputs_with_their_own_losses(rng):
    a = keras.Input((4, 3), name="a")
    h = layers.Dense(8)(a)
    model = keras.Model(
        {"a": a},
        {
            "force": layers.Dense(3, name="force")(h),
            "energy": layers.Dense(1, name="energy")(
                layers.GlobalAveragePooling1D()(h)
            ),
        },
    )
    sym = Symmetry(
        QuarterTurn(), {"a": "vector"}, {"force": "vector", "energy": "scalar"}
    )
    x = {"a": rng.normal(size=(6, 4, 3)).astype("float32")}
    y = {
        "force": rng.normal(size=(6, 4, 3)).astype("float32"),
        "energy": rng.normal(size=(6, 1)).astype("float32"),
    }
    wrapper = RemulModel(model, sym)
    wrapper.compile(
        "adam",
        loss={"force": "mse", "energy": "mae"},
        loss_weights={"force": 2.0, "energy": 0.5},
    )
    logs = wrapper.evaluate(x, y, verbose=0, return_dict=True)
    g = QuarterTurn().sample(6)
    moved = {
        k: ops.convert_to_numpy(v)
        for k, v in sym.transform_inputs(g, x).items()
    }
    out = model.predict(moved, verbose=0)
    goal = ops.convert_to_numpy(sym.transform_outputs(g, y)["force"])
    expected = 2.0 * np.mean((out["force"] - goal) ** 2)
    expected += 0.5 * np.mean(np.abs(out["energy"] - y["energy"]))
    assert logs["equivariance_loss"] == pytest.approx(expected, rel=1e-5)
    wrapper.fit(x, y, epochs=1, verbose=0)


def test_fraction_sees_the_first_samples(bodies):
    x, y = bodies
    model = dense_model()
    start = model.get_weights()
    half = {key: value[:6] for key, value in x.items()}
    objective, _ = by_hand(model, x, y, "labels")
    small = remul(model, QuarterTurn(), fraction=0.5)
    logs = small.train_on_batch(x, y, return_dict=True)
    model.set_weights(start)
    _, equivariance = by_hand(model, half, y[:6], "labels")
    assert logs["objective_loss"] == pytest.approx(objective, rel=1e-5)
    assert logs["equivariance_loss"] == pytest.approx(equivariance, rel=1e-5)


def test_several_transforms_per_sample(bodies):
    """Twenty g per sample: a better estimate of the same loss."""
    x, y = bodies
    spreads = []
    for transforms in (1, 20):
        wrapper = remul(num_samples=transforms, compiled=False)
        wrapper.compile(keras.optimizers.SGD(0.0), loss="mse")
        losses = []
        for _ in range(12):
            wrapper.reset_metrics()
            logs = wrapper.train_on_batch(x, y, return_dict=True)
            losses.append(logs["equivariance_loss"])
        spreads.append(np.std(losses))
    assert spreads[1] < 0.6 * spreads[0]


@pytest.mark.usefixtures("untraced")
def test_augment_moves_inputs_and_labels(bodies):
    """A quarter turn: the losses are those of data turned by hand."""
    x, y = bodies
    turn = QuarterTurn()
    turned = symmetry(turn).transform_inputs(turn.sample(12), x)
    target = symmetry(turn).transform_outputs(turn.sample(12), y)
    for constant in (weighting.Constant(), weighting.Constant(beta=0.0)):
        losses = []
        for augment, (a, b) in ((True, (x, y)), (False, (turned, target))):
            keras.utils.set_random_seed(0)
            wrapper = remul(
                group=turn, augment=augment, weighting=constant, compiled=False
            )
            wrapper.compile(keras.optimizers.SGD(0.0), loss="mse")
            logs = wrapper.train_on_batch(a, b, return_dict=True)
            losses.append([float(v) for v in logs.values()])
        np.testing.assert_allclose(*losses, rtol=1e-5)


def test_augment_draws_anew_and_is_for_training_only(bodies):
    x, y = bodies
    wrapper = remul(augment=True, target="predictions", compiled=False)
    wrapper.compile(keras.optimizers.SGD(0.0), loss="mse")
    found = []
    for _ in range(3):
        wrapper.reset_metrics()
        logs = wrapper.train_on_batch(x, y, return_dict=True)
        found.append(float(logs["objective_loss"]))
    assert len(set(found)) == 3
    plain = np.mean((wrapper.predict(x, verbose=0) - y) ** 2)
    logs = wrapper.evaluate(x, y, verbose=0, return_dict=True)
    assert logs["objective_loss"] == pytest.approx(plain, rel=1e-4)
    assert RemulModel.from_config(wrapper.get_config()).augment


@pytest.mark.parametrize("fraction, transforms", [(0.3, 1), (0.5, 3)])
def test_fraction_and_transforms_with_masks_and_weights(
    bodies, rng, fraction, transforms
):
    x, y = pad(*bodies, 2, rng)
    wrapper = remul(
        models.Transformer(num_layers=1, hidden_dim=8, num_heads=2),
        groups.E3(),
        fraction=fraction,
        num_samples=transforms,
    )
    history = wrapper.fit(
        x, y, sample_weight=np.ones(12), batch_size=5, epochs=2, verbose=0
    ).history
    assert np.isfinite(history["loss"]).all()


@pytest.mark.parametrize("run_eagerly", [False, True])
def test_interval_leaves_plain_steps_between(bodies, run_eagerly):
    x, y = bodies
    model = dense_model()
    start = model.get_weights()

    def train(**kwargs):
        model.set_weights(start)
        wrapper = remul(model, QuarterTurn(), compiled=False, **kwargs)
        wrapper.compile(
            keras.optimizers.SGD(0.1), loss="mse", run_eagerly=run_eagerly
        )
        wrapper.fit(x, y, batch_size=4, shuffle=False, verbose=0)
        return model.get_weights()

    # Three steps: REMUL, plain, plain; by hand with one-step trainings.
    model.set_weights(start)
    for i, beta in enumerate((1.0, 0.0, 0.0)):
        step = remul(
            model,
            QuarterTurn(),
            compiled=False,
            weighting=weighting.Constant(beta=beta),
        )
        step.compile(keras.optimizers.SGD(0.1), loss="mse")
        part = slice(4 * i, 4 * i + 4)
        step.train_on_batch({k: v[part] for k, v in x.items()}, y[part])
    expected = model.get_weights()
    for a, b in zip(train(interval=3), expected, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
    assert not np.allclose(train()[0], expected[0], atol=1e-3)


@pytest.mark.parametrize(
    "options",
    [
        {"steps_per_execution": 3},
        {"jit_compile": True},
        {"jit_compile": False},
    ],
    ids=str,
)
def test_compile_options(bodies, options):
    x, y = bodies
    if keras.backend.backend() == "torch":
        if "steps_per_execution" in options:
            pytest.skip("Keras has no steps_per_execution on PyTorch")
        if options["jit_compile"]:
            pytest.skip("torch.compile needs a C++ toolchain and a minute")
    wrapper = remul(compiled=False)
    wrapper.compile(keras.optimizers.Adam(1e-2), loss="mse", **options)
    history = wrapper.fit(x, y, batch_size=4, epochs=3, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]


def test_accumulation_moving_average_and_clipping(bodies):
    x, y = bodies
    wrapper = remul(compiled=False)
    wrapper.compile(
        keras.optimizers.Adam(
            1e-2,
            gradient_accumulation_steps=2,
            use_ema=True,
            global_clipnorm=1.0,
        ),
        loss="mse",
    )
    history = wrapper.fit(x, y, batch_size=4, epochs=6, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]


def test_own_loss_for_the_equivariance_task(bodies):
    x, y = bodies
    wrapper = remul(group=QuarterTurn(), loss="mae")
    logs = wrapper.evaluate(x, y, verbose=0, return_dict=True)
    squared = remul(wrapper.model, group=QuarterTurn())
    other = squared.evaluate(x, y, verbose=0, return_dict=True)
    assert logs["objective_loss"] == pytest.approx(other["objective_loss"])
    assert abs(logs["equivariance_loss"] - other["equivariance_loss"]) > 1e-3


def dropout_model():
    """Has random state of its own, which must be resumed too.

    Not on torch: dropout draws from torch's global generator there.
    """
    rate = 0.0 if keras.backend.backend() == "torch" else 0.2
    return models.Transformer(
        num_layers=1, hidden_dim=8, num_heads=2, dropout=rate
    )


@pytest.mark.parametrize("suffix", [".keras", ".weights.h5"])
def test_resumed_training_is_exact(bodies, tmp_path, suffix):
    x, y = bodies
    steps = dict(epochs=3, batch_size=4, shuffle=False, verbose=0)
    path = str(tmp_path / f"model{suffix}")

    def fresh():
        keras.utils.set_random_seed(5)
        return remul(dropout_model())

    straight = fresh()
    straight.fit(x, y, **steps)
    expected = straight.fit(x, y, **steps).history["loss"]
    first = fresh()
    first.fit(x, y, **steps)
    first.save(path) if suffix == ".keras" else first.save_weights(path)
    keras.utils.set_random_seed(77)  # what was saved has to come from the file
    if suffix == ".keras":
        second = keras.saving.load_model(path)
    else:
        second = remul(dropout_model())
        second.train_on_batch(x, y)  # makes all variables
        second.load_weights(path)
    resumed = second.fit(x, y, **steps).history["loss"]
    np.testing.assert_allclose(resumed, expected, rtol=1e-6)
    for a, b in zip(straight.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


@pytest.mark.usefixtures("untraced")
def test_backup_and_restore(bodies, tmp_path):
    x, y = bodies
    steps = dict(batch_size=4, shuffle=False, verbose=0)

    class Kill(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                raise KeyboardInterrupt

    def fresh():
        keras.utils.set_random_seed(5)
        return remul(dropout_model())

    expected = fresh().fit(x, y, epochs=4, **steps).history["loss"]
    backup = keras.callbacks.BackupAndRestore(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        fresh().fit(x, y, epochs=4, callbacks=[backup, Kill()], **steps)
    backup = keras.callbacks.BackupAndRestore(tmp_path)
    again = fresh().fit(x, y, epochs=4, callbacks=[backup], **steps)
    np.testing.assert_allclose(again.history["loss"], expected[2:], rtol=1e-6)


def test_config_holds_everything():
    wrapper = remul(
        target="predictions",
        weighting=weighting.Constant(alpha=0.5, beta=2.0),
        loss="mae",
        seed=3,
    )
    config = keras.saving.serialize_keras_object(wrapper)
    again = keras.saving.deserialize_keras_object(config)
    assert again.target == "predictions" and again.seed == 3
    assert again.weighting.alpha == 0.5 and again.weighting.beta == 2.0
    assert again.symmetry == wrapper.symmetry
    assert again.equivariance_loss == "mae"


@pytest.mark.parametrize("run_eagerly", [True, False])
def test_user_callbacks_and_eager_mode(bodies, run_eagerly):
    x, y = bodies
    wrapper = remul(compiled=False)
    wrapper.compile(
        "adam", loss="mse", metrics=["mae"], run_eagerly=run_eagerly
    )
    history = wrapper.fit(
        x,
        y,
        epochs=3,
        verbose=0,
        validation_data=(x, y),
        callbacks=[
            keras.callbacks.EarlyStopping("val_equivariance_loss", mode="min"),
            keras.callbacks.TerminateOnNaN(),
        ],
    ).history
    assert {"val_mae", "val_equivariance_error"} <= set(history)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision(bodies, policy):
    x, y = bodies
    keras.config.set_dtype_policy(policy)
    model = models.Transformer(num_layers=1, hidden_dim=8, num_heads=2)
    history = remul(model).fit(x, y, epochs=3, verbose=0).history
    assert np.isfinite(history["loss"]).all()
    assert history["loss"][-1] < history["loss"][0]


@pytest.mark.parametrize(
    "made",
    [
        weighting.Constant,
        weighting.GradNorm,
        lambda: weighting.Constrained(0.1),
        lambda: weighting.Scheduled(beta=lambda step: 1.0),
    ],
)
@pytest.mark.filterwarnings(
    "ignore:The equivariance error at the end of training"
)
def test_float64(rng, made, float64):
    x = {
        key: rng.normal(size=(8, 5, width))
        for key, width in (("positions", 3), ("velocities", 3), ("charges", 1))
    }
    y = x["positions"] + 0.7 * x["velocities"]
    model = models.Transformer(num_layers=1, hidden_dim=8, num_heads=2)
    wrapper = remul(model, weighting=made())
    history = wrapper.fit(x, y, epochs=4, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]
    output = model(x)
    assert keras.backend.standardize_dtype(output.dtype) == "float64"


# Each error comes before the first step.


def spoil(x, y, what):
    x = dict(x)
    if what == "missing key":
        del x["charges"]
    elif what == "unknown key":
        x["masses"] = x["charges"]
    elif what == "last axis":
        x["velocities"] = x["velocities"][..., :2]
    elif what == "labels":
        y = y[..., :2]
    elif what == "mask":
        x["mask"] = np.ones((12,), "float32")
    elif what == "nan in x":
        x["positions"] = x["positions"].copy()
        x["positions"][7, 1, 2] = np.nan
    elif what == "infinite y":
        y = y.copy()
        y[3] = np.inf
    elif what == "complex y":
        y = y + np.complex64(1j)
    return x, y


ERRORS = {
    "missing key": r"Missing: \['charges'\]",
    "unknown key": r"Unknown: \['masses'\]",
    "last axis": r"`x\['velocities'\]`.*Vector\(\).*\(12, 5, 2\)",
    "labels": r"`y`.*Point\(\).*\(12, 5, 2\)",
    "mask": r"`x\['mask'\]`.*\(batch, nodes\)",
    "nan in x": r"`x\['positions'\]` holds 1 values.*first is sample 7",
    "infinite y": r"`y` holds 15 values.*first is sample 3",
    "complex y": r"`y` must hold numbers.*complex64",
}


@pytest.mark.parametrize("method", ["fit", "evaluate"])
@pytest.mark.parametrize("what", ERRORS)
def test_bad_data(bodies, what, method):
    wrapper = remul()
    with pytest.raises(ValueError, match=ERRORS[what]):
        getattr(wrapper, method)(*spoil(*bodies, what), verbose=0)
    assert int(wrapper.optimizer.iterations) == 0


def test_bad_data_in_a_stream(bodies):
    x, y = spoil(*bodies, "nan in x")

    def stream():
        yield x, y

    with pytest.raises(ValueError, match="NaN"):
        remul().fit(stream(), shuffle=False, verbose=0)


def test_nan_in_sample_weight_and_validation_data(bodies):
    x, y = bodies
    with pytest.raises(ValueError, match="`sample_weight` holds 12"):
        remul().fit(x, y, sample_weight=np.full(12, np.nan), verbose=0)
    bad = spoil(x, y, "nan in x")
    with pytest.raises(ValueError, match="first is sample 7"):
        remul().fit(x, y, validation_data=bad, verbose=0)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: RemulModel("model", symmetry()), "`model`.*keras.Model"),
        (lambda: RemulModel(dense_model(), "SO3"), "`symmetry`.*'SO3'"),
        (lambda: remul(target="label"), r"`target`.*'labels'.*'label'"),
        (lambda: remul(weighting=1.0), "`weighting`.*Constant"),
        (lambda: remul(fraction=0.0), "`fraction`"),
        (lambda: remul(num_samples=0), "`num_samples`"),
        (lambda: remul(interval=1.5), "`interval`"),
        (lambda: weighting.Constant(beta=-1.0), "`beta`.*-1"),
        (lambda: weighting.Constant(alpha=0.0, beta=0.0), "both 0"),
        (lambda: remul(compiled=False).compile("adam"), "needs a loss"),
    ],
)
def test_constructor_errors(make, message):
    with pytest.raises(ValueError, match=message):
        make()
