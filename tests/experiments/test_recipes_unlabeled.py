"""Recipes whose second task also sees inputs without labels."""

import json

import keras
import numpy as np
import pytest

from keras_remul import datasets, models
from keras_remul.experiments import Recipe
from keras_remul.experiments.batches import Shuffled, WithUnlabeled
from keras_remul.utils import atomic

# `test_partly_labeled` takes such a step on each backend.
pytestmark = pytest.mark.backend_independent


def recipe(**changes):
    settings = dict(
        dataset="nbody_charged",
        model=models.LinearNodes,
        objective=lambda: dict(target="predictions", augment=True),
        epochs=4,
        batch_size=4,
        checkpoint_every=2,
        validation_size=5,
        unlabeled_batch_size=3,
    )
    return Recipe(**{**settings, **changes})


@pytest.fixture(autouse=True)
def data(bodies, monkeypatch):
    splits = dict.fromkeys(("train", "validation", "test"), bodies)
    monkeypatch.setattr(datasets, "load_all", lambda *a, **k: splits)


def losses(folder):
    return json.loads((folder / "history.json").read_text())["loss"]


def test_a_killed_run_goes_on_with_the_same_numbers(tmp_path, monkeypatch):
    result = recipe().run(tmp_path / "straight", verbose=0)
    assert result["unlabeled_batch_size"] == 3
    write, count = atomic.write_json, []

    def write_once(path, content):
        if path.name == "history.json":
            count.append(path)
            if len(count) == 2:
                raise KeyboardInterrupt
        write(path, content)

    monkeypatch.setattr(atomic, "write_json", write_once)
    with pytest.raises(KeyboardInterrupt):
        recipe().run(tmp_path / "killed", verbose=0)
    recipe().run(tmp_path / "killed", verbose=0)
    both = losses(tmp_path / "straight"), losses(tmp_path / "killed")
    np.testing.assert_allclose(*both, rtol=1e-6)
    without = recipe(unlabeled_batch_size=0).run(tmp_path / "less", verbose=0)
    assert "unlabeled_batch_size" not in without
    assert losses(tmp_path / "less") != both[0]


def test_they_are_what_is_not_for_validation(bodies, monkeypatch, tmp_path):
    x, _ = bodies
    seen = []
    get = WithUnlabeled.__getitem__

    def spy(self, index):
        batch = get(self, index)
        seen.append(batch[0].unlabeled["positions"])
        return batch

    monkeypatch.setattr(WithUnlabeled, "__getitem__", spy)
    recipe(epochs=2).run(tmp_path, verbose=0)
    rows = {one.tobytes() for one in np.concatenate(seen)}
    assert rows == {one.tobytes() for one in x["positions"][5:]}


def test_labels_come_as_without(bodies):
    x, y = bodies
    plain = Shuffled(x, y, recipe())
    both = WithUnlabeled(Shuffled(x, y, recipe()), x, recipe())
    for batches in (plain, both):
        batches.shuffle(epoch=3)
    for i in range(len(plain)):
        labeled, label = both[i]
        keras.tree.map_structure(
            np.testing.assert_array_equal, (labeled.x, label), plain[i]
        )


def test_nan_in_inputs_without_labels(bodies, monkeypatch, tmp_path):
    x, y = bodies
    bad = {**x, "velocities": x["velocities"].copy()}
    bad["velocities"][8] = np.nan  # after the five of validation
    splits = {"train": bodies, "validation": (bad, y), "test": bodies}
    monkeypatch.setattr(datasets, "load_all", lambda *a, **k: splits)
    with pytest.raises(ValueError, match="unlabeled.*velocities"):
        recipe().run(tmp_path, verbose=0)


def test_errors(tmp_path):
    with pytest.raises(ValueError, match="`unlabeled_batch_size` needs `valid"):
        recipe(validation_size=None)
    with pytest.raises(ValueError, match="`unlabeled_batch_size`.*at least 0"):
        recipe(unlabeled_batch_size=-1)
    with pytest.raises(ValueError, match="needs a smaller `validation_size`"):
        recipe(validation_size=12).run(tmp_path, verbose=0)
    with pytest.raises(ValueError, match="predictions only"):
        recipe(objective=dict).run(tmp_path, verbose=0)
