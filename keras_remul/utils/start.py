"""What comes before Keras: a backend that is installed.

Keras reads the environment variable KERAS_BACKEND, then `"backend"` in its file
keras.json, takes TensorFlow otherwise, and fails where that is missing. This
module imports no framework itself, and Keras only to leave out what TensorFlow
says at its start.
"""

import importlib
import importlib.metadata
import importlib.util
import json
import os
import pathlib
import re
import sys

from keras_remul.utils import banner

VARIABLE = "KERAS_BACKEND"
# In the order in which they are taken; the first is the default of Keras.
BACKENDS = ("tensorflow", "jax", "torch")
OLDEST_KERAS = (3, 15)
_COMMAND = "keras-remul"
_MODULE = "keras_remul.cli"


def installed():
    """The names of the backends that are installed, in their order."""
    return [name for name in BACKENDS if is_installed(name)]


def is_installed(name):
    """Whether a package or module can be imported; it is not imported."""
    if name in sys.modules:
        return sys.modules[name] is not None
    spec = importlib.util.find_spec(name)
    # A folder that happens to have this name has no origin.
    return spec is not None and spec.origin is not None


def asked_for():
    """The backend that Keras would take, and the words for who says so."""
    name = os.environ.get(VARIABLE)
    if name:
        return name, VARIABLE
    file = _keras_folder() / "keras.json"
    try:
        settings = json.loads(file.read_text())
    except (OSError, ValueError):
        settings = {}
    if isinstance(settings, dict) and "backend" in settings:
        return settings["backend"], f"the backend in {file}"
    return BACKENDS[0], "the default of Keras"


def _keras_folder():
    """Where Keras looks for its file."""
    if "KERAS_HOME" in os.environ:
        return pathlib.Path(os.path.expanduser(os.environ["KERAS_HOME"]))
    home = os.path.expanduser("~")
    if not os.access(home, os.W_OK):
        home = "/tmp"
    return pathlib.Path(home, ".keras")


def check_keras():
    """Raises ImportError where Keras is missing or too old."""
    oldest = ".".join(map(str, OLDEST_KERAS))
    remedy = f"Install it: pip install 'keras>={oldest}'"
    if not is_installed("keras"):
        raise ImportError(f"Keras is not installed. {remedy}")
    try:
        version = importlib.metadata.version("keras")
    except importlib.metadata.PackageNotFoundError:
        return  # a copy without a version of its own
    found = re.match(r"(\d+)\.(\d+)", version)
    if found and tuple(map(int, found.groups())) < OLDEST_KERAS:
        raise ImportError(
            f"Expected Keras {oldest} or newer. Received: Keras {version}. "
            f"{remedy}"
        )


def choose():
    """Sets KERAS_BACKEND where Keras would take a backend that is missing.

    Returns:
        A line that says so; None where Keras takes what it would take anyway.

    Raises:
        ImportError: no backend is installed, or KERAS_BACKEND names none of
            those that are; keras.json names none of the three.
    """
    name, source = asked_for()
    if name not in BACKENDS:
        raise ImportError(
            f"Expected {source} to be one of {_listed(BACKENDS)}. "
            f"Received: {name!r}."
        )
    there = installed()
    if name in there:
        return None
    if not there:
        raise ImportError(
            "no backend of Keras is installed. Install one of "
            f"{_listed(BACKENDS)}, for example: pip install jax"
        )
    if source == VARIABLE:
        raise ImportError(
            f"Expected {VARIABLE} to be a backend that is installed: "
            f"{_listed(there)}. Received: {name!r}."
        )
    os.environ[VARIABLE] = there[0]
    # Keras writes its default into its file, so that is nobody's choice.
    missing = (
        "" if name == BACKENDS[0] else f"; {source} is {name}, which is not"
    )
    return (
        f"keras_remul: the backend is {there[0]}, which is installed{missing}. "
        f"{VARIABLE} chooses another."
    )


def _listed(names):
    return ", ".join(map(repr, names))


def begin():
    """Chooses the backend, unless the program has imported Keras before.

    Raises:
        ImportError: see `check_keras` and `choose`.
    """
    check_keras()
    if _keras_has_begun():
        return
    said = choose()
    if said:
        print(said, file=sys.stderr)
    if asked_for()[0] == "tensorflow":
        banner.import_keras()


def _keras_has_begun():
    # Parts of it stay where its import failed, and have read the setting.
    return any(name.partition(".")[0] == "keras" for name in sys.modules)


def is_command():
    """Whether this program is the command `keras-remul`."""
    program, *arguments = sys.argv or [""]
    if program == "-m":  # Python's name for a module that it still looks for
        module = sys.orig_argv[-len(arguments) - 1]
        return module.removeprefix("-m") == _MODULE
    return pathlib.Path(program).stem == _COMMAND
