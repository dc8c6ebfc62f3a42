"""What each recipe says it scores is what its committed runs scored."""

import json
import pathlib
import re
import statistics

import pytest

RECIPES = pathlib.Path(__file__).parents[2] / "recipes"
NAMES = sorted(path.stem for path in RECIPES.glob("*.py"))


def _score(runs):
    scores = [run["test_mse"] for run in runs]
    text = f"{statistics.mean(scores):.3g}"
    if len(scores) > 1:
        text += f" ± {statistics.stdev(scores):.2g}"
    return text


def expected(name):
    """Lines of the docstring: score with spread, seeds, time, hardware."""
    runs = {}
    for path in sorted((RECIPES / "results").glob(f"{name}_*.json")):
        match = re.fullmatch(f"{name}(_datasetxtb_md_(.+))?_seed.", path.stem)
        if match:
            runs.setdefault(match[2], []).append(json.loads(path.read_text()))
    every = [run for some in runs.values() for run in some]
    minutes = statistics.mean(run["seconds"] for run in every) / 60
    cost = f"{max(1, round(minutes))} min on one CPU core, JAX"
    if None in runs:
        seeds = f"{len(every)} seed" + "s" * (len(every) > 1)
        return f"Test MSE {_score(every)} ({seeds}; {cost})."
    scores = ", ".join(f"{name} {_score(some)}" for name, some in runs.items())
    return f"Test MSE: {scores}\n(1 seed; {cost})."


@pytest.mark.parametrize("name", NAMES)
def test_docstring(name):
    doc = (RECIPES / f"{name}.py").read_text().split('"""')[1]
    assert f"\n    keras-remul train recipes/{name}.py\n" in doc
    assert f"\n{expected(name)}\n" in doc
    assert "\nReference: " in doc


def test_tables_list_each_recipe():
    tables = json.loads((RECIPES / "tables.json").read_text()).values()
    listed = {row.split()[0] for table in tables for row in table["recipes"]}
    assert set(NAMES) == listed
