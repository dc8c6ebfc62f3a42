"""What commands print: paths as they are, and no password."""

import argparse
import csv
import json
import pathlib

import pytest
from test_command_line import GOOD

from keras_remul import __version__, cli, datasets
from keras_remul.cli import doctor, output, secrets
from keras_remul.datasets import loading
from keras_remul.experiments.recipe import Recipe

pytestmark = pytest.mark.backend_independent

ODD = "a[/b] [red]x[/red] [onnx] :smile:"
PIN = "sha256=" + "0a" * 32


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch, bodies):
    splits = dict.fromkeys(("train", "validation", "test"), bodies)
    monkeypatch.setattr(datasets, "load_all", lambda *a, **k: splits)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)


def test_text_and_tables_as_they_are(capsys):
    output.say(ODD * 20)
    assert capsys.readouterr().out == f"{ODD * 20}\n"
    columns = {"a": f"1 {ODD}", "b": f"2 {ODD}"}
    rows = [{"a": f"5 {ODD}", "b": f"6 {ODD}"}]
    output.show(None, columns, rows, title=f"3 {ODD}", caption=f"4 {ODD}")
    said = capsys.readouterr().out
    assert all(f"{k} {ODD}" in said for k in range(1, 7))


COLUMNS = {"name": "name", "mse": ("test MSE", ".2g"), "in": "inputs"}
ROWS = [{"name": "n" * 60, "mse": 0.1234, "in": ["a", "b"]}, {"name": "m"}]


def test_tables_for_programs(capsys):
    """One table of rows with all digits; what is said besides goes aside."""
    for name in ("json", "csv"):
        arguments = argparse.Namespace(printed_as=name)
        output.show(arguments, COLUMNS, ROWS, title="t", caption="c")
        output.say("more", arguments)
        said, aside = capsys.readouterr()
        assert aside == "more\n"
        if name == "json":
            empty = {"name": "m", "mse": None, "in": None}
            assert json.loads(said) == [ROWS[0], empty]
        else:
            rows = [*csv.reader(said.splitlines())]
            assert rows == [
                [*COLUMNS],
                ["n" * 60, "0.1234", "a, b"],
                ["m", "", ""],
            ]


def test_a_narrow_terminal_cuts_no_name(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    output.show(None, COLUMNS, ROWS)
    said = capsys.readouterr().out
    assert said == f"{'n' * 60}\n  test MSE: 0.12\n  inputs: a, b\nm\n"


def test_no_command_prints_but_through_there():
    for file in pathlib.Path(cli.__file__).parent.glob("*.py"):
        if file.name != "output.py":
            assert "Console" not in file.read_text(), file


def test_the_version(capsys):
    with pytest.raises(SystemExit) as end:
        cli.main(["--version"])
    assert end.value.code == 0
    assert capsys.readouterr().out == f"keras-remul {__version__}\n"


def test_a_training(capsys):
    pathlib.Path("mine[b].py").write_text(GOOD)
    status = cli.main(["train", "mine[b].py", "--output", "out[/b]"])
    said, error = capsys.readouterr()
    assert status == 0, error
    assert "In out[/b]: result.json" in said and "mine[b]" in said


def test_data_sets(capsys, monkeypatch):
    monkeypatch.setattr(loading, "load", lambda *a, **k: None)
    for action in ("info", "prepare"):
        status = cli.main(
            ["datasets", action, "nbody_charged", "--data-dir", "d[/b]"]
        )
        said, error = capsys.readouterr()
        assert status == 0, error
        assert "d[/b]" in said and not error


def test_a_result_for_programs(capsys, monkeypatch):
    def run(recipe, output, data_dir, verbose, callbacks):
        assert verbose == 0
        return {"test_mse": 1 / 3, "symmetrized_mse": None}

    monkeypatch.setattr(Recipe, "run", run)
    pathlib.Path("mine.py").write_text(GOOD)
    assert cli.main(["train", "mine.py", "--json"]) == 0
    said, aside = capsys.readouterr()
    rows = {row["key"]: row["value"] for row in json.loads(said)}
    assert rows == {"test_mse": 1 / 3, "symmetrized_mse": None}
    assert "result.json" in aside


def test_doctor(capsys, monkeypatch, tmp_path):
    def fails():
        raise ImportError('pip install "keras-remul[onnx]", x[/b]')

    monkeypatch.setenv("KERAS_REMUL_CACHE", "c[/x]")
    monkeypatch.setattr(doctor, "CHECKS", {"one": fails})
    tried = {"facts": {}, "wrong": {}}
    monkeypatch.setattr(doctor, "_try", lambda: tried)
    assert cli.main(["doctor"]) == 1
    said = capsys.readouterr().out
    assert 'WRONG: one: pip install "keras-remul[onnx]", x[/b]' in said
    assert "c[/x]" in said


SECRETS = [
    "https://user:SECRET@h/a",
    "https://user:SEC RET@h/a",
    "https://user:SEC@RET@h/a",
    "https://user:SEC?RET@h/a",
    "https://user:SEC#RET@h/a",
    "https://user:SEC/RET@h/a",
    "https://h/a#SECRET",
    "https://h/a#SEC RET",
    f"https://h/a#{PIN}SECRET",
    f"https://h/a#{PIN}#SECRET",
    "https://h/a?token=SECRET",
    "https://h/a?token=SEC RET",
    "https://h/a?token=SEC@RET",
    "https://user:SECRET@h/a?token=SECRET#SECRET",
    "https:user:SEC RET@h/a",
    "https:/user:SEC RET@h/a",
    "//user:SEC RET@h/a",
    "hf://SEC RET@owner/name",
    "hf://owner/name@main https://user:SECRET@h/a",
]
COMMANDS = [
    "{}",
    "datasets {}",
    "datasets list {}",
    "doctor {}",
    "verify p --tolerance {}",
    "quickstart --epochs {}",
    "train {}",
    "verify {}",
    "download {}",
    "datasets info {}",
    "presets --zoo {}",
    "reproduce {} --recipes {}",
]


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("address", SECRETS)
def test_no_error_shows_a_secret(address, command, capsys, monkeypatch):
    monkeypatch.setenv("KERAS_REMUL_OFFLINE", "1")
    words = [word.format(address) for word in command.split()]
    try:
        status = cli.main(words)
    except SystemExit as error:
        status = error.code
    said = "".join(capsys.readouterr())
    assert status and "keras-remul" in said
    assert "SEC" not in said and "RET" not in said, said


@pytest.mark.parametrize(
    "text",
    [
        "mine.py:egnn",
        "runs/a#b?c@d",
        "unrecognized arguments: runs//a@b",
        "C:/runs/a#b@c",
        "hf://owner/name@main",
        f"https://h/a#{PIN}",
        f"'https://h/a#{PIN}' (choose from 'a')",
    ],
)
def test_what_is_no_secret_is_shown(text):
    assert secrets.hidden(text) == text
