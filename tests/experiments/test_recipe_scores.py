"""The committed results are of the recipes, and the docs of the results."""

import json
import pathlib
import runpy

import pytest

from keras_remul.experiments import tables
from keras_remul.experiments.recipe_file import load_recipe

ROOT = pathlib.Path(__file__).parents[2]
RECIPES = ROOT / "recipes"
SETS = sorted({f.stem for f in RECIPES.glob("*.py")} - {"objectives"})
TABLES = json.loads((RECIPES / "tables.json").read_text())
ROWS = {row for table in TABLES.values() for row in table["recipes"]}


@pytest.mark.parametrize("stem", SETS)
def test_file(stem, monkeypatch):
    monkeypatch.syspath_prepend(RECIPES)
    file = RECIPES / f"{stem}.py"
    doc = file.read_text().split('"""')[1]
    assert f"keras-remul train recipes/{stem}.py:NAME" in doc
    assert "\nReference: " in doc
    # Each recipe is in a table, and each row of a table is a recipe.
    names = {f"{stem}:{name}" for name in runpy.run_path(file)["RECIPES"]}
    addresses = {row.split()[0] for row in ROWS}
    assert names == {a for a in addresses if a.startswith(f"{stem}:")}
    for name in names:
        load_recipe(f"{file}:{name.partition(':')[2]}")


def test_tables_name_files_that_are_there():
    assert {row.partition(":")[0] for row in ROWS} == {*SETS}


def test_results_are_of_rows():
    rows = {
        one
        for table in TABLES.values()
        for row in table["recipes"]
        for one in tables._grid(table, row)
    }
    names = {tables._run_name(row, seed) for row in rows for seed in range(9)}
    found = {file.stem for file in (RECIPES / "results").glob("*_seed?.json")}
    assert found and found <= names


@pytest.mark.backend_independent
def test_docs_are_of_the_results(tmp_path):
    tables.report(RECIPES, tmp_path / "results.md")
    written = (tmp_path / "results.md").read_text()
    assert written == (ROOT / "docs" / "results.md").read_text()
