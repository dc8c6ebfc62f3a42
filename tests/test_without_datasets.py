"""The package without the extra `datasets`: no TFDS, and nothing of it."""

import os
import pathlib
import subprocess
import sys

import keras
import pytest

from keras_remul.datasets import loading

ROOT = pathlib.Path(__file__).parents[1]

CODE = """
import sys

ABSENT = [
    "array_record", "etils", "google", "promise", "pyarrow",
    "tensorflow_datasets", "tensorflow_metadata", *sys.argv[1:],
]
for name in ABSENT:
    sys.modules[name] = None  # as if it were not installed

import numpy as np

import keras_remul as kr
from keras_remul import cli

assert "nbody_charged" in kr.datasets.list_datasets()
assert cli.main(["datasets", "list"]) == 0
assert "nbody_charged_transformer_remul" in kr.list_presets()
model = kr.from_preset("nbody_charged_transformer_remul")
x = {"positions": np.random.normal(size=(4, 5, 3)).astype("float32"),
     "velocities": np.random.normal(size=(4, 5, 3)).astype("float32"),
     "charges": np.ones((4, 5, 1), "float32")}
assert model.predict(x, verbose=0).shape == (4, 5, 3)
symmetry = kr.datasets.symmetry("nbody_charged")
small = kr.models.EGNN(num_layers=1, hidden_dim=4)
remul = kr.RemulModel(small, symmetry)
remul.compile("sgd", loss="mse")
remul.fit(x, x["positions"], verbose=0)
for call in (
    lambda: kr.datasets.load("nbody_gravity/tiny"),
    lambda: kr.datasets.load_all("nbody_gravity/tiny"),
    lambda: kr.datasets.stream("nbody_gravity/tiny"),
    kr.datasets.register,
):
    try:
        call()
    except ImportError as error:
        print("ERROR", error)
print("STATUS", cli.main(["datasets", "prepare", "solar_system"]))
assert all(sys.modules[name] is None for name in ABSENT)
"""


@pytest.mark.backend_independent
def test_all_but_data_sets_works_without_the_extra():
    backend = keras.backend.backend()
    others = {"tensorflow", "jax", "torch"} - {backend}
    done = subprocess.run(
        [sys.executable, "-c", CODE, *others],
        env={**os.environ, "PYTHONPATH": str(ROOT), "KERAS_BACKEND": backend},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    remedy = (
        "needs the package tensorflow_datasets, which is not installed. Try: "
        'pip install "keras-remul[datasets]"'
    )
    lines = [x for x in done.stdout.splitlines() if x.startswith("ERROR")]
    name = "'nbody_gravity/tiny'"
    assert lines == [
        *[f"ERROR The data set {name} {remedy}"] * 3,
        f"ERROR The data set 'nbody_charged' {remedy}",
    ]
    assert "STATUS 1" in done.stdout
    assert f"The data set 'solar_system' {remedy}" in done.stderr
    listed = done.stdout.replace("\n", " ")
    assert "four_momenta" in listed and "keras-remul[datasets]" in listed


@pytest.mark.backend_independent
def test_what_writes_the_files_is_not_installed(tmp_path, monkeypatch):
    monkeypatch.setattr(loading, "is_installed", lambda package: False)
    with pytest.raises(ImportError, match=r"array_record.*remul\[datasets\]"):
        loading.load("nbody_gravity/tiny", data_dir=tmp_path, verbose=0)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
