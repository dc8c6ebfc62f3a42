"""Recipes of energies and forces, and batches of samples by size."""

import json
import pathlib

import numpy as np
import pytest

from keras_remul import RemulModel, datasets, from_preset, models, weighting
from keras_remul.experiments import EnergiesAndForces, NextState, Recipe
from keras_remul.experiments.batches import WIDTHS, ShuffledBySize
from keras_remul.experiments.recipe_file import load_recipe
from keras_remul.experiments.tasks import ATOMS
from keras_remul.presets.evaluate import evaluate_preset

pytestmark = pytest.mark.backend_independent
RECIPES = pathlib.Path(__file__).parents[2] / "recipes"
ENERGY_OF_ELEMENT = {1: -13.0, 6: -1030.0}


def molecules(count=12, size=7):
    """Padded clusters with springs between their atoms: x, y."""
    rng = np.random.default_rng(0)
    number = rng.integers(3, size + 1, count)
    mask = np.arange(size) < number[:, None]
    r = rng.normal(size=(count, size, 3)) + 1.5 * np.arange(size)[:, None]
    r = np.where(mask[..., None], r, 0.0)
    z = np.where(mask, rng.choice([1, 6], (count, size)), 0)
    pairs = (mask[:, :, None] & mask[:, None])[..., None]
    away = np.where(pairs, r[:, :, None] - r[:, None], 0.0)
    energy = 0.05 * (away**2).sum((1, 2, 3))
    for element, one in ENERGY_OF_ELEMENT.items():
        energy += one * (z == element).sum(axis=1)
    x = {
        "positions": r.astype("float32"),
        "atomic_numbers": z[..., None].astype("int32"),
        "mask": mask.astype("float32"),
    }
    y = {
        "energy": energy[:, None],
        "forces": (-0.2 * away.sum(2)).astype("float32"),
    }
    return x, y


def recipe(**changes):
    return Recipe(
        dataset="xtb_organic",
        model=lambda: models.Potential(
            models.PointEdgeTransformer(
                num_layers=1, hidden_dim=8, num_heads=2, readout="nodes"
            )
        ),
        objective=lambda: dict(
            weighting=weighting.Constant(beta=0.0), augment=True
        ),
        task=EnergiesAndForces(),
        epochs=2,
        batch_size=4,
        checkpoint_every=1,
    ).replace(**changes)


@pytest.fixture
def data(monkeypatch):
    found = dict.fromkeys(("train", "validation", "test"), molecules())
    monkeypatch.setattr(datasets, "load_all", lambda *a, **k: found)
    return found


def test_a_potential_is_trained_measured_and_saved(data, tmp_path):
    result = recipe().run(tmp_path, verbose=0)
    assert result["task"] == "EnergiesAndForces()"
    for key in ("test_forces_mae", "energy_spread", "forces_relative"):
        assert np.isfinite(result[key])
    assert result["forces_rmse_symmetrized"] <= result["forces_rmse_moved"]
    model = from_preset(tmp_path / "preset")
    x, y = data["test"]
    total = model.total_energy(x, model.predict(x, verbose=0))
    error = 1000.0 * np.mean(
        np.abs(total - y["energy"]) / x["mask"].sum(axis=1, keepdims=True)
    )
    assert error == pytest.approx(result["test_energy_mae"], rel=1e-4)
    for key, (card, here) in evaluate_preset(tmp_path / "preset").items():
        assert here == pytest.approx(card, rel=1e-3), key
    assert "forces, mean absolute error" in (
        tmp_path / "preset" / "README.md"
    ).read_text(encoding="utf-8")


def test_other_models_and_tasks_are_told_apart(data, tmp_path):
    with pytest.raises(ValueError, match=r"models\.Potential.*LinearNodes"):
        recipe(
            model=models.LinearNodes,
            symmetry=lambda: datasets.symmetry("nbody_charged"),
        ).run(tmp_path, verbose=0)
    assert recipe(task=NextState()).task.monitor == "val_mse"
    with pytest.raises(ValueError, match="`loss`.*'huber'"):
        EnergiesAndForces(loss="huber")


def test_squared_errors_are_another_run(data, tmp_path):
    result = recipe(
        task=EnergiesAndForces(loss="mse"), learning_rate=1e-2, epochs=3
    ).run(tmp_path, verbose=0)
    assert result["task"] == "EnergiesAndForces(loss='mse')"
    history = json.loads((tmp_path / "history.json").read_text())
    assert history["loss"][-1] < history["loss"][0]
    with pytest.raises(ValueError, match=r"task=.EnergiesAndForces\(loss"):
        recipe(learning_rate=1e-2, epochs=3).run(tmp_path, verbose=0)


def test_fewer_samples_choose_the_epoch(data, tmp_path):
    whole = recipe().run(tmp_path / "whole", verbose=0)
    few = recipe(validation_size=3).run(tmp_path / "few", verbose=0)
    assert "validation_size" not in whole and few["validation_size"] == 3
    histories = [
        json.loads((tmp_path / name / "history.json").read_text())
        for name in ("whole", "few")
    ]
    assert histories[0]["loss"] == histories[1]["loss"]
    assert histories[0]["val_loss"] != histories[1]["val_loss"]
    with pytest.raises(ValueError, match="`validation_size`.*at least 1.*0"):
        recipe(validation_size=0)
    with pytest.raises(ValueError, match="`validation_size`.*most 12.*13"):
        recipe(validation_size=13).run(tmp_path / "more", verbose=0)


@pytest.mark.parametrize(
    "name", ["pet_plain", "pet_augmented", "pet_remul", "egnn"]
)
def test_recipes_load(name):
    loaded = load_recipe(f"{RECIPES / 'xtb_organic.py'}:{name}")
    model = loaded.model()
    symmetry = loaded.task.symmetry(loaded, model)
    remul = RemulModel(model, symmetry, **loaded.arguments())
    loaded.task.compile(remul, loaded.learning_rate, loaded.weight_decay)
    # As many rows in each step, and as many steps.
    rows = loaded.batch_size * (2 if name == "pet_remul" else 1)
    assert (rows, loaded.epochs / loaded.batch_size) == (16, 0.75)


def test_batches_by_size_hold_each_sample_once():
    x, y = molecules(count=41)
    x["number"] = np.arange(41)[:, None]
    batches = ShuffledBySize(x, y, recipe(passes=2), ATOMS)
    assert len(batches) == len(batches.batches) == 21
    orders = []
    for epoch in (0, 1):
        batches.shuffle(epoch)
        found = [batches[i] for i in range(len(batches))]
        rows = np.concatenate([x["number"][:, 0] for x, _ in found])
        assert np.bincount(rows).tolist() == [2] * 41
        orders.append(rows.tolist())
        for part, labels in found:
            width = part["mask"].shape[1]
            assert part["positions"].shape[1] == width
            assert labels["forces"].shape[1] == width
            rows = part["number"][:, 0]
            # Nothing but padding is cut away.
            assert part["mask"].sum() == x["mask"][rows].sum()
            np.testing.assert_array_equal(labels["energy"], y["energy"][rows])
    assert orders[0] != orders[1]
    widths = {part["mask"].shape[1] for part, _ in found}
    assert 1 < len(widths) <= WIDTHS
    x["mask"] = x["mask"][:, ::-1]
    with pytest.raises(ValueError, match="nodes come before the padding"):
        ShuffledBySize(x, y, recipe(), ATOMS)
