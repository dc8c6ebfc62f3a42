"""Recipes: each one loads, and a run that was killed goes on exactly."""

import csv
import dataclasses
import inspect
import json
import pathlib
import sys
import tempfile
import warnings

import keras
import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import (
    EventAccumulator,
)
from tensorboard.util import tensor_util

from keras_remul import (
    RemulModel,
    cli,
    datasets,
    from_preset,
    groups,
    models,
    ridge,
    weighting,
)
from keras_remul.datasets import loading, registry
from keras_remul.experiments import NextState, Recipe, checkpoints, same_run
from keras_remul.experiments.batches import Shuffled
from keras_remul.experiments.recipe_file import load_recipe
from keras_remul.utils import atomic

RECIPES = pathlib.Path(__file__).parents[2] / "recipes"
TABLES = json.loads((RECIPES / "tables.json").read_text()).values()
NAMES = sorted({r.split()[0] for table in TABLES for r in table["recipes"]})
# Of files, settings and figures; what is trained is tested with the models.
ONCE = pytest.mark.backend_independent


@pytest.fixture(autouse=True)
def data(bodies, monkeypatch):
    """The small bodies in place of each data set."""
    splits = dict.fromkeys(("train", "validation", "test"), bodies)
    monkeypatch.setattr(datasets, "load_all", lambda *a, **k: splits)


COMMAND = '''"""Mine."""
import keras_remul as kr
from keras_remul.experiments import Recipe
RECIPE = Recipe(
    "nbody_charged",
    lambda: kr.models.EGNN(num_layers=1, hidden_dim=4),
    dict,
    epochs=1,
)
'''

# On PyTorch dropout draws from a generator that is not saved.
DROPOUT = 0.0 if keras.backend.backend() == "torch" else 0.1


def small(**changes):
    recipe = Recipe(
        dataset="nbody_charged",
        model=lambda: models.Transformer(
            num_layers=1, hidden_dim=8, num_heads=2, dropout=DROPOUT
        ),
        objective=lambda: dict(weighting=weighting.GradNorm()),
        epochs=4,
        batch_size=4,
        checkpoint_every=2,
    )
    return recipe.replace(**changes)


def linear(**changes):
    """For what no network is needed: it takes least to compile."""
    return small(
        model=models.LinearNodes,
        objective=lambda: dict(weighting=weighting.Constant(beta=1.0)),
    ).replace(**changes)


@ONCE
@pytest.mark.parametrize("name", NAMES)
def test_recipe_loads(name, tmp_path):
    loaded = load_recipe(RECIPES / name.replace(":", ".py:"))
    builder = loading.builder_maker(loaded.dataset, data_dir=tmp_path)()
    x = {  # of which shapes are known, so that nothing is compiled
        key: keras.KerasTensor((2, *feature.shape), "float32")
        for key, feature in builder.info.features.items()
    }
    targets = registry.entry(loaded.dataset).targets
    y = {key: x.pop(key) for key in targets}
    model = loaded.model()
    outputs = model(x)
    if len(targets) == 1:
        outputs = dict.fromkeys(targets, outputs)
    assert {key: outputs[key].shape for key in y} == {
        key: value.shape for key, value in y.items()
    }
    symmetry = datasets.symmetry(loaded.dataset)
    RemulModel(model, symmetry, **loaded.objective())


