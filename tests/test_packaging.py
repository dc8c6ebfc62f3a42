"""What is shipped: the wheel, away from the checkout, with one backend."""

import json
import os
import pathlib
import re
import subprocess
import sys
import zipfile

import keras
import pytest

from keras_remul.presets import files

ROOT = pathlib.Path(__file__).parents[1]

# Trains one step with the other backends out of reach.
ONE_BACKEND = """
import sys

for name in sys.argv[1:]:
    sys.modules[name] = None  # as if it were not installed

import numpy as np
import keras_remul as kr

x = {"positions": np.random.normal(size=(8, 5, 3)),
     "velocities": np.random.normal(size=(8, 5, 3)),
     "charges": np.ones((8, 5, 1))}
symmetry = kr.datasets.symmetry("nbody_charged")
remul = kr.RemulModel(kr.models.Transformer(num_layers=1), symmetry)
remul.compile("adam", loss="mse")
remul.fit(x, x["positions"], verbose=0)
kr.evaluate_equivariance(remul.model, x, symmetry, num_samples=2)
assert all(sys.modules[name] is None for name in sys.argv[1:])
print("trained with", kr.__file__)
"""


def run(*arguments, cwd, **environment):
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env={
            **os.environ,
            "KERAS_BACKEND": keras.backend.backend(),
            **environment,
        },
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    done = run(
        "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder),
        ".",
        cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    (file,) = folder.glob("*.whl")
    return file


@pytest.mark.backend_independent
def test_editable_installation(tmp_path):
    code = "import sys, hatchling.build as b; b.build_editable(sys.argv[1])"
    done = run("-c", code, str(tmp_path), cwd=ROOT)
    assert done.returncode == 0, done.stderr
    (file,) = tmp_path.glob("*.whl")
    paths = [n for n in zipfile.ZipFile(file).namelist() if n.endswith(".pth")]
    assert len(paths) == 1
    assert zipfile.ZipFile(file).read(paths[0]).decode().strip() == str(ROOT)


@pytest.mark.backend_independent
def test_content_of_the_wheel(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    tops = {name.split("/")[0] for name in names}
    version = wheel.name.split("-")[1]
    assert tops == {"keras_remul", f"keras_remul-{version}.dist-info"}
    source = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "keras_remul").rglob("*")
        if path.suffix in (".py", ".json", ".tsv", ".txt", ".typed")
    }
    assert source <= names
    assert "keras_remul/_zoo/README.md" in names
    extra = {n for n in names - source if n.startswith("keras_remul/")}
    recipes = {
        name for name in extra if name.startswith("keras_remul/_recipes")
    }
    assert {pathlib.Path(name).name for name in recipes} == {
        path.name for path in (ROOT / "recipes").iterdir() if path.is_file()
    }
    extra -= recipes
    assert all(name.startswith("keras_remul/_zoo/") for name in extra), extra


def test_wheel_works_elsewhere_with_one_backend(wheel, tmp_path):
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    frameworks = {"tensorflow", "jax", "torch"}
    blocked = frameworks - {keras.backend.backend()}
    done = run(
        "-c",
        ONE_BACKEND,
        *blocked,
        cwd=tmp_path,
        PYTHONPATH=str(tmp_path / "site"),
    )
    assert done.returncode == 0, done.stderr
    assert f"trained with {tmp_path}" in done.stdout


# The presets of the package, with the network cut, and one that it only lists.
PRESETS = """
import socket

def refuse(*args, **kwargs):
    raise OSError("a preset of the package needs no network")

socket.socket.connect = socket.getaddrinfo = refuse

import keras_remul as kr
from keras_remul import cli

cli.main(["verify"])
for name in kr.list_presets():
    print("lists", name)
try:
    kr.from_preset("xtb_md_uracil_egnn")
except ValueError as error:
    print(error)
"""
LARGEST_WHEEL = 8 * 10**6  # bytes
COMMANDS = "verify|evaluate|compare|landscape|export"


def named_in_docs(presets):
    """The presets that code and commands of README and docs load."""
    found = set()
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        text = page.read_text().replace("\\\n", " ")
        called = re.findall(r"from_preset\(\"(\w+)\"", text)
        for line in re.findall(rf"keras-remul (?:{COMMANDS}) (.*)", text):
            called += line.split()
        found |= {*called} & {*presets}
    return found


# That each preset gives its outputs on each backend: in presets/test_zoo.py.
@pytest.mark.backend_independent
def test_wheel_holds_the_presets_of_the_docs(wheel, tmp_path):
    assert wheel.stat().st_size <= LARGEST_WHEEL
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    zoo = tmp_path / "site" / "keras_remul" / "_zoo"
    presets = json.loads((zoo / "manifest.json").read_text())["presets"]
    here = {folder.name for folder in zoo.iterdir() if folder.is_dir()}
    assert here == named_in_docs(presets)
    page = (ROOT / "docs" / "zoo.md").read_text()
    assert all(f"| `{name}` |" in page for name in here)
    # All others are listed, with the hashes of the files in zoo/.
    folders = (ROOT / "zoo").glob("*/metadata.json")
    assert {*presets} == {file.parent.name for file in folders} > here
    for name, entry in presets.items():
        assert entry["files"] == files.describe(ROOT / "zoo" / name)
    for name in here:
        assert presets[name]["files"] == files.describe(zoo / name)

    done = run(
        "-c",
        PRESETS,
        cwd=tmp_path,
        PYTHONPATH=str(tmp_path / "site"),
        KERAS_REMUL_CACHE=str(tmp_path / "cache"),
        KERAS_REMUL_ZOO_URL="",
    )
    assert done.returncode == 0, done.stderr
    said = done.stdout
    assert said.count("outputs agree") == len(here)
    assert said.count("lists ") == len(presets)
    assert "'xtb_md_uracil_egnn' is not among the 4 in the package" in said
    assert str(tmp_path / "cache") in said and "KERAS_REMUL_ZOO_URL" in said


# What a plain import has no use for, and what makes it slow.
NEW_MODULES = """
import importlib
import pkgutil
import sys
import keras

before = {*sys.modules}
import keras_remul

late = {"ase", "matplotlib", "rich", "scipy", "tensorflow_datasets", "tqdm",
        "requests", "filelock", "keras_remul.presets.folder",
        "keras_remul.evaluation", "keras_remul.datasets"}
new = {*sys.modules} - before
print(sorted(({name.split(".")[0] for name in new} | new) & late))

from keras.saving import get_custom_objects

known = {*get_custom_objects()}
for module in pkgutil.walk_packages(keras_remul.__path__, "keras_remul."):
    if not module.name.startswith("keras_remul.backend."):
        importlib.import_module(module.name)
print(sorted({*get_custom_objects()} - known))
"""


def test_import_loads_nothing_that_can_wait(tmp_path):
    """But all classes that Keras looks up by their names."""
    done = run("-c", NEW_MODULES, cwd=tmp_path, PYTHONPATH=str(ROOT))
    assert done.stdout == "[]\n[]\n", done.stdout + done.stderr
