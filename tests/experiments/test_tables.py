"""`reproduce` and `report`: what a table lacks is run, once; tables, plots."""

import json

import numpy as np
import pytest
from filelock import FileLock

from keras_remul import cli, datasets
from keras_remul.experiments import Recipe, tables

RECIPE = '''"""A small run."""
from keras_remul import models
from keras_remul.experiments import Recipe, tables
RECIPE = Recipe(
    "nbody_charged",
    models.LinearNodes,
    dict,
    epochs=1,
)
'''


@pytest.fixture
def folder(tmp_path, bodies, monkeypatch):
    splits = dict.fromkeys(("train", "validation", "test"), bodies)
    monkeypatch.setattr(datasets, "load_all", lambda *a, **k: splits)
    monkeypatch.setattr(datasets.loading, "load_all", lambda *a, **k: splits)
    recipes = tmp_path / "recipes"
    recipes.mkdir()
    for name in ("one", "two"):
        (recipes / f"{name}.py").write_text(RECIPE)
    table = {
        "title": "Small",
        "text": "A test.",
        "dataset": "nbody_charged",
        "recipes": ["one", "two"],
        "seeds": [0, 1],
    }
    (recipes / "tables.json").write_text(json.dumps({"small": table}))
    return recipes


@pytest.mark.backend_independent
def test_reproduce_and_report(folder, tmp_path, capsys):
    runs = tmp_path / "runs"
    runs.mkdir()
    place = ["--recipes", str(folder)]
    command = ["reproduce", "small", "--runs", str(runs), *place]
    with FileLock(runs / "two_seed1.lock"):
        assert cli.main(command) == 0
    out = capsys.readouterr().out
    assert "Running in another process: two_seed1" in out
    results = folder / "results"
    names = ["one_seed0", "one_seed1", "small_baselines", "two_seed0"]
    assert sorted(path.stem for path in results.iterdir()) == names
    before = {path: path.read_bytes() for path in results.iterdir()}
    assert cli.main(command) == 0
    assert (results / "two_seed1.json").exists()
    for path, content in before.items():
        assert path.read_bytes() == content
    capsys.readouterr()
    assert cli.main([*command, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    run = json.loads((results / "one_seed1.json").read_text())
    assert [(row["recipe"], row["seed"]) for row in rows] == [
        *(("one", 0), ("one", 1), ("two", 0), ("two", 1))
    ]
    assert rows[1]["test_mse"] == run["test_mse"]

    output = tmp_path / "docs" / "results.md"
    assert cli.main(["report", "--output", str(output), *place]) == 0
    text = output.read_text()
    rows = {
        line.split("|")[1].strip(): [c.strip() for c in line.split("|")[2:-1]]
        for line in text.splitlines()
        if line.startswith("|")
    }
    heads = rows[""]
    found = [
        json.loads((results / f"one_seed{i}.json").read_text()) for i in (0, 1)
    ]
    mean, _, spread = rows["one"][heads.index("test MSE")].partition(" ± ")
    errors = [result["test_mse"] for result in found]
    assert float(mean) == pytest.approx(np.mean(errors), rel=1e-2)
    assert float(spread) == pytest.approx(np.std(errors, ddof=1), rel=0.1)
    assert rows["one"][heads.index("seeds")] == "2"
    scatter = rows["one"][heads.index("± over samples")]
    assert float(scatter) == pytest.approx(
        np.mean([result["test_mse_standard_error"] for result in found]), 0.1
    )
    # Two runs of one recipe under two names: which of them is better is chance.
    column = [head.startswith("p against ") for head in heads].index(True)
    tested = {rows[name][column] for name in ("one", "two")}
    assert tested == {"reference", "1 (2, 2) n.s."}
    assert any(name.startswith("ridge") for name in rows)
    assert "test_ood MSE" not in heads
    picture = output.parent / "images" / "results_small.png"
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.backend_independent
def test_learning_rates_are_chosen_on_validation(
    folder, tmp_path, capsys, monkeypatch
):
    def run(recipe, *args, **kwargs):
        error = recipe.learning_rate + recipe.seed
        numbers = {"parameters": 1, "seconds": 1.0, "equivariance_error": 1.0}
        return {"validation_mse": error, "test_mse": 1 - error, **numbers}

    monkeypatch.setattr(Recipe, "run", run)
    tables = json.loads((folder / "tables.json").read_text())
    tables["small"] |= {"learning_rates": [0.1, 1e-6], "twin": "two"}
    (folder / "tables.json").write_text(json.dumps(tables))
    runs = tmp_path / "runs"
    runs.mkdir()
    place = ["--recipes", str(folder), "--runs", str(runs)]
    with FileLock(runs / "two_learning_rate0.1_seed0.lock"):
        assert cli.main(["reproduce", "small", *place]) == 0
    names = [path.stem for path in (folder / "results").glob("*_seed?.json")]
    # Of `two` nothing is chosen yet, since a run of it is elsewhere.
    assert sorted(names) == [
        "one_learning_rate0.1_seed0",
        "one_learning_rate1e-06_seed0",
        "one_learning_rate1e-06_seed1",
        "two_learning_rate1e-06_seed0",
    ]
    capsys.readouterr()
    assert cli.main(["reproduce", "small", *place]) == 0
    out = capsys.readouterr().out
    assert "| one learning_rate=1e-06 |" in out and "=0.1 |" not in out
    assert "p against two learning_rate=1e-06" in out


@pytest.mark.backend_independent
def test_a_figure_has_a_panel_for_each_kind_that_is_there(folder):
    (folder / "results").mkdir()
    for errors, panels in (((1e-6, 1e-7), 1), ((1e-6, 0.1), 2), ((0.2, 1), 1)):
        for name, error in zip(("one", "two"), errors, strict=True):
            result = {"test_mse": 0.1, "equivariance_error": error}
            path = folder / "results" / f"{name}_seed0.json"
            path.write_text(json.dumps(result))
        figure = tables.figure("small", folder)
        assert len(figure.axes) == panels
        figure.canvas.draw()
        texts = [text.get_text() for text in figure.legends[0].get_texts()]
        assert texts == ["one", "two"]


def test_errors(folder, tmp_path, capsys):
    tables = json.loads((folder / "tables.json").read_text())
    tables["small"]["twin"] = "three"
    (folder / "tables.json").write_text(json.dumps(tables))
    assert cli.main(["report", "--recipes", str(folder)]) == 1
    assert "to be one of its recipes" in capsys.readouterr().err
    del tables["small"]["twin"]
    (folder / "tables.json").write_text(json.dumps(tables))
    assert cli.main(["reproduce", "smal", "--recipes", str(folder)]) == 1
    assert "one of ['small']" in capsys.readouterr().err
    assert cli.main(["report", "--recipes", str(tmp_path)]) == 1
    assert "There is no" in capsys.readouterr().err


@pytest.mark.backend_independent
def test_taggers_are_compared_by_the_largest_area(folder):
    (folder / "results").mkdir()
    for name, areas in (("one", (0.97, 0.9712)), ("two", (0.98, 0.9816))):
        for seed, area in enumerate(areas):
            result = {"test_auc": area, "auc_moved": area, "parameters": 1}
            result |= {"equivariance_error": 0.1, "seconds": 1.0}
            path = folder / "results" / f"{name}_seed{seed}.json"
            path.write_text(json.dumps(result))
    rows = {"-|m|": {"validation": 0.9, "test": 0.9, "test_moved": 0.91}}
    stored = {"measure": "AUC", "rows": rows}
    path = folder / "results" / "small_baselines.json"
    path.write_text(json.dumps(stored))
    text = tables.markdown("small", folder)
    assert "| AUC | p against two | AUC, moved |" in text
    assert "| 0.9706 ± 0.00085 |" in text and "| 0.9808 ± " in text
    assert r"| -\|m\| |  |  |  | 0.9 |  | 0.91 |  |" in text