def test_a_killed_run_goes_on_with_the_same_numbers(tmp_path, monkeypatch):
    straight = small().run(tmp_path / "straight", verbose=0)

    def killed(*args, **kwargs):
        raise KeyboardInterrupt

    write, count = atomic.write_json, []

    def write_once(path, content):
        # The kill comes after the weights and before the history.
        if path.name == "history.json":
            count.append(path)
            if len(count) == 2:
                killed()
        write(path, content)

    monkeypatch.setattr(atomic, "write_json", write_once)
    with pytest.raises(KeyboardInterrupt):
        small().run(tmp_path / "killed", verbose=0)
    again = small().run(tmp_path / "killed", verbose=0)
    assert again["test_mse"] == pytest.approx(straight["test_mse"], rel=1e-6)
    # One row per epoch, none twice.
    with open(tmp_path / "killed" / "history.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2", "3", "4"]
    assert [bool(row["val_mse"]) for row in rows] == [False, True] * 2
    histories = [
        json.loads((tmp_path / name / "history.json").read_text())
        for name in ("straight", "killed")
    ]
    assert len(histories[0]["loss"]) == 4
    np.testing.assert_allclose(
        histories[0]["loss"], histories[1]["loss"], rtol=1e-5
    )
    losses = [float(row["loss"]) for row in rows]
    assert losses == histories[1]["loss"]
    assert histories[0]["loss"][0] != histories[0]["loss"][-1]
    # What is finished is not done again, and the preset is that model.
    assert small().run(tmp_path / "killed", verbose=0) == again
    x, truth = datasets.load_all("")["test"]
    y = from_preset(tmp_path / "killed" / "preset").predict(x, verbose=0)
    mse = np.mean((y - truth) ** 2)
    assert mse == pytest.approx(again["test_mse"], rel=1e-4)
    # The last epoch, and the best on validation.
    left = (tmp_path / "killed").glob("*.weights.h5")
    epochs = again["epochs"], again["best_epoch"]
    expected = ["epoch_{}.weights.h5", "best_{}.weights.h5"]
    assert {path.name for path in left} == {
        name.format(epoch) for name, epoch in zip(expected, epochs, strict=True)
    }


def functional(width=8, activation="tanh"):
    """Layers that Keras names, by numbers that grow in the process."""
    x = {
        name: keras.Input((5, size), name=name)
        for name, size in (
            ("positions", 3),
            ("velocities", 3),
            ("charges", 1),
        )
    }
    h = keras.layers.Concatenate()([*x.values()])
    h = keras.layers.Dense(width, activation=activation)(h)
    step = keras.layers.Dense(3)(h)
    return keras.Model(x, keras.layers.Add()([x["positions"], step]))


class Mine(keras.losses.Loss):
    def __init__(self, delta=1.0, name="mine"):
        super().__init__(name=name)
        self.delta = delta

    def call(self, y, y_pred):
        return keras.losses.huber(y, y_pred, delta=self.delta)

    def get_config(self):
        return {"delta": self.delta, "name": self.name}


def objective(**changes):
    """Every argument of RemulModel that a recipe may give."""
    arguments = dict(
        weighting=weighting.Constrained(0.1, learning_rate=0.02),
        target="labels",
        loss=Mine(),
        fraction=0.5,
        num_samples=1,
        interval=1,
        augment=False,
    )
    return lambda: arguments | changes


def symmetry(group=None):
    return lambda: datasets.symmetry("nbody_charged", group)


class OtherTask(NextState):
    """Another one by its name alone."""


def base(**changes):
    recipe = small(
        model=functional, objective=objective(), epochs=1, symmetry=symmetry()
    )
    return recipe.replace(**changes)


OTHERS = [
    ("dataset", dict(dataset="nbody_charged/more")),
    ("epochs", dict(epochs=2)),
    ("batch_size", dict(batch_size=5)),
    ("learning_rate", dict(learning_rate=2e-3)),
    ("weight_decay", dict(weight_decay=0.0)),
    ("passes", dict(passes=2)),
    ("seed", dict(seed=1)),
    ("checkpoint_every", dict(checkpoint_every=1)),
    ("ridge", dict(ridge=True)),
    ("dataset.*aligned", dict(aligned=True)),
    ("task", dict(task=OtherTask())),
    ("weighting.class_name", dict(beta=2.0)),
    ("weighting.tolerance", dict(tolerance=0.2)),
    ("moved_by", dict(moved_by=lambda: {"more": symmetry()()})),
    ("moved_by", dict(unused="nbody_charged/unused")),
    ("dataset.* 4 for validation", dict(validation_size=4)),
    ("2 without", dict(validation_size=4, unlabeled_batch_size=2)),
    ("symmetry.group", dict(symmetry=symmetry(groups.SO2()))),
    ("model.*units", dict(model=lambda: functional(width=32))),
    ("model.*activation", dict(model=lambda: functional(activation="gelu"))),
    ("model", dict(model=lambda: small().model())),
    ("fraction", dict(objective=objective(fraction=1.0))),
    ("num_samples", dict(objective=objective(num_samples=2))),
    ("interval", dict(objective=objective(interval=2))),
    ("augment", dict(objective=objective(augment=True))),
    ("target", dict(objective=objective(target="predictions"))),
    ("loss", dict(objective=objective(loss=None))),
    ("weighting", dict(objective=objective(weighting=weighting.GradNorm()))),
    (
        "weighting.learning_rate",
        dict(
            objective=objective(
                weighting=weighting.Constrained(0.1, learning_rate=0.01)
            )
        ),
    ),
    ("loss.delta", dict(objective=objective(loss=Mine(2.0)))),
]


