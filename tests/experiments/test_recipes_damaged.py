"""Damaged files, other data, a second process, a full disk: none unnoticed."""

import json
import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
from killed_run import recipe, small_data
from test_recipes_killed import contents

from keras_remul import datasets
from keras_remul.experiments import checkpoints, runs, same_run
from keras_remul.experiments.batches import Shuffled
from keras_remul.utils import atomic
from keras_remul.utils.weights_memory import weights_as_bytes

# Of files, and not of what a backend computes.
ONCE = pytest.mark.backend_independent


@pytest.fixture(autouse=True)
def data(monkeypatch):
    splits = small_data()
    monkeypatch.setattr(datasets, "load_all", lambda *a, **k: splits)
    return splits


class Stopped(Exception):
    pass


def stop(folder, monkeypatch, blocks=2, **changes):
    """A run that ends after a number of blocks, as by a kill."""
    tidy, count = checkpoints.tidy, []

    def stops(*arguments):
        tidy(*arguments)
        count.append(1)
        if len(count) == blocks:
            raise Stopped

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "tidy", stops)
        with pytest.raises(Stopped):
            recipe(**changes).run(folder, verbose=0)


@ONCE
def test_what_kills_left_half_written_goes(tmp_path):
    (tmp_path / ".history.json-01234567.part").touch()
    (tmp_path / ".best_2.weights.h5-01234567.part").touch()
    for name in (".preset-abc_1234", ".preset-old-01234567"):
        (tmp_path / name / "preset").mkdir(parents=True)
    recipe().run(tmp_path, verbose=0)
    assert [path for path in os.listdir(tmp_path) if path[0] == "."] == []


@ONCE
def test_files_of_others_stay(tmp_path):
    names = [
        "my.weights.h5",
        "best_model.weights.h5",
        "epoch_1.weights.h5.bak",
        ".big.iso.part",
        ".big.iso-01234567.part",
        ".history.json-mine.part",
    ]
    for name in names:
        (tmp_path / name).touch()
    folders = [".preset-mine", ".preset-old-mine"]
    for name in folders:
        (tmp_path / name).mkdir()
    for _ in range(2):  # a run, and one that is finished
        recipe().run(tmp_path, verbose=0)
        assert {*names, *folders} <= {*os.listdir(tmp_path)}


