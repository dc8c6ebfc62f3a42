"""Files of two runs in one folder, or of none: no result of another recipe."""

import itertools
import json
import os
import shutil

import numpy as np
import pytest
from killed_run import recipe, small_data
from test_recipes_damaged import stop

from keras_remul import datasets, from_preset
from keras_remul.experiments import checkpoints, same_run
from keras_remul.experiments.batches import Shuffled
from keras_remul.utils import atomic

pytestmark = pytest.mark.backend_independent


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Folders of runs with seeds 0 and 1, stopped and finished."""
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        splits = small_data()
        patch.setattr(datasets, "load_all", lambda *a, **k: splits)
        for seed in (0, 1):
            (folder / f"stopped{seed}").mkdir()
            stop(folder / f"stopped{seed}", patch, seed=seed)
            recipe(seed=seed).run(folder / f"finished{seed}", verbose=0)
    return folder


@pytest.fixture
def folder(tmp_path, runs, monkeypatch):
    """Copies of `runs`, which a test may change."""
    splits = small_data()
    monkeypatch.setattr(datasets, "load_all", lambda *a, **k: splits)
    return shutil.copytree(runs, tmp_path / "runs")


def untrained(monkeypatch):
    """Makes the first batch fail: what is tested comes before."""

    def fails(*arguments):
        raise AssertionError("it was trained")

    monkeypatch.setattr(Shuffled, "__getitem__", fails)


@pytest.mark.parametrize("state", ["stopped", "finished"])
def test_files_of_another_run(state, folder, monkeypatch):
    untrained(monkeypatch)
    for path in (folder / f"{state}1").iterdir():
        if path.name.startswith(("history", "result")) or path.suffix == ".h5":
            shutil.copy(path, folder / f"{state}0")
    match = "history.json is of another run.*another folder.*train anew"
    with pytest.raises(ValueError, match=match):
        recipe().run(folder / f"{state}0", verbose=0)


def test_a_previous_history_without_what_it_belongs_to(folder, monkeypatch):
    untrained(monkeypatch)
    (folder / "stopped1" / "config.json").unlink()
    (folder / "stopped1" / "history.json").unlink()
    with pytest.raises(ValueError, match="history.previous.json, but no conf"):
        recipe().run(folder / "stopped1", verbose=0)
    shutil.copy(folder / "stopped0" / "config.json", folder / "stopped1")
    with pytest.raises(ValueError, match="previous.json is of another run"):
        recipe().run(folder / "stopped1", verbose=0)


@pytest.mark.parametrize("state", ["stopped", "finished"])
def test_a_history_of_an_earlier_version(state, folder, monkeypatch):
    untrained(monkeypatch)
    path = folder / f"{state}0" / "history.json"
    history = checkpoints.read_history(path)
    del history["run"]
    path.write_text(json.dumps(checkpoints.sealed(history)))
    with pytest.raises(ValueError, match="not say of which run.*earlier.*anew"):
        recipe().run(path.parent, verbose=0)


def test_a_result_needs_its_history(folder, monkeypatch):
    untrained(monkeypatch)
    path = folder / "finished0" / "result.json"
    (path.parent / "history.json").unlink()
    path.write_text(json.dumps(json.loads(path.read_text()) | {"test_mse": 0}))
    match = "history.json is missing.*copy, or remove .*finished0 to train"
    with pytest.raises(ValueError, match=match):
        recipe().run(path.parent, verbose=0)


def test_a_preset_that_is_gone_is_written_anew(folder, monkeypatch):
    untrained(monkeypatch)
    run = folder / "finished0"
    text = (run / "result.json").read_text()
    shutil.rmtree(run / "preset")
    assert recipe().run(run, verbose=0) == json.loads(text)
    x, y = small_data()["test"]
    found = from_preset(run / "preset").predict(x, verbose=0)
    mse = json.loads(text)["test_mse"]
    assert found.shape == y.shape
    assert np.mean((found - y) ** 2) == pytest.approx(mse, rel=1e-4)
    assert (run / "result.json").read_text() == text


def test_a_kill_while_a_preset_is_written_anew(folder, monkeypatch):
    run = folder / "finished0"
    shutil.rmtree(run / "preset")
    write = atomic.write_json

    def killed(path, content):
        if path.name == "result.json":
            raise KeyboardInterrupt
        write(path, content)

    # Another machine: the new result is not the old one.
    monkeypatch.setattr(os, "cpu_count", lambda: 99)
    with monkeypatch.context() as patch:
        patch.setattr(atomic, "write_json", killed)
        with pytest.raises(KeyboardInterrupt):
            recipe().run(run, verbose=0)
    assert "99 cores" in recipe().run(run, verbose=0)["machine"]


PLACES = [
    "config.json",
    "history.json",
    "history.previous.json",
    "history.csv",
    "result.json",
    "preset",
]


@pytest.mark.parametrize("name", PLACES)
def test_what_stands_in_the_way_is_told_before(name, folder, monkeypatch):
    untrained(monkeypatch)
    (folder / "new" / name).mkdir(parents=True)
    (folder / "new" / name / "mine").touch()
    with pytest.raises(ValueError, match=f"{name} .*Move it away"):
        recipe().run(folder / "new", verbose=0)
    assert {*os.listdir(folder / "new")} == {name, same_run.LOCK}


@pytest.mark.parametrize("text", ["[" * 100_000, "[]", "3", ""])
def test_a_damaged_description(text, folder, monkeypatch):
    untrained(monkeypatch)
    (folder / "stopped0" / "config.json").write_text(text)
    with pytest.raises(ValueError, match="config.json is damaged.*train anew"):
        recipe().run(folder / "stopped0", verbose=0)


def test_equal_facts_have_one_digest():
    equal = [{"a": [1, True]}, {"a": [1.0, True]}, {"a": [1, 1.0]}]
    assert len({same_run.digest(facts) for facts in equal}) == 1
    others = [*equal[:1], {"a": [1, 0]}, {"b": [1, 1]}, {"a": [1.5, 1]}]
    for one, two in itertools.combinations(others, 2):
        assert same_run.digest(one) != same_run.digest(two)
