"""Faults of every kind at the command line: one line that says what to do."""

import errno
import json
import os
import pathlib
import platform
import re
import subprocess
import sys

import keras
import numpy as np
import pytest

from keras_remul import cli, datasets, save_to_preset
from keras_remul.cli import huge_pages
from keras_remul.experiments import quickstart, tables
from keras_remul.experiments import recipe as recipes
from keras_remul.utils import atomic

GOOD = '''"""Mine."""
import keras_remul as kr
from keras_remul.experiments import Recipe
RECIPE = Recipe(
    "nbody_charged", lambda: kr.models.EGNN(num_layers=1, hidden_dim=4), dict,
    epochs=1,
)
'''


@pytest.fixture(autouse=True)
def data(bodies, monkeypatch, tmp_path):
    splits = dict.fromkeys(("train", "validation", "test"), bodies)
    monkeypatch.setattr(datasets, "load_all", lambda *a, **k: splits)
    monkeypatch.delenv(cli.DEBUG, raising=False)
    monkeypatch.chdir(tmp_path)
    return splits


@pytest.fixture
def mine(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(GOOD)
    return file


def fails(capsys, *arguments, status=1, **there):
    """The one line that a command says before it ends with a status."""
    try:
        found = cli.main([*map(str, arguments)])
    except SystemExit as error:  # of argparse
        found = error.code
    said = capsys.readouterr().err
    assert found == status, said
    assert "Traceback" not in said
    lines = [line for line in said.splitlines() if line.strip()]
    if not lines[0].startswith("usage:"):
        (line,) = lines
        assert line.startswith(f"keras-remul {arguments[0]}")
    return lines[-1]


SETTINGS = [
    ("epochs=one", "--set: Argument `epochs` must be a whole number.*'one'"),
    ("epochs=abc", "`epochs` must be a whole number.*'abc'"),
    ("epochs=0", "`epochs`.*at least 1.*0"),
    ("epochs=-5", "`epochs`.*at least 1.*-5"),
    ("epochs=nan", "`epochs` must be a whole number.*nan"),
    ("epochs=inf", "`epochs` must be a whole number.*inf"),
    ("epochs=1e9", "`epochs` must be a whole number"),
    ("batch_size=0", "`batch_size`.*at least 1"),
    ("seed=-1", "`seed`.*at least 0"),
    ("learning_rate=nan", "`learning_rate` must be positive, and finite.*nan"),
    ("learning_rate=inf", "`learning_rate` must be positive, and finite.*inf"),
    ("learning_rate=0", "`learning_rate` must be positive"),
    ("beta=x", "`beta` must be a number.*'x'"),
    ("tolerance=-inf", "`tolerance` must be positive"),
    ("epochs", "NAME=VALUE.*epochs"),
    ("=3", "NAME=VALUE"),
    ("model=EGNN", "Expected one of .*model=EGNN"),
]


@pytest.mark.backend_independent
@pytest.mark.parametrize("setting, message", SETTINGS)
def test_settings(setting, message, mine, capsys):
    line = fails(capsys, "train", mine, "--set", setting, status=2)
    assert_says(line, message)
    assert not os.path.exists("runs")


def assert_says(line, pattern):
    assert re.search(pattern, line), line


RECIPES = [
    ("RECIPE = (", r"mine.py, line 1: SyntaxError.*never closed.*Repair"),
    ("import nothing_like_it", "line 1: ModuleNotF.*pip install nothing_like"),
    ("from json import loaded", "line 1: ImportError.*loaded.*Repair"),
    ("RECIPE = 3", "must be a keras_remul.experiments.Recipe. Received: int"),
    ("x = 1", "does not define RECIPE"),
    ("", "does not define RECIPE"),
    ("\n1 / 0", "line 2: ZeroDivisionError"),
    ("import sys; sys.exit(0)", "line 1: SystemExit"),
    ("{}['key']", "line 1: KeyError: 'key'"),
    (GOOD.replace("epochs=1", "epochs=0"), "line 4: ValueError.*`epochs`"),
    (GOOD.replace("epochs", "epoch"), "line 4: TypeError.*epoch"),
    (b"\xff\xfe\x00", "mine.py: SyntaxError"),
    (f"{GOOD}\nRECIPES = {{'a': RECIPE}}", r"mine.py:NAME .*mine.py:a'\]"),
    ("RECIPES = {}", "Expected .*mine.py:NAME"),
    ("RECIPES = 3", "Expected .*mine.py:NAME .* a dict"),
]


@pytest.mark.backend_independent
@pytest.mark.parametrize("text, message", RECIPES)
def test_recipes_with_faults(text, message, mine, capsys):
    mine.write_bytes(text if isinstance(text, bytes) else text.encode())
    assert_says(fails(capsys, "train", mine), message)


@pytest.mark.backend_independent
@pytest.mark.parametrize(
    "text, message",
    [
        (GOOD, "mine.py:NAME .*Received: .*mine.py:b"),
        (f"{GOOD}\nRECIPES = {{'a': RECIPE}}", "mine.py:a'.* .*mine.py:b"),
        ("RECIPES = {'b': 3}", r"RECIPES\['b'\] in .*mine.py must be .* int"),
    ],
)
def test_recipes_of_a_name_with_faults(text, message, mine, capsys):
    mine.write_text(text)
    assert_says(fails(capsys, "train", f"{mine}:b"), message)


@pytest.mark.backend_independent
def test_a_recipe_that_is_no_file(tmp_path, capsys):
    assert_says(fails(capsys, "train", tmp_path), "There is no recipe")
    assert_says(fails(capsys, "train", "no.py"), "There is no recipe no.py")


ERRORS = [
    (MemoryError(), "memory is used up. Try a smaller batch_size"),
    (KeyError("positions"), "KeyError: 'positions'.*KERAS_REMUL_DEBUG=1"),
    (RuntimeError("a\nb\n\nc"), "RuntimeError: a b c. .*KERAS_REMUL_DEBUG"),
    (RecursionError("deep"), "RecursionError: deep"),
    (RuntimeError("x" * 10_000), "xxx [.]{3}"),
    (TypeError("no"), "TypeError: no"),
    (AttributeError("no"), "AttributeError: no"),
    (
        OSError(errno.ENOSPC, "No space left", "f"),
        "f: No space.*disk is not full",
    ),
    (OSError(errno.EIO, "Input/output error"), "a file: Input/output error"),
    (PermissionError(errno.EACCES, "Denied", "/x"), "/x: Denied.*have access"),
    (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"), "UnicodeDecodeError"),
    (json.JSONDecodeError("Expecting", "{", 1), "JSONDecodeError: Expecting"),
    (ConnectionError("https://me:top-secret@host/"), r"https://\*\*\*@host"),
]


@pytest.mark.backend_independent
@pytest.mark.parametrize("error, message", ERRORS)
def test_errors_of_all_kinds(error, message, mine, capsys, monkeypatch):
    def run(*arguments, **kwargs):
        raise error

    monkeypatch.setattr(recipes.Recipe, "run", run)
    line = fails(capsys, "train", mine)
    assert_says(line, message)
    assert f"train {mine}: " in line and len(line) < 1500


def test_errors_of_the_framework(mine, capsys, monkeypatch):
    """Those of its own class."""

    def run(*arguments, **kwargs):
        wrong = keras.ops.ones((2, 3)), keras.ops.ones((2, 3))
        return keras.ops.matmul(*wrong)

    monkeypatch.setattr(recipes.Recipe, "run", run)
    fails(capsys, "train", mine)


@pytest.mark.backend_independent
def test_the_traceback_is_there_for_who_asks(mine, capsys, monkeypatch):
    def run(*arguments, **kwargs):
        raise KeyError("positions")

    monkeypatch.setattr(recipes.Recipe, "run", run)
    monkeypatch.setenv(cli.DEBUG, "1")
    assert cli.main(["train", str(mine)]) == 1
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.backend_independent
def test_interrupted(mine, capsys, monkeypatch):
    def run(*arguments, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(recipes.Recipe, "run", run)
    assert_says(fails(capsys, "train", mine, status=130), "stopped")


@pytest.mark.backend_independent
def test_a_pipe_that_is_closed():
    code = (
        "import sys; from keras_remul import cli\n"
        "cli.train.train = None\n"
        "def run(arguments):\n"
        "    for _ in range(10_000): print('x' * 100)\n"
        "cli.tables.add_parsers = lambda c: "
        "c.add_parser('much').set_defaults(run=run)\n"
        "sys.exit(cli.main(['much']))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        process.stdout.readline()
        process.stdout.close()
        said = process.stderr.read()
    assert process.returncode == 1
    assert "Traceback" not in said and "Exception ignored" not in said
    assert "keras-remul much: the program that read" in said


@pytest.mark.backend_independent
@pytest.mark.parametrize(
    "command",
    [
        ["train", "mine.py", "--output", "file"],
        ["train", "mine.py", "--output", "file/below"],
        ["quickstart", "--output", "file"],
        ["quickstart", "--output", "file/below"],
    ],
)
def test_a_folder_that_is_a_file(command, mine, capsys, monkeypatch):
    pathlib.Path("file").touch()
    line = fails(capsys, *command)
    assert_says(line, "file( is a file|.*could not be written: Not a dir)")


@pytest.mark.backend_independent
@pytest.mark.skipif(os.name != "posix", reason="rights of POSIX")
def test_a_folder_without_permission(mine, capsys):
    """In a child, which is not root any more where this process is."""
    locked = pathlib.Path("locked")
    locked.mkdir()
    locked.chmod(0o555)
    if os.geteuid() == 0:
        locked = pathlib.Path("/proc/1/keras_remul")  # nor may root write here
    line = fails(capsys, "train", mine, "--output", locked / "out")
    assert_says(line, "out could not be written: .*allow to write there")


@pytest.mark.backend_independent
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="of Linux")
def test_a_full_disk(mine, capsys, monkeypatch):
    """In the order of a training; each attempt goes on from the last."""
    real, os_open = open, os.open

    def opened(path, mode="r", *arguments, **kwargs):
        full = any(letter in mode for letter in "xw") and where in str(path)
        if full:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        return real(path, mode, *arguments, **kwargs)

    def opened_low(path, flags, *arguments, **kwargs):
        if where in str(path):
            raise OSError(errno.ENOSPC, "No space left on device", path)
        return os_open(path, flags, *arguments, **kwargs)

    for where in ("run.lock", "epoch_1", "history.json", "preset"):
        with monkeypatch.context() as patch:
            if where == "run.lock":
                patch.setattr(os, "open", opened_low)
            patch.setattr("builtins.open", opened)
            line = fails(capsys, "train", mine, "--output", "out")
        assert_says(
            line, "out/.*could not be written: No space left.*Make room"
        )
    assert cli.main(["train", str(mine), "--output", "out"]) == 0


DATA = [
    ("positions", 1e30, "diverged|too large|NaN|large numbers"),
    ("positions", np.nan, "NaN or infinite, in 1 of 12 samples"),
    ("velocities", np.inf, "NaN or infinite, in 1 of 12 samples"),
]


@pytest.mark.usefixtures("untraced")
@pytest.mark.parametrize("key, value, message", DATA)
def test_data_with_faults(key, value, message, mine, data, capsys):
    (x, y) = data["train"]
    x = {name: array.copy() for name, array in x.items()}
    x[key][0] = value
    data["train"] = x, y
    assert_says(fails(capsys, "train", mine, "--output", "out"), message)
    assert os.listdir("out") == ["run.lock"]


def test_data_without_nodes(mine, data, capsys):
    for name, (x, y) in data.items():
        data[name] = {k: a[:, :0] for k, a in x.items()}, y[:, :0]
    assert_says(fails(capsys, "train", mine, "--output", "out"), "no nodes")


@pytest.fixture
def preset(tmp_path):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    folder = tmp_path / "preset"
    save_to_preset(model, folder, x=np.ones((2, 3), "float32"))
    return folder


DAMAGES = [
    ("metadata.json", b"", "metadata.json is not JSON"),
    ("metadata.json", b"\xff\xfe", "metadata.json is not JSON"),
    ("metadata.json", b"[]", "metadata.json does not hold a JSON object"),
    ("metadata.json", None, "preset"),
    ("config.json", b"{}", "config.json is damaged or was changed"),
    ("model.weights.h5", b"", "model.weights.h5 is damaged"),
    ("golden.npz", None, "golden.npz is missing"),
]


@pytest.mark.backend_independent
@pytest.mark.parametrize("name, content, message", DAMAGES)
@pytest.mark.parametrize("command", ["verify", "evaluate", "export"])
def test_damaged_presets(command, name, content, message, preset, capsys):
    path = preset / name
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    more = ["--output", "m.onnx"] if command == "export" else []
    assert_says(fails(capsys, command, preset, *more), message)


TABLES = [
    (b"", "tables.json is not JSON"),
    (b"\xff", "tables.json is not JSON"),
    (b"[]", "tables.json does not hold a JSON object"),
    (b'{"small": 3}', "the table 'small' lacks .*'recipes'"),
    (b'{"small": {"title": "x"}}', "the table 'small' lacks .*'recipes'"),
]


@pytest.mark.backend_independent
@pytest.mark.parametrize("content, message", TABLES)
@pytest.mark.parametrize("command", ["reproduce", "report"])
def test_tables_with_faults(command, content, message, tmp_path, capsys):
    (tmp_path / "tables.json").write_bytes(content)
    more = ["small"] if command == "reproduce" else []
    line = fails(capsys, command, *more, "--recipes", tmp_path)
    assert_says(line, message)


@pytest.mark.backend_independent
def test_a_damaged_result_of_a_table(tmp_path, capsys, monkeypatch):
    table = dict(title="t", text="t", dataset="d", recipes=["a"], seeds=[0])
    atomic.write_json(tmp_path / "tables.json", {"small": table})
    results = tmp_path / tables.RESULTS
    results.mkdir()
    (results / "a_seed0.json").write_text('{"seconds": 1')
    line = fails(capsys, "report", "--recipes", tmp_path)
    assert_says(line, "a_seed0.json is not JSON")


USAGE = [
    ["quickstart", "--epochs", "0"],
    ["quickstart", "--epochs", "x"],
    ["quickstart", "--epochs", "nan"],
    ["quickstart", "--seed", "-1"],
    ["landscape", "p", "--points", "0"],
    ["landscape", "p", "--samples", "-3"],
    ["landscape", "p", "--span", "nan"],
    ["landscape", "p", "--span", "0"],
    ["verify", "p", "--tolerance", "x"],
    ["verify", "p", "--tolerance", "nan"],
    ["datasets"],
    ["train"],
    ["nonsense"],
]


@pytest.mark.backend_independent
@pytest.mark.parametrize("command", USAGE, ids=" ".join)
def test_usage(command, capsys):
    assert_says(fails(capsys, *command, status=2), "error: ")


@pytest.mark.backend_independent
@pytest.mark.parametrize(
    "command, near",
    [
        (["pressets"], "presets"),
        (["datasets", "prepair"], "prepare"),
    ],
)
def test_the_nearest_command(command, near, capsys):
    line = fails(capsys, *command, status=2)
    assert line.endswith(f"Did you mean {near!r}?")


@pytest.mark.backend_independent
@pytest.mark.parametrize(
    "command, message",
    [
        (["datasets", "info", "nothing"], "nothing"),
        (["datasets", "picture", "nbody_charged/x"], "config"),
        (["datasets", "prepare", "md17", "--data-dir", "file"], "file"),
        (["download", "http://"], "not a valid address"),
        (["verify", ""], "must be a name"),
        (["presets", "--zoo", "file"], "file"),
    ],
)
def test_names_of_nothing(command, message, capsys, cache):
    pathlib.Path("file").touch()
    assert_says(fails(capsys, *command), message)


@pytest.mark.backend_independent
def test_a_quickstart_that_finds_the_disk_full(capsys, monkeypatch):
    def run(**arguments):
        quickstart.atomic.write("/proc/keras_remul", "x")

    monkeypatch.setattr(quickstart, "run", run)
    assert_says(fails(capsys, "quickstart"), "/proc/keras_remul could not")


@pytest.mark.parametrize("given", [None, "", "glibc.malloc.check=0"])
def test_jax_starts_again_with_huge_pages(given, monkeypatch):
    started = []
    monkeypatch.setattr(os, "execve", lambda *a: started.append(a))
    monkeypatch.setattr(platform, "libc_ver", lambda: ("glibc", "2.36"))
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.delenv(huge_pages.TUNABLES, raising=False)
    if given is not None:
        monkeypatch.setenv(huge_pages.TUNABLES, given)
    huge_pages.start_again()
    if given is not None or keras.backend.backend() != "jax":
        assert not started
        return
    ((program, command, environment),) = started
    assert [program, *sys.orig_argv[1:]] == command
    assert environment[huge_pages.TUNABLES] == huge_pages.HUGE_PAGES
    assert environment.items() >= os.environ.items()


def test_only_a_training_of_this_process_starts_again(monkeypatch):
    started = []
    monkeypatch.setattr(huge_pages, "start_again", lambda: started.append(1))
    for arguments in (["train", "absent.py"], ["datasets", "info", "absent"]):
        cli.main(arguments)
        assert not started
    monkeypatch.setattr(sys, "argv", ["keras-remul", "train", "absent.py"])
    cli.main()
    assert started
