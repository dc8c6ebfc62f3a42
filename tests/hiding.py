"""Python in a process of its own, from which some packages are hidden."""

import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).parents[1]
# Runs at the start of Python, before all else.
_HIDES = """
import os
import sys

for name in os.environ["HIDDEN"].split():
    sys.modules[name] = None  # as if it were not installed
"""


def run_python(folder, *arguments, hidden, **environment):
    """Runs Python in a folder, with KERAS_BACKEND unset.

    Args:
        folder: where it runs, and Keras has its file.
        *arguments: those of Python.
        hidden: names of packages, with spaces between them.
        **environment: more variables.

    Returns:
        A `subprocess.CompletedProcess`, with text.
    """
    (folder / "sitecustomize.py").write_text(_HIDES)
    unset = {"KERAS_BACKEND", "TF_CPP_MIN_LOG_LEVEL"}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={
            **{k: v for k, v in os.environ.items() if k not in unset},
            "KERAS_HOME": str(folder),
            "PYTHONPATH": f"{ROOT}{os.pathsep}{folder}",
            "HIDDEN": hidden,
            **environment,
        },
        capture_output=True,
        text=True,
        check=False,
    )
