"""The code in README and docs runs; its numbers are the committed ones."""

import json
import pathlib
import re

import keras
import pytest

ROOT = pathlib.Path(__file__).parents[1]
CODE = re.compile(r"```python\n(.*?)```", re.DOTALL)
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCKS = [
    pytest.param(block, id=f"{page.name}-{i}")
    for page in PAGES
    for i, block in enumerate(CODE.findall(page.read_text()))
]


@pytest.mark.parametrize("block", BLOCKS)
def test_code_runs(block, monkeypatch):
    monkeypatch.delenv("KERAS_BACKEND", raising=False)  # put back afterwards
    if "kr.export(" in block and keras.backend.backend() == "jax":
        pytest.importorskip("jax2onnx", reason="`pip install jax2onnx`")
    exec(compile(block, "<docs>", "exec"), {"__name__": "docs"})


@pytest.mark.backend_independent
@pytest.mark.parametrize("block", BLOCKS)
def test_keras_comes_second(block):
    """Else Keras fails where its default backend is not installed."""
    found = re.findall(r"^(?:import|from) (keras\w*)", block, re.MULTILINE)
    assert not found or found[0] == "keras_remul"


def test_there_is_code():
    assert any(param.id.startswith("README") for param in BLOCKS)


@pytest.mark.backend_independent
@pytest.mark.parametrize("page", PAGES[1:], ids=lambda page: page.name)
def test_a_page_is_a_notebook(page):
    """Its cells of code are the blocks of Python: no command runs by itself."""
    jupytext = pytest.importorskip("jupytext", reason="`pip install jupytext`")
    import nbformat

    notebook = jupytext.reads(page.read_text(), fmt="md")
    nbformat.validate(notebook)
    code = [c["source"] for c in notebook.cells if c["cell_type"] == "code"]
    assert code == [c.rstrip("\n") for c in CODE.findall(page.read_text())]


@pytest.mark.backend_independent
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\((?!http)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), target


def cells(runs, key, digits, percent=False):
    """mean and standard deviation over the seeds, as the README writes it."""
    values = [run[key] * (100 if percent else 1) for run in runs]
    mean = sum(values) / len(values)
    spread = sum((v - mean) ** 2 for v in values) / (len(values) - 1)
    unit = " %" if percent else ""
    return f"{mean:.{digits}f} ± {spread**0.5:.{digits}f}{unit}"


def readme_tables():
    """The two tables of the README from docs/quickstart.json."""
    runs = json.loads((ROOT / "docs" / "quickstart.json").read_text())
    for name in runs[0]["all_orientations"]:
        rows = [run["all_orientations"][name] for run in runs]
        yield " | ".join(
            [
                f"| {name}",
                cells(rows, "test_mse", 4),
                cells(rows, "equivariance_error", 3),
                cells(rows, "relative_equivariance_error", 1, percent=True),
                cells(rows, "orbit_variance_share", 1, percent=True) + " |",
            ]
        )
    for name in runs[0]["one_orientation"]:
        rows = [run["one_orientation"][name] for run in runs]
        yield " | ".join(
            [
                f"| {name}",
                cells(rows, "test_mse", 4),
                cells(rows, "test_mse_rotated", 4) + " |",
            ]
        )


@pytest.mark.backend_independent
def test_tables_of_the_readme_are_the_committed_results():
    text = (ROOT / "README.md").read_text()
    for row in readme_tables():
        assert row in text, row
