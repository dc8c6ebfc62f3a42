"""Checks of the paths to which presets and exported files are written.

A folder that is replaced is deleted. So this library must have written it, and
it must not hold other files.
"""

import os
import pathlib
import re

from keras_remul.presets import files
from keras_remul.utils.plain_files import read_json

_SAVED_MODEL = re.compile(
    r"(saved_model|fingerprint)\.pb|assets|variables"
    r"|variables/variables\.(index|data-\d+-of-\d+)"
)
_SHOWN = 5  # names in an error


def local(path, remedy="Give the path of a folder here."):
    """The absolute path that is written to.

    Args:
        path: path as given; `~` is the home folder, and links are followed.
        remedy: what to do instead with an address.

    Returns:
        A `pathlib.Path` without links, and the last part of the given path.

    Raises:
        ValueError: it is not a path, or is an address.
    """
    text = os.fspath(path) if isinstance(path, os.PathLike) else path
    if not isinstance(text, str) or not text:
        raise ValueError(f"Argument `path` must be a path. Received: {path!r}")
    # A pathlib.Path has made one slash of two.
    if "://" in text or re.match(r"(hf|kaggle|https?|file):/", text):
        raise ValueError(
            f"Argument `path` is an address, and nothing is written there: "
            f"{text.partition(':')[0]}://... {remedy}"
        )
    text = os.path.expanduser(text)
    name = os.path.basename(os.path.abspath(text))
    return pathlib.Path(os.path.realpath(text)), name


def check_preset(path):
    """Raises ValueError unless a preset may be put here.

    Args:
        path: an absolute path. It must not exist, or must be a preset without
            other files, hidden ones included.
    """
    if not path.exists():
        return
    if not path.is_dir() or not _is_preset(path):
        raise _left_alone(path, "exists and is not a preset", _content(path))
    known = {
        files.METADATA,
        files.CARD,
        *read_json(path / files.METADATA)["files"],
    }
    others = [
        name
        for name in _content(path)
        if name not in known or (path / name).is_dir()
    ]
    if others:
        raise _left_alone(path, "holds more than a preset", others)
    _check_not_here(path)


def check_export(path, format, suffix):
    """Raises ValueError unless an exported file may be put here.

    Args:
        path: an absolute path.
        format: its name, for the error.
        suffix: suffix of the files; empty for a folder, a saved model of
            TensorFlow, which is replaced if it holds nothing else.
    """
    if suffix:
        if path.is_dir():
            raise _left_alone(
                path, f"is a folder and no {suffix} file", _content(path)
            )
        return
    if not path.exists():
        return
    if not (path / "saved_model.pb").is_file():
        raise _left_alone(
            path, f"exists and is not a saved model ({format})", _content(path)
        )
    others = [
        name
        for name in (
            file.relative_to(path).as_posix() for file in path.rglob("*")
        )
        if not _SAVED_MODEL.fullmatch(name)
    ]
    if others:
        raise _left_alone(path, "holds more than a saved model", others)
    _check_not_here(path)


def _is_preset(path):
    """Whether its metadata are of a preset; files may be missing."""
    try:
        facts = read_json(path / files.METADATA)
        files.check_listing(facts.get("files"), path)
    except (ValueError, OSError):
        return False
    return type(facts.get("format")) is int and files.CONFIG in facts["files"]


def _content(path):
    return sorted(os.listdir(path)) if path.is_dir() else []


def _check_not_here(path):
    """Raises ValueError if the working folder would be deleted."""
    try:
        here = pathlib.Path(os.path.realpath(os.curdir))
    except FileNotFoundError:  # deleted already
        return
    if here.is_relative_to(path):
        raise ValueError(
            f"{path} is the working folder, or holds it; it is left alone. "
            "Change to another folder first, since replacing it deletes it."
        )


def _left_alone(path, why, names):
    what = "a file" if path.is_file() else "a folder without files"
    if names:
        what = ", ".join(map(repr, sorted(names)[:_SHOWN]))
        more = len(names) - _SHOWN
        what += f" and {more} more" if more > 0 else ""
    return ValueError(
        f"`path` {why}; it is left alone: {path}. There is: {what}. Give "
        "another path, or move this away."
    )
