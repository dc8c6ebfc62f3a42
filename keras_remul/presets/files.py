"""The files of a preset, and the checks before they are used."""

import contextlib
import glob
import hashlib
import os
import pathlib
import re
import shutil
import tempfile
import uuid
from typing import Any

from keras_remul.utils import atomic
from keras_remul.utils.plain_files import (
    LARGEST_JSON,
    open_plain,
    parse_json,
    read_json,
    read_plain,
    sha256,
)
from keras_remul.version import __version__

FORMAT = 1
CONFIG = "config.json"
WEIGHTS = "model.weights.h5"
SHARDED_WEIGHTS = "model.weights.json"
GOLDEN = "golden.npz"
METADATA = "metadata.json"
CARD = "README.md"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
# Between the name of a folder that is being replaced, hidden, and a number.
_OLD = "-old-"
_SHA256 = re.compile(r"[0-9a-f]{64}")
_CHUNK = 2**20


def describe(folder):
    """sha256 and size of each file of a folder, by name."""
    return {
        file.name: {"sha256": sha256(file), "size": file.stat().st_size}
        for file in sorted(folder.iterdir())
        if file.is_file()
    }


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


def check_files(folder, pin=None):
    """Compares a preset folder with its metadata, which it returns.

    Args:
        folder, pin: see `resolve`.

    Raises:
        ValueError: a file is missing or damaged, or the format is newer.
    """
    facts = _read_facts(folder, pin)
    for name, expected in facts["files"].items():
        check_file(folder, name, expected)
    return facts


@contextlib.contextmanager
def opened(folder, pin=None):
    """A private copy of the files of a preset, and the preset's metadata.

    Each file is read once: the bytes that are hashed are those that are loaded,
    even if the folder changes meanwhile.

    Args:
        folder, pin: see `resolve`.

    Yields:
        The path of the copy, which is deleted afterwards, and the metadata.

    Raises:
        ValueError: see `check_files`.
    """
    folder = pathlib.Path(folder)
    facts = _read_facts(folder, pin)
    with tempfile.TemporaryDirectory(prefix="keras_remul-") as private:
        private = pathlib.Path(private)
        for name, expected in facts["files"].items():
            with (
                atomic.naming(private / name),
                open(private / name, "wb") as copy,
            ):
                check_file(folder, name, expected, copy)
        if SHARDED_WEIGHTS in facts["files"]:
            _check_shards(private / SHARDED_WEIGHTS, facts["files"], folder)
        yield private, facts


def _read_facts(folder, pin):
    file = folder / METADATA
    raw = read_plain(file, LARGEST_JSON)
    if pin is not None and hashlib.sha256(raw).hexdigest() != pin:
        raise ValueError(f"{file} was changed just now. Get the preset again.")
    facts = parse_json(raw, file)
    number = facts.get("format")
    if type(number) is not int or not 1 <= number <= FORMAT:
        raise ValueError(
            f"Preset {folder} has the format {facts.get('format')}; this "
            f"version of keras_remul ({__version__}) reads up to {FORMAT}. "
            "Upgrade it."
        )
    files: Any = facts.get("files")
    check_listing(files, file)
    for names in ((CONFIG,), (WEIGHTS, SHARDED_WEIGHTS)):
        if not set(names) & set(files):
            raise ValueError(f"{file} does not list {names[0]}.")
    return facts


def check_file(folder, name, expected, copy=None):
    """Compares a file with its size and hash, and copies what it read.

    Args:
        folder, name: folder and name of the file.
        expected: its `{"sha256": ..., "size": ...}`.
        copy: a stream to which the checked bytes are written. Optional.

    Raises:
        ValueError: the file is missing or differs.
        OSError: it cannot be read.
    """
    file, digest, left = folder / name, hashlib.sha256(), expected["size"]
    if not file.is_file():
        raise ValueError(f"Preset {folder} is incomplete: {name} is missing.")
    with open_plain(file) as stream:
        while chunk := stream.read(_CHUNK):
            left -= len(chunk)
            if left < 0:
                break
            digest.update(chunk)
            if copy is not None:
                copy.write(chunk)
    if left or digest.hexdigest() != expected["sha256"]:
        raise ValueError(
            f"{file} is damaged or was changed: its size or sha256 is not the "
            f"one in {METADATA}. Get the preset again."
        )


def _check_shards(file, files, folder):
    """Raises ValueError unless each shard is a file that was checked."""
    shards = read_json(file).get("weight_map")
    if not isinstance(shards, dict):
        raise ValueError(f"{folder / SHARDED_WEIGHTS} lists no weights.")
    for names in shards.values():
        for name in names if isinstance(names, list) else [names]:
            check_name(name, folder / SHARDED_WEIGHTS)
            if name not in files:
                raise ValueError(
                    f"{folder / SHARDED_WEIGHTS} names {name!r}, which "
                    f"{METADATA} does not list."
                )


def weights_file(folder, facts):
    """The file that Keras loads, and the number of bytes of all weights."""
    sharded = SHARDED_WEIGHTS in facts["files"]
    size = sum(
        entry["size"]
        for name, entry in facts["files"].items()
        if name.endswith(".h5")
    )
    return folder / (SHARDED_WEIGHTS if sharded else WEIGHTS), size


def is_preset(folder):
    """Whether this folder holds a preset."""
    try:
        return (pathlib.Path(folder) / METADATA).is_file()
    except OSError:  # a name too long for a path
        return False


def put(new, path):
    """Moves a file or folder to its place, and deletes what was there.

    If that fails, the old file or folder is restored. A link at that place is
    kept, and its target is replaced.
    """
    path = path.resolve()
    if not path.is_dir():
        os.replace(new, path)
        return
    old = path.with_name(f".{path.name}{_OLD}{uuid.uuid4().hex[:8]}")
    try:
        os.replace(path, old)
        os.replace(new, path)
    except BaseException:
        # Not where another process has put its own there meanwhile.
        if old.exists() and not path.exists():
            os.replace(old, path)
        raise
    finally:
        if path.exists():
            for left in left_behind(path):
                shutil.rmtree(left, ignore_errors=True)


def left_behind(path):
    """The old content of a path after a `put` that was killed half-way."""
    name = glob.escape(f".{path.name}{_OLD}")
    try:
        return sorted(path.parent.glob(f"{name}*"))
    except (OSError, ValueError):  # no name of a file
        return []
