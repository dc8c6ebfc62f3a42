"""Which backend is taken, in processes from which some are hidden."""

import functools
import importlib.metadata
import os

import pytest
from hiding import ROOT, run_python

from keras_remul.utils import start
from keras_remul.version import __version__

pytestmark = pytest.mark.backend_independent
SCRIPT = "import sys; from keras_remul.cli import main; sys.exit(main())"


@pytest.fixture(autouse=True)
def unset(monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_BACKEND", "")  # put back afterwards
    monkeypatch.delenv("KERAS_BACKEND")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))


@pytest.fixture
def python(tmp_path):
    """Runs Python with some modules hidden and KERAS_BACKEND unset."""
    (tmp_path / "keras-remul").write_text(SCRIPT)
    return functools.partial(run_python, tmp_path)


@pytest.mark.parametrize(
    "backend, hidden",
    [("torch", "tensorflow jax"), ("jax", "tensorflow torch")],
)
def test_import_takes_what_is_installed(backend, hidden, python):
    code = "import keras_remul, keras; print(keras.backend.backend())"
    done = python("-c", code, hidden=hidden)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == backend
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"keras_remul: the backend is {backend}, which")
    assert "is not" not in line


def test_import_with_no_backend(python):
    done = python("-c", "import keras_remul", hidden="tensorflow jax torch")
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("ImportError: no backend of Keras is installed")
    assert "pip install jax" in last


COMMANDS = [
    (["verify"], "torch", 2, "Expected KERAS_BACKEND to be a backend that is"),
    (["verify"], "pytorch", 2, "'tensorflow', 'jax', 'torch'. Received: 'py"),
    (["verify"], "", 2, "no backend of Keras is installed. Install one"),
    (["doctor"], "pytorch", 1, "WRONG: Expected KERAS_BACKEND"),
    (["doctor"], "", 1, "WRONG: no backend of Keras is installed"),
    (["--version"], "pytorch", 0, f"keras-remul {__version__}"),
]


HEAVY = "jax keras numpy requests rich scipy tensorflow torch".split()


@pytest.mark.parametrize("program", ["keras-remul", "-mkeras_remul.cli"])
@pytest.mark.parametrize(
    "command", [["--help"], ["train", "--help"], ["--version"], ["trian"]]
)
def test_help_imports_no_framework(program, command, python):
    """A hidden module that is imported raises."""
    done = python(program, *command, hidden=" ".join(HEAVY))
    assert done.returncode == (2 if command == ["trian"] else 0), done.stderr
    assert "keras-remul" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("program", ["keras-remul", "-mkeras_remul.cli"])
@pytest.mark.parametrize("command, backend, status, message", COMMANDS)
def test_commands(program, command, backend, status, message, python):
    hidden = "torch" if backend == "torch" else "tensorflow jax torch"
    done = python(program, *command, hidden=hidden, KERAS_BACKEND=backend)
    assert done.returncode == status, done.stderr
    said = (done.stdout + done.stderr).splitlines()
    assert any(message in line for line in said)
    assert len(said) == 1 or command == ["doctor"]


CHOICES = [
    ("", None, "tensorflow jax torch", None),
    ("", None, "jax torch", "jax"),
    ("", None, "torch", "torch"),
    ("", '{"backend": "torch"}', "jax torch", None),
    ("", '{"backend": "torch"}', "tensorflow jax", "tensorflow"),
    ("", "{}", "torch", "torch"),
    ("", "no JSON", "torch", "torch"),
    ("", "[]", "torch", "torch"),
    ("jax", '{"backend": "torch"}', "jax torch", None),
]


@pytest.mark.parametrize("variable, file, there, chosen", CHOICES)
def test_choice(variable, file, there, chosen, monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_BACKEND", variable)
    monkeypatch.setattr(start, "installed", there.split)
    if file:
        (tmp_path / "keras.json").write_text(file)
    line = start.choose()
    assert os.environ["KERAS_BACKEND"] == (chosen or variable)
    assert f"is {chosen}, which is" in line if chosen else line is None
    # That of Keras itself, in its file or not, is nobody's choice.
    named = file and "torch" in file
    assert ("is torch, which is not" in (line or "")) == bool(named and chosen)


def test_a_file_that_names_another_backend(tmp_path):
    (tmp_path / "keras.json").write_text('{"backend": "theano"}')
    with pytest.raises(ImportError, match="keras.json to be one of.*theano"):
        start.choose()


def test_a_folder_is_no_backend(tmp_path, monkeypatch):
    (tmp_path / "folder_of_runs").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    assert not start.is_installed("folder_of_runs")
    assert start.is_installed("wave")


@pytest.mark.parametrize("version", ["2.15.0", "3.14.9", "3.15.0rc1", "4.0"])
def test_old_keras(version, monkeypatch):
    monkeypatch.setattr(importlib.metadata, "version", lambda name: version)
    if version < "3.15":
        with pytest.raises(ImportError, match=f"3.15 or newer.*{version}"):
            start.check_keras()
    else:
        start.check_keras()


def test_the_oldest_keras_is_that_of_the_package():
    oldest = ".".join(map(str, start.OLDEST_KERAS))
    assert f'"keras>={oldest},' in (ROOT / "pyproject.toml").read_text()


def test_without_keras(monkeypatch):
    monkeypatch.setattr(start, "is_installed", lambda name: False)
    with pytest.raises(ImportError, match="Keras is not installed.*pip"):
        start.check_keras()


def test_keras_that_was_imported_before_is_left_alone(monkeypatch):
    monkeypatch.setattr(start, "choose", lambda: 1 / 0)
    start.begin()
