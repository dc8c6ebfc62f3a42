"""What is shipped: the wheel, away from the checkout, with one backend."""

import os
import pathlib
import subprocess
import sys
import zipfile

import keras
import pytest

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


# Each published preset, with the network cut.
ALL_PRESETS = """
import socket

def refuse(*args, **kwargs):
    raise OSError("a preset of the package needs no network")

socket.socket.connect = socket.getaddrinfo = refuse

import keras_remul as kr

names = kr.list_presets()
print(len(names), max(kr.verify_preset(name) for name in names))
"""


# That each preset gives its outputs on each backend: in presets/test_zoo.py.
@pytest.mark.backend_independent
def test_wheel_holds_the_presets(wheel, tmp_path):
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    done = run(
        "-c", ALL_PRESETS, cwd=tmp_path, PYTHONPATH=str(tmp_path / "site")
    )
    assert done.returncode == 0, done.stderr
    count, difference = done.stdout.split()[-2:]
    assert int(count) == len(list((ROOT / "zoo").glob("*/metadata.json"))) > 0
    assert float(difference) < 1e-5


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
