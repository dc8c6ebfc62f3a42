"""What a stranger does first, with one backend and KERAS_BACKEND unset."""

import tomllib

import keras
from hiding import ROOT, run_python

BACKENDS = {"jax", "tensorflow", "torch"}
# The README first, since only a program that is no command shows what the
# import says. TFDS would import TensorFlow.
FIRST_HOUR = """
import pathlib
import re
import sys

text = pathlib.Path(sys.argv[1]).read_text()
for code in re.findall(r"```python\\n(.*?)```", text, re.DOTALL):
    exec(code, {"__name__": "docs"})

from keras_remul import cli
from keras_remul.presets import resolve

assert resolve.bundled_names() < {*resolve.list_presets()}, "not as the wheel"
for command in ("doctor", "presets", "recipes"):
    assert cli.main([command]) == 0, command
"""


def install(folder):
    """The package where Python looks first, with the presets of the wheel."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    (folder / "zoo").mkdir()
    for name in wheel["only-include"]:
        (folder / name).symlink_to(ROOT / name)


def test_nothing_fails_and_nothing_warns(tmp_path):
    install(tmp_path)
    backend = keras.backend.backend()
    hidden = " ".join(BACKENDS - {backend})
    done = run_python(
        tmp_path,
        "-c",
        FIRST_HOUR,
        str(ROOT / "README.md"),
        hidden=f"{hidden} tensorflow_datasets",
    )
    assert done.returncode == 0, done.stderr
    assert f"backends installed  │ {backend} " in done.stdout
    assert "WRONG" not in done.stdout
    said = done.stderr.splitlines()
    if backend != "tensorflow":  # which is the default of Keras
        assert said.pop(0).startswith(f"keras_remul: the backend is {backend},")
    assert said == []