def flip(path):
    """Changes one bit in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    folder = tmp_path_factory.mktemp("straight")
    with pytest.MonkeyPatch.context() as patch:
        splits = small_data()
        patch.setattr(datasets, "load_all", lambda *a, **k: splits)
        recipe().run(folder, verbose=0)
    return contents(folder)


@pytest.mark.parametrize(
    "damage",
    [
        "weights",
        *(
            pytest.param(damage, marks=ONCE)
            for damage in ("best", "history", "missing", "cut")
        ),
    ],
)
def test_a_damaged_block_costs_that_block(
    damage, tmp_path, monkeypatch, straight
):
    stop(tmp_path, monkeypatch)
    history = checkpoints.read_history(tmp_path / "history.json")
    assert history["best_epoch"] == 2
    last, best = checkpoints.names(history)
    path = tmp_path / (best if damage == "best" else last)
    if damage == "history":
        path = tmp_path / "history.json"
    if damage == "missing":
        path.unlink()
    elif damage == "cut":
        os.truncate(path, path.stat().st_size // 2)
    else:
        flip(path)
    with pytest.warns(UserWarning, match=f"{path.name}.*after epoch 1"):
        recipe().run(tmp_path, verbose=0)
    assert contents(tmp_path) == straight


@ONCE
def test_where_no_block_is_whole_the_files_are_named(tmp_path, monkeypatch):
    stop(tmp_path, monkeypatch)
    for n in (1, 2):
        flip(tmp_path / f"epoch_{n}.weights.h5")
    with pytest.raises(ValueError, match=r"epoch_2\..*epoch_1\..*train anew"):
        recipe().run(tmp_path, verbose=0)


@ONCE
def test_a_damaged_result_is_measured_again(tmp_path):
    result = recipe().run(tmp_path, verbose=0)
    path = tmp_path / "result.json"
    text = path.read_text()
    path.write_text(text.replace('"test_mse": 0.', '"test_mse": 1.'))
    with pytest.raises(ValueError, match="result.json is damaged.*remove"):
        recipe().run(tmp_path, verbose=0)
    path.unlink()
    assert recipe().run(tmp_path, verbose=0) == result
    assert path.read_text() == text
    flip(tmp_path / "history.json")
    with pytest.raises(ValueError, match="history.json is damaged"):
        recipe().run(tmp_path, verbose=0)


@ONCE
@pytest.mark.parametrize("split", ["train", "validation", "test"])
@pytest.mark.parametrize("blocks", [1, 3])
def test_other_data_are_another_run(split, blocks, data, tmp_path, monkeypatch):
    stop(tmp_path, monkeypatch, blocks)
    x, y = data[split]
    y = y.copy()
    y[0, 0, 0] = np.nextafter(y[0, 0, 0], np.float32(9))
    data[split] = x, y
    with pytest.raises(ValueError, match=f"other data: the sha256 of {split} "):
        recipe().run(tmp_path, verbose=0)


@ONCE
def test_the_digest_sees_shapes_types_keys_and_order():
    a = np.arange(6, dtype="float32")
    others = [
        {"k": a},
        {"l": a},
        {"k": a.reshape(2, 3)},
        {"k": a.astype("int32")},
        {"k": a[::-1]},
        {"k": a.view("int32")},
        {"k": a[:0]},
    ]
    found = same_run.digests(dict(enumerate(others)))
    assert len({*found.values()}) == len(others)
    again = same_run.digests({0: {"k": np.asfortranarray(a)}})
    assert again[0] == found[0]


@ONCE
def test_one_process_at_a_time(tmp_path):
    """The message of a second comes at once; the lock of the dead is none."""
    code = (
        "import os, pathlib, sys\n"
        "from keras_remul.experiments import same_run\n"
        "lock = same_run.locked(pathlib.Path(sys.argv[1]))\n"
        "lock.__enter__(); print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(same_run.InUseError, match=f"{tmp_path} is in use"):
            recipe().run(tmp_path, verbose=0)
        assert os.listdir(tmp_path) == [same_run.LOCK]
        other.kill()
    recipe().run(tmp_path, verbose=0)
    with same_run.locked(tmp_path):
        with pytest.raises(OSError, match="is in use"):
            recipe().run(tmp_path, verbose=0)


@pytest.mark.usefixtures("untraced")
@pytest.mark.parametrize(
    "cause",
    [pytest.param("data", marks=ONCE), pytest.param("weights", marks=ONCE)]
    + ["rate"],
)
def test_no_number_from_the_start(cause, data, tmp_path):
    """The reason is told, and the folder is free for the next try."""
    changes, match = {}, "data.*validation.*NaN"
    x, y = data["validation"]
    if cause == "data":
        bad = y.copy()
        bad[3, 0, 0] = np.nan
        data["validation"] = x, bad
    elif cause == "weights":
        match = "weight .*kernel holds NaN.*initializers"

        def model():
            made = recipe().model()
            made(x)
            kernel = made.linear.kernel
            kernel.assign(kernel * np.nan)
            return made

        changes["model"] = model
    else:
        changes["learning_rate"] = 1e30
        match = "diverged.*smaller learning_rate.*no weights to keep"
    with pytest.raises(ValueError, match=match):
        recipe(**changes).run(tmp_path, verbose=0)
    assert os.listdir(tmp_path) == [same_run.LOCK]
    data["validation"] = x, y
    assert np.isfinite(recipe().run(tmp_path, verbose=0)["test_mse"])


@ONCE
def test_batches_of_an_epoch(data):
    """Their order is that of the seed and the epoch, whatever came before."""
    x, y = data["train"]
    batches = Shuffled(x, y, recipe(batch_size=5, passes=2, seed=3))
    for epoch in (4, 2):
        batches.shuffle(epoch)
        rng = np.random.default_rng([3, epoch + 1])
        order = [*rng.permutation(len(y)), *rng.permutation(len(y))]
        found = [batches[i] for i in range(len(batches))]
        assert [len(labels) for _, labels in found] == [5, 5, 5, 1]
        np.testing.assert_array_equal(
            np.concatenate([labels for _, labels in found]), y[order]
        )
        np.testing.assert_array_equal(
            np.concatenate([inputs["positions"] for inputs, _ in found]),
            x["positions"][order],
        )


@ONCE
def test_a_callback_that_stops_the_training(tmp_path, straight):
    def stops(epoch, logs):
        callback.model.stop_training = True

    callback = keras.callbacks.LambdaCallback(on_epoch_end=stops)
    with pytest.raises(ValueError, match="1 of 3 epochs.*remove the callback"):
        recipe().run(tmp_path, verbose=0, callbacks=[callback])
    recipe().run(tmp_path, verbose=0)
    assert contents(tmp_path) == straight


FIELDS = [
    ("epochs", [0, -5, 1.5, "abc", "nan", True]),
    ("batch_size", [0, "1e3"]),
    ("passes", [0]),
    ("checkpoint_every", [0]),
    ("seed", [-1, 2**32]),
    ("learning_rate", [0.0, -1.0, "nan", "inf", "abc", None]),
    ("weight_decay", [-1.0, "nan", "inf"]),
    ("beta", ["nan", "inf", "-1", True, 1j]),
    ("tolerance", ["nan", "inf", "0", "-1"]),
]


@ONCE
@pytest.mark.parametrize(
    "name, value", [(name, value) for name, all in FIELDS for value in all]
)
def test_settings_out_of_range(name, value):
    with pytest.raises(ValueError, match=f"`{name}`.*{value}"):
        recipe(**{name: value})


@ONCE
def test_two_weightings_at_once():
    recipe(tolerance=0.1).replace(tolerance=None, beta=2.0)
    with pytest.raises(ValueError, match="beta=2.0, tolerance=0.1. Take one"):
        recipe(tolerance=0.1).replace(beta="2")


@ONCE
def test_numbers_of_numpy(tmp_path):
    """They are the same run, on disk as well."""
    changes = {
        "epochs": np.int32(1),
        "seed": np.int64(3),
        "learning_rate": np.float32(0.125),
        "beta": np.float64(0.5),
    }
    result = recipe(**changes).run(tmp_path, verbose=0)
    same = {name: value.item() for name, value in changes.items()}
    assert recipe(**same).run(tmp_path, verbose=0) == result
    assert type(recipe(**changes).seed) is int


@ONCE
def test_figures_that_are_no_numbers_are_null(tmp_path, monkeypatch):
    monkeypatch.setattr(
        runs,
        "measure",
        lambda *a: {"test_mse": 1.0, "equivariance_error": float("nan")},
    )
    result = recipe(epochs=1).run(tmp_path, verbose=0)
    assert result["equivariance_error"] is None
    assert recipe(epochs=1).run(tmp_path, verbose=0) == result
    for path in (tmp_path / "result.json", tmp_path / "preset/metadata.json"):

        def refuse(text):
            raise ValueError(text)

        json.loads(path.read_text(), parse_constant=refuse)


FULL = """
import pathlib, resource, sys
sys.path.insert(0, sys.argv[1])
from killed_run import recipe, run, small_data
from keras_remul import datasets, save_to_preset
folder, limit = pathlib.Path(sys.argv[2]), int(sys.argv[3])
datasets.load_all = lambda *a, **k: small_data()
recipe(epochs=1).run(folder / "warm", verbose=0)  # caches of the framework
for limit in map(int, sys.argv[3:]):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    try:
        recipe().run(folder / "run", verbose=0)
        print("done", limit)
    except OSError as error:
        print(f"OSError at {limit}: {error}")
    parts = [p for p in (folder / "run").rglob("*") if ".part" in p.name]
    print("left:", parts)