def identity_of(recipe):
    found = []

    class Found(Exception):
        pass

    def stop(facts, folder):
        found.append(facts)
        raise Found

    with (
        tempfile.TemporaryDirectory() as folder,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr(same_run, "check", stop)
        with pytest.raises(Found):
            recipe.run(folder)
    return found[0]


@ONCE
@pytest.mark.parametrize("field, changes", OTHERS)
def test_a_folder_gives_no_result_of_another_recipe(field, changes, tmp_path):
    """Neither a finished run's, nor one's that was stopped."""
    facts, result = identity_of(base()), {"test_mse": 0.5}
    atomic.write_json(tmp_path / "config.json", facts)
    known = checkpoints.describe(atomic.as_json(result).encode())
    history = checkpoints.begun(same_run.digest(facts)) | {
        "loss": [1.0],
        "best_epoch": 1,
        "files": {"result.json": known},
    }
    atomic.write_json(tmp_path / "history.json", checkpoints.sealed(history))
    atomic.write_json(tmp_path / "result.json", result)
    (tmp_path / "preset").mkdir()
    (tmp_path / "preset" / "metadata.json").touch()
    assert base().run(tmp_path) == result
    for file in ("result.json", "history.json"):
        atomic.write_json(tmp_path / file, {"loss": [1.0]})
        with pytest.raises(ValueError, match=f"holds a run with .*{field}"):
            base().replace(**changes).run(tmp_path)
        (tmp_path / file).unlink()


@ONCE
def test_every_field_of_a_recipe_is_compared():
    fields = {field.name for field in dataclasses.fields(Recipe)}
    tried = {key for _, changes in OTHERS for key in changes}
    assert fields <= tried
    arguments = inspect.signature(RemulModel.__init__).parameters
    given = {"self", "kwargs", "seed", "model", "symmetry", *objective()()}
    assert set(arguments) <= given


@ONCE
def test_names_that_keras_numbers_make_no_other_recipe(tmp_path):
    first = identity_of(base())
    functional()
    assert identity_of(base()) == first


@ONCE
def test_a_folder_of_an_earlier_version(tmp_path):
    facts = identity_of(base())
    atomic.write_json(tmp_path / "result.json", {"test_mse": 0.5})
    with pytest.raises(ValueError, match="no config.json"):
        base().run(tmp_path)
    remul = facts["remul"]["config"]
    del remul["fraction"], remul["weighting"]["config"]["memory"]
    del facts["checkpoint_every"]
    atomic.write_json(tmp_path / "config.json", facts)
    unsaid = "checkpoint_every, remul.weighting.memory, remul.fraction"
    with pytest.raises(ValueError, match=f"does not say its {unsaid}"):
        base().run(tmp_path)
    facts["epochs"] = 9
    atomic.write_json(tmp_path / "config.json", facts)
    with pytest.raises(ValueError, match="with epochs=9 .here 1.*remove"):
        base().run(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ValueError, match="config.json is damaged"):
        base().run(tmp_path)


@pytest.mark.parametrize(
    "key", ["train", pytest.param("validation", marks=ONCE)]
)
def test_a_training_that_diverges_says_so(key, tmp_path, bodies, monkeypatch):
    x, y = bodies
    # Large, but finite: the square is not.
    splits = {"train": bodies, "validation": bodies, "test": bodies}
    splits[key] = (x, y + np.float32(1e30))
    monkeypatch.setattr(datasets, "load_all", lambda *a, **k: splits)
    name = {"train": "loss", "validation": "val_mse"}[key]
    for _ in range(2):  # again, from what is on disk
        with pytest.raises(ValueError, match=f"diverged: {name} is (nan|inf)"):
            base(checkpoint_every=1).run(tmp_path, verbose=0)
    assert not (tmp_path / "result.json").exists()


@ONCE
def test_warnings_of_the_weighting_come_once(tmp_path):
    recipe = base(
        objective=lambda: dict(weighting=weighting.Constrained(1e-9)),
        epochs=3,
        checkpoint_every=1,
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        recipe.run(tmp_path, verbose=0)
    texts = [str(w.message) for w in caught]
    assert sum("above the tolerance" in text for text in texts) == 1


@ONCE
def test_other_warnings_of_an_epoch_are_passed_on(tmp_path):
    class Warns(weighting.Constant):
        def warning(self):
            warnings.warn("something else", stacklevel=2)

    recipe = base(objective=lambda: dict(weighting=Warns()))
    with pytest.warns(UserWarning, match="something else"):
        recipe.run(tmp_path, verbose=0)


def test_command(tmp_path, capsys):
    file = tmp_path / "mine.py"
    file.write_text(COMMAND)
    output = tmp_path / "out"
    arguments = ["train", str(file), "--output", str(output)]
    assert cli.main([*arguments, "--set", "epochs=2"]) == 0
    assert "test_mse" in capsys.readouterr().out
    result = json.loads((output / "result.json").read_text())
    assert result["epochs"] == 2
    assert result["backend"] == keras.backend.backend()
    assert result["relative_equivariance_error"] < 1e-4
    assert (output / "history.csv").read_text().startswith("epoch,")
    assert not (output / "tensorboard").exists()
    with pytest.raises(ValueError, match="to be set.*epoch=2"):
        load_recipe(file).replace(epoch="2")
    with pytest.raises(ValueError, match="There is no recipe .*mine.py"):
        load_recipe(tmp_path / "yours.py")
    file.write_text("x = 1")
    with pytest.raises(ValueError, match="does not define RECIPE"):
        load_recipe(file)


@ONCE
def test_the_best_epoch_on_validation_is_kept(tmp_path):
    result = linear(checkpoint_every=1, learning_rate=0.5, epochs=6).run(
        tmp_path, verbose=0
    )
    errors = json.loads((tmp_path / "history.json").read_text())["val_mse"]
    assert result["best_epoch"] == 1 + int(np.argmin(errors))
    # The validation data are the test data here.
    assert result["test_mse"] == pytest.approx(min(errors), rel=1e-4)
    assert result["validation_mse"] == min(errors) < max(errors)


@ONCE
def test_many_passes_are_one_epoch(tmp_path):
    recipe = linear(passes=3, epochs=1)
    recipe.run(tmp_path, verbose=0)
    history = json.loads((tmp_path / "history.json").read_text())
    assert len(history["loss"]) == 1
    straight = linear(passes=1, epochs=1).run(tmp_path / "one", verbose=0)
    assert straight["train_mse"] != recipe.run(tmp_path, verbose=0)["train_mse"]


@pytest.mark.usefixtures("untraced")
def test_tensorboard(tmp_path, monkeypatch):
    if keras.backend.backend() != "tensorflow":  # which is not needed
        monkeypatch.setitem(sys.modules, "tensorflow", None)
    file = tmp_path / "mine.py"
    file.write_text(COMMAND)
    output = tmp_path / "out"
    arguments = ["train", str(file), "--output", str(output), "--tensorboard"]
    assert cli.main(arguments) == 0
    history = json.loads((output / "history.json").read_text())
    for part, name in (("train", "loss"), ("validation", "val_mse")):
        found = EventAccumulator(str(output / "tensorboard" / part)).Reload()
        (event,) = found.Tensors(f"epoch_{name.removeprefix('val_')}")
        assert event.step == 0
        value = tensor_util.make_ndarray(event.tensor_proto)
        np.testing.assert_allclose([value], history[name], rtol=1e-6)


def test_callbacks_see_each_epoch_once(tmp_path, monkeypatch):
    """What they write to the logs stays there; each epoch has its order."""
    seen, orders, shuffle = [], [], Shuffled.shuffle

    def note(epoch, logs):
        seen.append((epoch, logs["loss"]))
        logs["loss"] = logs["val_mse"] = 7.0

    def note_order(batches, epoch):
        shuffle(batches, epoch)
        orders.append((epoch, tuple(batches.order)))

    monkeypatch.setattr(Shuffled, "shuffle", note_order)
    logger = keras.callbacks.LambdaCallback(
        on_epoch_end=note, on_train_end=lambda logs: seen.append("end")
    )
    linear(checkpoint_every=4).run(tmp_path, verbose=0, callbacks=[logger])
    history = json.loads((tmp_path / "history.json").read_text())
    assert seen == [*enumerate(history["loss"]), "end"]
    assert len(history["val_mse"]) == 1 and history["val_mse"] != [7.0]
    assert [epoch for epoch, _ in orders] == [0, 0, 1, 2, 3]
    assert len(set(orders)) == len({order for _, order in orders}) == 4


@ONCE
def test_progress(tmp_path, capsys):
    linear().run(tmp_path / "bar", verbose=1)
    assert "4/4" in capsys.readouterr().out
    linear().run(tmp_path / "lines")
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("lines: epoch 2 of 4, validation MSE 0.")
    linear().run(tmp_path / "silent", verbose=0)
    assert capsys.readouterr().out == ""


@ONCE
@pytest.mark.parametrize("name", ["beta", "tolerance"])
def test_weighting_from_the_command_line(name, tmp_path):
    recipe = small(**{name: "0.5"})
    found = recipe.arguments()["weighting"]
    cls = {"beta": "Constant", "tolerance": "Constrained"}[name]
    assert type(found).__name__ == cls
    assert getattr(found, name) == 0.5


@ONCE
def test_moved_by_further_groups(tmp_path):
    def symmetries():
        return {
            "SO(3)": datasets.symmetry("nbody_charged", groups.SO3()),
            "O(3)": datasets.symmetry("nbody_charged", groups.O3()),
        }

    result = linear(moved_by=symmetries, epochs=2).run(tmp_path, verbose=0)
    for name in ("SO(3)", "O(3)"):
        # Far from equivariant after two epochs.
        error = result[f"mse_moved_by_{name}"]
        assert abs(error / result["test_mse"] - 1) > 1e-4


@ONCE
def test_the_mean_with_ridge_regression(tmp_path):
    x, y = datasets.load_all("")["test"]
    alone = small().run(tmp_path / "alone", verbose=0)
    result = small(ridge=True).run(tmp_path / "ridge", verbose=0)
    assert 0 <= result["share_of_network"] < 1
    assert result["test_mse"] < 0.9 * alone["test_mse"]
    found = from_preset(tmp_path / "ridge" / "preset").predict(x, verbose=0)
    mse = np.mean((found - y) ** 2)
    assert mse == pytest.approx(result["test_mse"], rel=1e-3, abs=1e-9)
    # The validation data are the test data here.
    assert result["validation_mse"] == pytest.approx(
        result["test_mse"], rel=1e-3
    )


@ONCE
def test_a_network_that_is_shown_aligned_bodies(tmp_path):
    """It has the symmetry exactly, and its preset too."""
    changes = dict(
        model=lambda: models.OnSkeleton(
            small().model(), [[1, 0], [2, 1]], [1.0, 2.0]
        ),
        symmetry=lambda: datasets.symmetry(
            "nbody_charged", groups.O2(axis="y")
        ),
        objective=dict,
        epochs=1,
    )
    result = small(**changes, aligned=True).run(tmp_path / "run", verbose=0)
    assert result["aligned"] and result["relative_equivariance_error"] < 1e-3
    assert result["mse"] == pytest.approx(result["test_mse"], rel=1e-2)
    x, y = datasets.load_all("")["validation"]
    found = from_preset(tmp_path / "run" / "preset").predict(x, verbose=0)
    mse = np.mean((found - y) ** 2)
    assert result["validation_mse"] == pytest.approx(mse, rel=1e-3)
    with pytest.raises(ValueError, match="another|differ"):
        small(**changes).run(tmp_path / "run", verbose=0)


@ONCE
def test_the_correction_of_ridge_regression(tmp_path):
    """Fitted before the training, and not trained."""
    symmetry = datasets.symmetry("nbody_charged")

    def model():
        start = ridge.make(symmetry)
        return models.Correction(start, small().model())

    corrected = small(model=model, symmetry=lambda: symmetry)
    whole = corrected.run(tmp_path / "whole", verbose=0)
    alone = small().run(tmp_path / "alone", verbose=0)
    assert whole["test_mse"] < 0.9 * alone["test_mse"]
    found = from_preset(tmp_path / "whole" / "preset")
    regression = ridge.make(symmetry)
    x, y = datasets.load_all("")["train"]
    ridge.fit(regression, (x, y), (x, y))
    np.testing.assert_allclose(
        found.start.predict(x, verbose=0),
        regression.predict(x, verbose=0),
        atol=1e-5,
    )
    error = np.mean((y - regression.predict(x, verbose=0)) ** 2)
    assert float(found.scale) == pytest.approx(error**0.5, rel=1e-4)
