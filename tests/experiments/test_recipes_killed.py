"""Runs that are killed at any moment, and go on as if they had not been.

At each call that writes, the folder is copied: that is what a kill leaves. Each
copy is then gone on with. `KERAS_REMUL_EVERY_KILL=1` tries all of them, and
many real kills at random times; by default a few of each are tried.
"""

import json
import os
import random
import shutil
import subprocess
import sys

import h5py
import killed_run
import numpy as np
import pytest
from killed_run import recipe, small_data

from keras_remul import datasets
from keras_remul.experiments import checkpoints
from keras_remul.utils import atomic

EVERY = bool(os.environ.get("KERAS_REMUL_EVERY_KILL"))
# What a kill leaves are files; `test_recipes` resumes a run on each backend.
pytestmark = pytest.mark.backend_independent


@pytest.fixture(autouse=True)
def data(monkeypatch):
    splits = small_data()
    monkeypatch.setattr(datasets, "load_all", lambda *a, **k: splits)
    return splits


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """A run that nothing disturbed: its folder."""
    folder = tmp_path_factory.mktemp("straight")
    with pytest.MonkeyPatch.context() as patch:
        splits = small_data()
        patch.setattr(datasets, "load_all", lambda *a, **k: splits)
        recipe().run(folder, verbose=0)
    return folder


def contents(folder):
    """The result without its time, and all weights, of a finished run."""
    result = json.loads((folder / "result.json").read_text())
    seconds = result.pop("seconds")
    assert seconds > 0
    files = checkpoints.read_history(folder / "history.json")
    assert all(np.isfinite(files["loss"]))
    names = sorted(path.name for path in folder.glob("*.weights.h5"))
    assert names == sorted(checkpoints.names(files))
    assert not [*folder.glob(".*.part")]
    return result, weights(folder, names), files["loss"], files["val_mse"]


def weights(folder, names):
    found = {}
    for name in (*names, "preset/model.weights.h5"):

        def note(path, item, name=name):
            if isinstance(item, h5py.Dataset):
                array = np.asarray(item)
                kind = array.dtype.str, array.shape
                found[name, path] = (*kind, array.tobytes())

        with h5py.File(folder / name) as file:
            file.visititems(note)
    assert len(found) > 10
    return found


def same(folder, straight):
    found, expected = contents(folder), contents(straight)
    assert found[0] == expected[0]
    assert found[1] == expected[1]
    assert found[2:] == expected[2:]


class Copies:
    """Copies of a folder, one at each call that writes below it."""

    def __init__(self, folder, target):
        self.folder, self.target = folder, target
        self.calls, self.busy = [], False

    def __call__(self, event, *arguments):
        """An audit hook; `os.fsync` has no event and is told by hand."""
        if self.busy or not self.folder.is_dir():
            return
        path = arguments[0] if arguments else None
        if event == "open":
            writes = os.O_WRONLY | os.O_RDWR | os.O_CREAT
            if not isinstance(arguments[2], int) or not arguments[2] & writes:
                return
        elif event not in (
            "os.rename", "os.remove", "os.mkdir", "os.rmdir", "fsync"
        ):  # fmt: skip
            return
        if event != "fsync" and not str(path).startswith(str(self.folder)):
            return
        self.busy = True
        copy = self.target / str(len(self.calls))
        shutil.copytree(self.folder, copy)
        if event == "fsync":  # the system may have written but a part
            for part in copy.glob(f".*{atomic.PART}"):
                os.truncate(part, part.stat().st_size // 2)
        self.calls.append((event, os.path.basename(str(path))))
        self.busy = False


_HOOK = []


def _audit(event, arguments):
    if _HOOK:
        _HOOK[0](event, *arguments)


def test_a_kill_at_each_call_that_writes(straight, tmp_path, monkeypatch):
    folder = tmp_path / "run"
    copies = Copies(folder, tmp_path / "copies")
    fsync = os.fsync

    def told(file):
        copies("fsync")
        fsync(file)

    monkeypatch.setattr(os, "fsync", told)
    sys.addaudithook(_audit)
    _HOOK.append(copies)
    try:
        recipe().run(folder, verbose=0)
    finally:
        _HOOK.clear()
    same(folder, straight)
    events = [event for event, _ in copies.calls]
    # Three blocks of three files or four, preset and result at least.
    assert events.count("os.rename") >= 16
    assert {"open", "fsync", "os.remove", "os.mkdir"} <= set(events)
    chosen = range(len(events))
    if not EVERY:
        chosen = random.Random(0).sample(chosen, 10)
    shutil.rmtree(folder)
    for k in chosen:
        # The same path: it is the name of the run.
        shutil.copytree(tmp_path / "copies" / str(k), folder)
        recipe().run(folder, verbose=0)
        try:
            same(folder, straight)
        except AssertionError as error:
            raise AssertionError(f"after {copies.calls[k]}") from error
        shutil.rmtree(folder)
    print(f"{len(chosen)} of {len(events)} calls")


def test_real_kills(straight, tmp_path):
    """SIGKILL at random times; the lock of the killed stops nobody."""
    count = 50 if EVERY else 5
    # One process imports all; its children are killed.
    done = subprocess.run(
        [sys.executable, killed_run.__file__, str(tmp_path), str(count)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout
    assert f"kills: {count}" in done.stdout
    for folder in tmp_path.iterdir():
        same(folder, straight)
