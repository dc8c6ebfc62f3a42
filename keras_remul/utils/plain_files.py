"""Reads plain files only: no pipes, no JSON of unlimited size."""

import hashlib
import json
import os
import stat

LARGEST_JSON = 2**24


def open_plain(file):
    """A file for reading, as a stream of bytes without a buffer.

    Symbolic links are followed. Pipes, where reading could wait for ever,
    sockets, devices and folders are refused.

    Args:
        file: path.

    Raises:
        ValueError: it is not a plain file.
        OSError: it cannot be opened.
    """
    # O_BINARY is Windows's; O_NONBLOCK opens a pipe that nobody writes to.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)
    handle = os.open(file, flags | getattr(os, "O_BINARY", 0))
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise ValueError(f"{file} is not a file. Remove it.")
        return os.fdopen(handle, "rb", buffering=0)
    except BaseException:
        os.close(handle)
        raise


def read_plain(file, largest):
    """The bytes of a file.

    Args:
        file: path.
        largest: largest number of bytes.

    Raises:
        ValueError: it is not a plain file, or larger.
        OSError: it cannot be read.
    """
    parts, left = [], largest + 1
    with open_plain(file) as stream:
        while left > 0 and (part := stream.read(min(left, 2**20))):
            parts.append(part)
            left -= len(part)
    if left <= 0:
        raise ValueError(f"{file} is larger than {largest:,} bytes.")
    return b"".join(parts)


def sha256(file):
    """The hash of a file, hexadecimal.

    Raises:
        ValueError, OSError: see `open_plain`.
    """
    with open_plain(file) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def read_json(file):
    """The object in a file.

    Raises:
        ValueError: it is not JSON, not an object, or larger than 16 MiB.
        OSError: it cannot be read.
    """
    return parse_json(read_plain(file, LARGEST_JSON), file)


def parse_json(raw, where):
    """The JSON object in these bytes.

    Args:
        raw: bytes.
        where: their file or address, for errors.

    Raises:
        ValueError: they are not JSON, or not an object.
    """
    try:
        content = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{where} is not JSON: {error}") from None
    if not isinstance(content, dict):
        raise ValueError(f"{where} does not hold a JSON object.")
    return content
