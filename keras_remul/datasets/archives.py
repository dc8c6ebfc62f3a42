"""Downloaded archives: checks of arrays, and one file from a tar.

Nothing is unpacked under a name that the archive gives. Before unpacking, the
stated sizes are compared with limits; no more than these bytes are unpacked.
"""

import bz2
import gzip
import lzma
import os
import pathlib
import tarfile
import zlib
from typing import Any

import numpy as np

from keras_remul.utils import atomic
from keras_remul.utils.npz import check_limits, check_name, refused
from keras_remul.utils.plain_files import open_plain

_CHUNK = 2**20


def check_array(path, key, array, kinds, shape):
    """Raises ValueError unless an array has this kind and shape and is finite.

    Args:
        path, key: file and key of the array, for the error.
        array: a NumPy array.
        kinds: kinds of dtypes that are accepted, `"f"` or `"iu"`.
        shape: tuple of lengths, None for any length of at least 1.
    """
    words = {"f": "real numbers of 32 or 64 bits", "iu": "integers"}
    half = array.dtype.kind == "f" and array.dtype.itemsize < 4
    if array.dtype.kind not in kinds or half:
        raise ValueError(
            f"Expected {words[kinds]} as {key!r} in "
            f"{path}. Received: dtype {array.dtype}. Save it again as such."
        )
    fits = array.ndim == len(shape) and all(
        have == want if want is not None else have > 0
        for have, want in zip(array.shape, shape, strict=True)
    )
    if not fits:
        text = ", ".join("T" if n is None else str(n) for n in shape)
        raise ValueError(
            f"Expected {key!r} of shape ({text}) in {path}. Received: "
            f"{array.shape}. Get the file again."
        )
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        place = np.argwhere(~np.isfinite(array))[0]
        raise ValueError(
            f"{key!r} in {path} is NaN or infinite, first at "
            f"{place.tolist()}. Get the file again."
        )


def extract(path, name, folder):
    """Unpacks one file from a tar archive, under the last part of its name.

    Args:
        path: of a tar archive, compressed or not.
        name: of the member.
        folder: where the file is put, in one step. If it is there already,
            nothing is unpacked.

    Returns:
        The path of the file.

    Raises:
        ValueError: the file is not a tar archive, is damaged or exceeds the
            limits of this module; it holds links, devices or paths outside the
            folder before the file; or it does not hold the file.
        OSError: the file cannot be written.
    """
    target = pathlib.Path(folder) / pathlib.PurePosixPath(name).name
    if target.is_file():
        return target
    with open_plain(path) as raw:
        size = os.fstat(raw.fileno()).st_size
        with _tar(path, raw) as archive:
            member = _find(path, archive, name, size)
            with atomic.replacing(target) as file:
                _copy(path, archive.extractfile(member), file, member.size)
    return target


_DAMAGED = (
    EOFError,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    gzip.BadGzipFile,
    UnicodeDecodeError,
)


def _tar(path, raw: Any):
    """Opens a tar archive; raises ValueError if it cannot be opened."""
    magic = raw.read(6)
    raw.seek(0)
    for start, opener in (
        (b"BZh", bz2.open),
        (b"\x1f\x8b", gzip.open),
        (b"\xfd7zXZ\0", lzma.open),
    ):
        if magic.startswith(start):
            raw = opener(raw)
    try:
        return tarfile.open(fileobj=raw, mode="r:")
    except (*_DAMAGED, OSError) as error:
        raise refused(
            path, f"it is not a tar file, or damaged ({error})"
        ) from (error)


def _find(path, archive, name, size):
    """The member of this name; checks all members before it."""
    total, count = 0, 0
    try:
        while (member := archive.next()) is not None:
            total += member.size
            count += 1
            check_limits(path, count, total, size)
            check_name(path, member.name)
            if not member.isfile() and not member.isdir():
                raise refused(
                    path, f"its member {member.name!r} is a link or a device"
                )
            if member.isfile() and member.name == name:
                return member
    except (*_DAMAGED, OSError) as error:
        raise refused(path, f"it is damaged ({error})") from error
    raise refused(path, f"it does not hold {name!r}")


def _copy(path, source, file, size):
    while size > 0:
        try:
            chunk = source.read(min(size, _CHUNK))
        except (*_DAMAGED, OSError) as error:
            raise refused(path, f"it is damaged ({error})") from error
        if not chunk:
            raise refused(path, "it is cut short")
        file.write(chunk)
        size -= len(chunk)
