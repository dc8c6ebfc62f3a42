"""Where presets and exported files may be written: over their like, only.

A folder that is replaced is deleted. So it must be one that this library
wrote, and hold nothing that it did not write.
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
        path: as it was given; `~` is the home folder, and of a link it is
            where it points to.
        remedy: what to do instead with an address.

    Returns:
        A `pathlib.Path` without links, and the last name of what was given.

    Raises:
        ValueError: it is no path, or an address.
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
        path: an absolute path. Nothing stands there, or a preset beside whose
            files and card there is nothing, hidden or not.
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
        suffix: of its files; empty where it is a folder, a saved model of
            TensorFlow, which is replaced where it holds nothing else.
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
    """Whether its metadata are of a preset, whatever became of its files."""
    try:
        facts = read_json(path / files.METADATA)
        files.check_listing(facts.get("files"), path)
    except (ValueError, OSError):
        return False
    return type(facts.get("format")) is int and files.CONFIG in facts["files"]


def _content(path):
    return sorted(os.listdir(path)) if path.is_dir() else []


def _check_not_here(path):
    """The working folder would be deleted under who stands in it."""
    try:
        here = pathlib.Path(os.path.realpath(os.curdir))
    except FileNotFoundError:  # deleted already
        return
    if here.is_relative_to(path):
        raise ValueError(
            f"{path} is the working folder, or holds it; it is left alone. Go "
            "to another one first, as replacing it deletes it."
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
