"""The files of a preset, and what is checked before any of them is used."""

import copy
import hashlib
import json
import os
import pathlib
import re
import shutil
import uuid

import keras

from keras_remul.version import __version__

FORMAT = 1
CONFIG = "config.json"
WEIGHTS = "model.weights.h5"
SHARDED_WEIGHTS = "model.weights.json"
GOLDEN = "golden.npz"
METADATA = "metadata.json"
CARD = "README.md"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
# These run code, or read files, that their configuration names.
_REFUSED = {
    "Lambda",
    "__lambda__",
    "__typespec__",
    "TFSMLayer",
    "TorchModuleWrapper",
    "JaxLayer",
    "FlaxLayer",
}


def sha256(file):
    """The hash of a file, as in the metadata."""
    with open(file, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def describe(folder):
    """sha256 and size of each file of a folder, by name."""
    return {
        file.name: {"sha256": sha256(file), "size": file.stat().st_size}
        for file in sorted(folder.iterdir())
        if file.is_file()
    }


def read_json(file):
    """The object in a file.

    Raises:
        ValueError: it is not JSON, or not an object.
    """
    try:
        content = json.loads(file.read_text())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{file} is not JSON: {error}") from None
    if not isinstance(content, dict):
        raise ValueError(f"{file} does not hold a JSON object.")
    return content


def write_json(file, content):
    """Writes an object; the order of keys is kept, for it may count."""
    file.write_text(json.dumps(content, indent=2) + "\n")


def check_name(name, where):
    """Raises ValueError unless this is a plain file name."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValueError(
            f"{where} names {name!r}; only plain names of letters, digits, "
            "'.', '-' and '_' are accepted, and no folders."
        )


def check_listing(files, where):
    """Raises ValueError unless `files` is `{name: {sha256, size}}`."""
    if not isinstance(files, dict) or not files:
        raise ValueError(f"{where} lists no files.")
    for name, facts in files.items():
        check_name(name, where)
        if (
            not isinstance(facts, dict)
            or not _SHA256.fullmatch(str(facts.get("sha256")))
            or type(facts.get("size")) is not int
            or facts["size"] < 0
        ):
            raise ValueError(
                f"{where} must give the sha256 and the size of {name}. "
                f"Received: {facts!r}"
            )


def check_files(folder):
    """Compares a preset folder with its metadata, which it returns.

    Raises:
        ValueError: a file is missing or damaged, or the format is newer.
    """
    facts = read_json(folder / METADATA)
    if not isinstance(facts.get("format"), int) or facts["format"] > FORMAT:
        raise ValueError(
            f"Preset {folder} has the format {facts.get('format')}; this "
            f"version of keras_remul ({__version__}) reads up to {FORMAT}. "
            "Upgrade it."
        )
    files = facts.get("files")
    check_listing(files, folder / METADATA)
    for names in ((CONFIG,), (WEIGHTS, SHARDED_WEIGHTS)):
        if not set(names) & set(files):
            raise ValueError(f"{folder / METADATA} does not list {names[0]}.")
    for name, expected in files.items():
        file = folder / name
        if not file.is_file():
            raise ValueError(
                f"Preset {folder} is incomplete: {name} is missing."
            )
        if sha256(file) != expected["sha256"]:
            raise ValueError(
                f"{file} is damaged or was changed: its sha256 is not the one "
                f"in {METADATA}. Get the preset again."
            )
    return facts


def make(config, where):
    """The object of a configuration, of registered classes, without code.

    Raises:
        ValueError: a class is unknown, or one that could run code.
    """
    _check_classes(config, where)
    config = copy.deepcopy(config)  # Keras takes keys out of what it reads
    try:
        return keras.saving.deserialize_keras_object(config, safe_mode=True)
    except (TypeError, ImportError, AttributeError, KeyError) as error:
        text = str(error).partition("Full object config")[0]
        raise ValueError(
            f"{where} cannot be made into a model. Only classes of Keras and "
            "registered ones are; import the package that registers yours "
            f"first. Keras says: {text}"
        ) from error


def _check_classes(node, where):
    if isinstance(node, dict):
        name = node.get("class_name")
        if name in _REFUSED:
            raise ValueError(
                f"{where} asks for the class {name!r}, which could run code. "
                "Presets hold none."
            )
        node = list(node.values())
    if isinstance(node, list):
        for child in node:
            _check_classes(child, where)


def is_preset(folder):
    """Whether there is a preset in this folder."""
    try:
        return (pathlib.Path(folder) / METADATA).is_file()
    except OSError:  # a name too long for a path
        return False


def put(new, path):
    """Moves a file or folder to its place; what stood there goes.

    Where that fails, what stood there is put back.
    """
    if not path.is_dir():
        os.replace(new, path)
        return
    old = path.with_name(f".{path.name}-old-{uuid.uuid4().hex[:8]}")
    os.replace(path, old)
    try:
        os.replace(new, path)
    except BaseException:
        os.replace(old, path)
        raise
    shutil.rmtree(old, ignore_errors=True)
