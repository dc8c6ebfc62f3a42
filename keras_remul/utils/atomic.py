"""Files that are whole or not there, whatever stops the writing.

A file is written beside its place, flushed to the disk and moved there in one
step. Who reads it finds the old one or the new one, after a kill, a full disk
or a power cut as well.
"""

import contextlib
import io
import json
import math
import os
import pathlib
import uuid

PART = ".part"  # how the names of files end that are being written


def write(path, content):
    """Puts a file at its place in one step; what stood there goes.

    Args:
        path: the file, in a folder that exists. A link stays, and what it
            points to is replaced.
        content: bytes, or text, which is written as UTF-8.

    Raises:
        OSError: it could not be written, and is what it was before; or there
            is something else than a file.
    """
    path = pathlib.Path(os.path.realpath(path))
    if path.exists() and not path.is_file():
        raise OSError(
            f"{path} is no file, so it is not replaced by one. Give another "
            "name."
        )
    with naming(path), replacing(path) as stream:
        stream.write(_as_bytes(content))


def write_hidden(path, content):
    """Writes a file in a folder that nobody reads yet, and flushes it.

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
    """A stream of bytes that becomes the file where the block ends well.

    Yields:
        The stream. Where the block raises, the file is what it was before.

    Raises:
        OSError: its text is that of the system.
    """
    path = pathlib.Path(path)
    part = path.with_name(f".{path.name}-{uuid.uuid4().hex[:8]}{PART}")
    stream = open(part, "xb")
    try:
        yield stream
        stream.flush()
        os.fsync(stream.fileno())
        stream.close()
        os.replace(part, path)
    except BaseException:
        with contextlib.suppress(OSError):  # a full disk, once more
            stream.close()
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise
    _keep_names(path.parent)


def _keep_names(folder):
    """Flushes the names of a folder's files, where the system can."""
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
    """As `write`, of an object as JSON; the order of its keys is kept.

    Raises:
        ValueError: it holds NaN, infinity or an object that JSON has no words
            for, or holds itself.
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
    """As `write`, of a Matplotlib figure in the format of the suffix.

    Raises:
        ValueError: for a suffix that Matplotlib does not write.
        OSError: see `write`.
    """
    stream = io.BytesIO()
    suffix = pathlib.Path(path).suffix.lstrip(".") or "png"
    figure.savefig(stream, dpi=dpi, format=suffix)
    write(path, stream.getvalue())


def finite(content):
    """The nested object with None where it holds NaN or infinite floats."""
    if isinstance(content, dict):
        return {key: finite(value) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [finite(value) for value in content]
    if isinstance(content, float) and not math.isfinite(content):
        return None
    return content


def _no_json(content, path=""):
    """Text about the first thing that JSON has no words for, or None."""
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
    """Makes a folder, and those above it, unless it is there.

    Raises:
        OSError: it cannot be made, or a file stands there.
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
    """Makes errors of the disk name what was written, and what to do."""
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
