"""The report of `keras-remul doctor`: versions, devices, cache, checks."""

import importlib.metadata
import platform
import tempfile

import keras
from rich.table import Table

from keras_remul.backend import devices
from keras_remul.cli.output import say, show
from keras_remul.presets import download, resolve
from keras_remul.presets.folder import verify_preset
from keras_remul.utils import start
from keras_remul.utils.web import redact
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


def _check_gradient():
    """A model of the library makes one step on this backend."""
    import numpy as np

    from keras_remul import models

    x = {"positions": np.ones((2, 3, 3), "float32")}
    model = models.Transformer(num_layers=1, hidden_dim=8, num_heads=2)
    model.compile("sgd", loss="mse")
    loss = model.train_on_batch(x, x["positions"])
    if not np.isfinite(loss):
        raise ValueError(f"the loss of one step is {loss}")


def _check_cache():
    folder = download.cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder):
        pass


def _check_presets():
    for name in resolve.list_presets():
        if (resolve.bundled() / name).is_dir():
            verify_preset(name)


CHECKS = {
    "one training step": _check_gradient,
    "the cache can be written": _check_cache,
    "the presets of the package": _check_presets,
}


def run():
    """Prints the report.

    Raises:
        ValueError: a check fails; the report says which.
    """
    table = Table(show_header=False)
    table.add_row("keras_remul", __version__)
    table.add_row("Python", platform.python_version())
    table.add_row("machine", platform.platform())
    for package in _PACKAGES:
        table.add_row(package, _version(package))
    table.add_row("backends installed", ", ".join(start.installed()))
    table.add_row("backend in use", keras.backend.backend())
    table.add_row("devices", ", ".join(devices.names()))
    table.add_row("precision", keras.config.floatx())
    table.add_row("cache", str(download.cache_folder()))
    zoo = redact(resolve.default_zoo() or "that of the package")
    table.add_row("zoo", zoo)
    table.add_row("offline", "yes" if download.offline() else "no")
    show(table)
    failed = []
    for name, check in CHECKS.items():
        try:
            check()
            say(f"ok: {name}")
        except Exception as error:  # whatever it is, it is to be told
            failed.append(name)
            say(f"WRONG: {name}: {redact(error)}")
    if failed:
        raise ValueError(f"{len(failed)} of {len(CHECKS)} checks failed.")
