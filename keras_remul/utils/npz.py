"""Downloaded npz files, and the limits of any archive.

Before reading, the stated sizes are compared with limits; no more than these
bytes are read.
"""

import contextlib
import os
import zipfile

import numpy as np

from keras_remul.utils.plain_files import open_plain

MEMBERS = 10_000
TOTAL = 2**35  # bytes of all members
# Bytes of members for each byte of the archive; the data have at most 20. It
# is not asked below 64 MiB: a few members of zeros are harmless.
RATIO = 200
SMALL = 2**26
_CHUNK = 2**20


class _Refused(ValueError):
    """An archive that is refused."""


def refused(path, what):
    """The error about an archive that is refused."""
    return _Refused(
        f"{path} is not used: {what}. Get the file again, from where it was "
        "published."
    )


def check_limits(path, count, total, size):
    """Raises ValueError if an archive holds too many or too large members.

    Args:
        path: of the archive, for the error.
        count: members so far.
        total: their unpacked bytes.
        size: bytes of the archive.
    """
    if count > MEMBERS:
        raise refused(path, f"it has more than {MEMBERS:,} members")
    if total > TOTAL:
        raise refused(path, f"its members have more than {TOTAL:,} bytes")
    if total > SMALL and total > RATIO * size:
        raise refused(
            path, f"its members have more than {RATIO} times its own bytes"
        )


def check_name(path, name):
    """Raises ValueError unless a member has a plain relative name."""
    parts = name.replace("\\", "/").rstrip("/").split("/")
    if (
        "\0" in name
        or ":" in parts[0]
        or any(part in ("", "..") for part in parts)
    ):
        raise refused(path, f"the name of its member {name!r} leads elsewhere")


def read_npz(path, keys, optional=()):
    """Arrays of an npz file.

    Args:
        path: path of the file.
        keys: names of the arrays.
        optional: names of arrays that are read if they exist.

    Returns:
        A dict of names to arrays, of dtypes without objects.

    Raises:
        ValueError: the file is not a zip archive, is damaged or encrypted,
            exceeds the limits of this module, lacks one of the arrays, or holds
            Python objects.
        FileNotFoundError: where it is not there.
    """
    with _opened(path, path) as (archive, members, _):
        for info in members.values():
            check_name(path, info.filename)
        missing = [key for key in keys if key not in members]
        if missing:
            raise _Refused(
                f"Expected the keys {sorted(keys)} in {path}. Missing: "
                f"{missing}. Received: {sorted(members)}. Get the file again, "
                "or save it with these keys."
            )
        found = [key for key in optional if key in members]
        return {
            key: _array(path, archive, members[key]) for key in [*keys, *found]
        }


def read_stored(path, where):
    """All arrays of an npz file that is not compressed.

    Together they are not larger than the file. The caller must check their
    names.

    Args:
        path: path of the file.
        where: its name in errors.

    Returns:
        A dict of names to arrays, of dtypes without objects.

    Raises:
        ValueError: see `read_npz`; or an array is compressed.
        FileNotFoundError: where it is not there.
    """
    with _opened(path, where) as (archive, members, size):
        for info in members.values():
            if info.compress_type != zipfile.ZIP_STORED:
                raise refused(
                    where, f"{info.filename!r} is compressed; we store as is"
                )
            if info.compress_size != info.file_size:
                raise refused(where, f"{info.filename!r} has two sizes")
        total = sum(info.file_size for info in members.values())
        if total > size:
            raise refused(
                where,
                f"its members have {total:,} bytes, more than itself",
            )
        return {
            key: _array(where, archive, info) for key, info in members.items()
        }


@contextlib.contextmanager
def _opened(path, where):
    """The zip archive, its members by key, and the bytes of the file."""
    with open_plain(path) as stream:
        try:
            size = os.fstat(stream.fileno()).st_size
            with zipfile.ZipFile(stream) as archive:
                yield archive, _members(where, archive, size), size
        except _Refused:
            raise
        except Exception as error:  # what zipfile, zlib and NumPy make of it
            raise refused(
                where, f"it is not an npz file, or damaged ({error})"
            ) from error


def _members(path, archive, size):
    """`{key: ZipInfo}` of an npz file within the limits."""
    members, total = {}, 0
    for count, info in enumerate(archive.infolist(), start=1):
        total += info.file_size
        check_limits(path, count, total, size)
        if info.flag_bits & 0x1:
            raise refused(path, f"its member {info.filename!r} is encrypted")
        key = info.filename.removesuffix(".npy")
        if key in members:
            raise refused(path, f"it has two members {info.filename!r}")
        members[key] = info
    return members


def _array(path, archive, info):
    """One array of an npz file; its header is compared with its size."""
    with archive.open(info) as stream:
        version = np.lib.format.read_magic(stream)
        read = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }.get(version)
        if read is None:
            raise refused(path, f"{info.filename!r} has the format {version}")
        shape, columns, dtype = read(stream)
        if dtype.hasobject:
            raise refused(
                path,
                f"{info.filename!r} holds Python objects (dtype {dtype}), "
                "which could run code when they are read",
            )
        count = 1
        for length in shape:
            count *= length
        if min(shape, default=0) < 0 or (
            stream.tell() + count * dtype.itemsize != info.file_size
        ):
            raise refused(
                path,
                f"{info.filename!r} has {info.file_size} bytes, which is not "
                f"the size of an array of shape {shape} and dtype {dtype}",
            )
        array = np.empty(count, dtype)
        room = array.view("u1").data if array.nbytes else memoryview(b"")
        while len(room) and (part := stream.read(min(len(room), _CHUNK))):
            room[: len(part)] = part
            room = room[len(part) :]
        # The CRC is compared at the end of the member.
        if len(room) or stream.read(1):
            raise refused(path, f"{info.filename!r} is cut short")
    return array.reshape(shape, order="F" if columns else "C")