"""


@pytest.mark.skipif(os.name != "posix", reason="limits of POSIX")
@ONCE
def test_a_full_disk(tmp_path, straight):
    """Files that can grow no more stand for a disk that is full."""
    limits = ["100", "3000", "20000", "100000000"]
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            FULL,
            str(pathlib.Path(__file__).parents[1]),
            str(tmp_path),
            *limits,
        ],
        capture_output=True,
        text=True,
    )
    lines = [
        line
        for line in done.stdout.splitlines()
        if line.startswith(("OSError", "done", "left"))
    ]
    assert done.returncode == 0, done.stderr
    for line, limit in zip(lines[:-2:2], limits, strict=False):
        assert line.startswith(f"OSError at {limit}: {tmp_path / 'run'}")
        assert "File too large" in line and "Make room in" in line
    assert lines[-2] == f"done {limits[-1]}"
    assert lines[1::2] == ["left: []"] * 4
    assert contents(tmp_path / "run") == straight


@ONCE
def test_writing_is_all_or_nothing(tmp_path, monkeypatch):
    path = tmp_path / "file"
    atomic.write(path, "old")
    for name in ("fsync", "replace"):
        with monkeypatch.context() as patch:

            def fails(*arguments):
                raise OSError(28, "No space left on device")

            patch.setattr(os, name, fails)
            with pytest.raises(OSError, match=f"{path} could.*No space.*room"):
                atomic.write(path, "new")
        assert path.read_text() == "old"
        assert os.listdir(tmp_path) == ["file"]
    (tmp_path / "link").symlink_to(path)
    atomic.write(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink() and path.read_text() == "new"
    (tmp_path / "folder").mkdir()
    for other in (tmp_path / "folder", "/dev/null"):
        with pytest.raises(OSError, match="is not a file"):
            atomic.write(other, "new")
    with pytest.raises(ValueError, match="file is not written: a.1 is nan"):
        atomic.write_json(path, {"a": [0.0, float("nan")]})
    with pytest.raises(OSError, match="file is a file"):
        atomic.make_folder(path)
    assert atomic.finite({"a": (1.0, float("inf"))}) == {"a": [1.0, None]}


def test_weights_in_memory_are_those_of_keras(tmp_path):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    path = tmp_path / "m.weights.h5"
    path.write_bytes(weights_as_bytes(model))
    other = keras.models.clone_model(model)
    before = other.get_weights()[0]
    other.load_weights(path)
    assert not np.array_equal(before, other.get_weights()[0])
    for a, b in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
