"""Files that are complete or do not exist, even if writing is interrupted.

A file is written under a temporary name, flushed to the disk and renamed. A
reader finds the old file or the new one, also after a kill, a full disk or a
power cut.
"""

import contextlib
import io
import json
import math
import os
import pathlib
import uuid
from typing import Any

PART = ".part"  # how the names of files end that are being written


def write(path, content):
    """Writes a file in one step; an existing file is replaced.

    Args:
        path: the file, in a folder that exists. A link is kept, and its target
            is replaced.
        content: bytes, or text, which is written as UTF-8.

    Raises:
        OSError: it could not be written, and the old file is unchanged; or the
            path is not that of a file.
    """
    path = pathlib.Path(os.path.realpath(path))
    if path.exists() and not path.is_file():
        raise OSError(
            f"{path} is not a file, so it is not replaced. Give another name."
        )
    with naming(path), replacing(path) as stream:
        stream.write(_as_bytes(content))


def write_hidden(path, content):
    """Writes a file in a folder that no process reads yet, and flushes it.

    Args:
        path, content: as for `write`.

    Raises:
        OSError: its text is that of the system.
    """
    with open(path, "wb") as stream:
        stream.write(_as_bytes(content))
        stream.flush()
        os.fsync(stream.fileno())


def _as_bytes(content):
    return content.encode() if isinstance(content, str) else content


@contextlib.contextmanager
def replacing(path):
    """A stream of bytes that becomes the file if the block does not raise.

    Yields:
        The stream. If the block raises, the old file is unchanged.

    Raises:
        OSError: its text is that of the system.
    """
    path = pathlib.Path(path)
    part = path.with_name(f".{path.name}-{uuid.uuid4().hex[:8]}{PART}")
    stream = open(part, "xb")
    try:
        yield stream
        put(stream, part, path)
    except BaseException:
        with contextlib.suppress(OSError):  # a full disk, once more
            stream.close()
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise


def put(stream, part, path):
    """Flushes a file that was written, and gives it its name.

    Args:
        stream: the stream to which it was written; it is closed.
        part: its path.
        path: its new path, in the same folder.

    Raises:
        OSError: its text is that of the system.
    """
    stream.flush()
    os.fsync(stream.fileno())
    stream.close()
    os.replace(part, path)
    _keep_names(path.parent)


def _keep_names(folder):
    """Flushes the directory of a folder, if the system can."""
    if os.name != "posix":
        return
    file = os.open(folder, os.O_RDONLY)
    try:
        # Some network file systems flush files only.
        with contextlib.suppress(OSError):
            os.fsync(file)
    finally:
        os.close(file)


def write_json(path, content):
    """As `write`, for an object as JSON; the order of its keys is kept.

    Raises:
        ValueError: it holds NaN, infinity, an object that JSON cannot
            represent, or itself.
        OSError: see `write`.
    """
    try:
        text = as_json(content)
    except ValueError as error:
        raise ValueError(f"{path} is not written: {error}") from None
    write(path, text)


def as_json(content):
    """The text of a JSON file.

    Raises:
        ValueError: see `write_json`.
    """
    try:
        return json.dumps(content, indent=2, allow_nan=False) + "\n"
    except (ValueError, TypeError, RecursionError) as error:
        try:
            found = _no_json(content)
        except RecursionError:
            found = "it is nested without end"
        raise ValueError(
            f"{found or error}, and JSON holds finite numbers, text, true, "
            "false, null, and lists and dictionaries of these only."
        ) from None


def write_figure(path, figure, dpi):
    """As `write`, for a Matplotlib figure in the format of the suffix.

    Raises:
        ValueError: Matplotlib does not write files with this suffix.
        OSError: see `write`.
    """
    stream = io.BytesIO()
    suffix = pathlib.Path(path).suffix.lstrip(".") or "png"
    figure.savefig(stream, dpi=dpi, format=suffix)
    write(path, stream.getvalue())


def finite(content) -> Any:
    """The nested object with None where it holds NaN or infinite floats."""
    if isinstance(content, dict):
        return {key: finite(value) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [finite(value) for value in content]
    if isinstance(content, float) and not math.isfinite(content):
        return None
    return content


def _no_json(content, path=""):
    """Text about the first value that JSON cannot represent, or None."""
    place = path.lstrip(".") or "it"
    if isinstance(content, float) and not math.isfinite(content):
        return f"{place} is {content}"
    children = ()
    if isinstance(content, dict):
        for key in content:
            if key is not None and not isinstance(key, (str, int, float)):
                return f"a key of {place} is {key!r}"
        children = content.items()
    elif isinstance(content, (list, tuple)):
        children = enumerate(content)
    elif content is not None and not isinstance(content, (str, int, float)):
        return f"{place} is {repr(content)[:200]}, of {type(content).__name__}"
    found = (_no_json(value, f"{path}.{key}") for key, value in children)
    return next(filter(None, found), None)


def make_folder(path):
    """Creates a folder, and those above it, unless it exists.

    Raises:
        OSError: it cannot be created, or there is a file at this path.
    """
    path = pathlib.Path(path)
    if path.exists() and not path.is_dir():
        raise NotADirectoryError(
            f"{path} is a file, where a folder is to be written. Give another "
            "folder, or move the file away."
        )
    with naming(path):
        path.mkdir(parents=True, exist_ok=True)


@contextlib.contextmanager
def naming(path):
    """Adds to errors of the disk what was written, and what to do."""
    path = pathlib.Path(path)
    try:
        yield
    except OSError as error:
        if error.strerror is None:  # said already
            raise
        kind = type(error) if type(error).__module__ == "builtins" else OSError
        named = kind(
            f"{path} could not be written: {error.strerror}. Make room in "
            f"{path.parent}, or allow to write there, or give another folder, "
            "and do the same again."
        )
        named.errno = error.errno
        raise named from error
