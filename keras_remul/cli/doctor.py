"""The command `keras-remul doctor`: what is installed, and what is wrong.

It imports neither Keras nor a framework, so that it works where these do not;
what needs them is tried in another process, see `trial`.
"""

import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import tempfile

from keras_remul.cli.output import add_formats, say, show
from keras_remul.utils import start
from keras_remul.version import __version__

_PACKAGES = (
    "keras",
    "jax",
    "torch",
    "tensorflow",
    "numpy",
    "tensorflow-datasets",
    "huggingface-hub",
    "kagglehub",
    "ase",
    "tblite",
    "onnx",
)


def _version(package):
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _check_backend():
    start.check_keras()
    return start.choose()


def _check_cuda():
    from keras_remul.cli import cuda

    return cuda.check()


def _check_cache():
    from keras_remul.presets import download

    folder = download.cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OSError(
            f"{folder}: {error.strerror}. Set {download.CACHE} to a folder "
            "where you may write."
        ) from None


def _check_zoo():
    from keras_remul.presets import download, resolve
    from keras_remul.utils.web import check_reached

    zoo = resolve.default_zoo() or ""
    if not zoo.startswith(("http://", "https://")):
        return None
    if download.offline():
        return "KERAS_REMUL_OFFLINE is set, so it is not asked"
    check_reached(zoo)
    return None


BACKEND = "Keras and its backend"
CHECKS = {
    BACKEND: _check_backend,
    "the libraries of NVIDIA": _check_cuda,
    "the cache can be written": _check_cache,
    "the zoo can be reached": _check_zoo,
}


def _try():
    """The report of `trial`, of a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "keras_remul.cli.trial"],
        env={"TF_CPP_MIN_LOG_LEVEL": "3", **os.environ},
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        return json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        last = [line for line in done.stderr.splitlines() if line.strip()]
        why = last[-1] if last else f"it ended with {done.returncode}"
        return {"facts": {}, "wrong": {"Keras can be imported": why}}


def _facts():
    from keras_remul.presets import download, resolve
    from keras_remul.utils.addresses import redact

    name, source = start.asked_for()
    return {
        "keras_remul": __version__,
        "Python": platform.python_version(),
        "machine": platform.platform(),
        **{package: _version(package) for package in _PACKAGES},
        "backends installed": ", ".join(start.installed()) or "none",
        "backend asked for": f"{name} ({source})",
        "cache": str(download.cache_folder()),
        "zoo": redact(resolve.default_zoo() or "that of the package"),
        "offline": "yes" if download.offline() else "no",
    }


def _checked():
    """`{check: what is wrong}`, None where nothing is, and notes."""
    from keras_remul.utils.addresses import redact

    wrong, notes = {}, {}
    for name, check in CHECKS.items():
        try:
            notes[name] = check()
            wrong[name] = None
        except Exception as error:  # whatever it is, it is to be told
            wrong[name] = redact(error)
    return wrong, notes


def run(arguments):
    """Prints the report.

    Raises:
        ValueError: a check fails; the report says which.
    """
    facts = _facts()
    wrong, notes = _checked()
    if not wrong.get(BACKEND):
        tried = _try()
        facts |= tried["facts"]
        wrong |= tried["wrong"]
    rows = [{"fact": key, "value": value} for key, value in facts.items()]
    if arguments.printed_as is not None:
        rows += [{"fact": k, "value": v or "ok"} for k, v in wrong.items()]
    show(arguments, {"fact": "", "value": ""}, rows, header=False)
    for name, error in wrong.items():
        note = f" ({notes[name]})" if notes.get(name) else ""
        said = f"ok: {name}{note}"
        if error:  # of the backend it is a whole sentence
            said = f"WRONG: {'' if name == BACKEND else f'{name}: '}{error}"
        say(said, arguments)
    failed = sum(error is not None for error in wrong.values())
    if failed:
        raise ValueError(f"{failed} of {len(wrong)} checks failed.")


def add_parser(commands):
    """Adds the command to those of `keras-remul`."""
    parser = commands.add_parser(
        "doctor", help="show versions and devices, and what is wrong"
    )
    add_formats(parser)
    parser.set_defaults(run=run, needs_keras=False)
