"""Zip and tar archives from elsewhere: npz files, and one file out of a tar.

Nothing is unpacked under a name that an archive gives, and nothing before the
sizes that it states were compared with limits; what it states is not believed
beyond that.
"""

import bz2
import gzip
import lzma
import os
import pathlib
import tarfile
import uuid
import zipfile
import zlib

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
    """An archive that is not used."""


def _refused(path, what):
    return _Refused(
        f"{path} is not used: {what}. Get the file again, from where it was "
        "published."
    )


def check_limits(path, count, total, size):
    """Raises ValueError where an archive holds too many or too large members.

    Args:
        path: of the archive, for the error.
        count: members so far.
        total: bytes of them, unpacked.
        size: bytes of the archive.
    """
    if count > MEMBERS:
        raise _refused(path, f"it has more than {MEMBERS:,} members")
    if total > TOTAL:
        raise _refused(path, f"its members have more than {TOTAL:,} bytes")
    if total > SMALL and total > RATIO * size:
        raise _refused(
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
        raise _refused(path, f"the name of its member {name!r} leads elsewhere")


def _array(path, archive, info):
    """One array of an npz file; its header is compared with its size."""
    with archive.open(info) as stream:
        version = np.lib.format.read_magic(stream)
        read = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }.get(version)
        if read is None:
            raise _refused(path, f"{info.filename!r} has the format {version}")
        shape, columns, dtype = read(stream)
        if dtype.hasobject:
            raise _refused(
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
            raise _refused(
                path,
                f"{info.filename!r} has {info.file_size} bytes, which is not "
                f"the size of an array of shape {shape} and dtype {dtype}",
            )
        array = np.empty(count, dtype)
        room = memoryview(array.view("u1")) if array.nbytes else b""
        while len(room) and (part := stream.read(min(len(room), _CHUNK))):
            room[: len(part)] = part
            room = room[len(part) :]
        # The CRC is compared at the end of the member.
        if len(room) or stream.read(1):
            raise _refused(path, f"{info.filename!r} is cut short")
    return array.reshape(shape, order="F" if columns else "C")


def read_npz(path, keys, optional=()):
    """Arrays of an npz file.

    Args:
        path: path of the file.
        keys: names of the arrays.
        optional: names of arrays that are read where they are there.

    Returns:
        A dict of names to arrays, of dtypes without objects.

    Raises:
        ValueError: where the file is no zip archive, is damaged, encrypted or
            beyond the limits of this module, lacks one of the arrays, or holds
            Python objects.
        FileNotFoundError: where it is not there.
    """
    with open_plain(path) as stream:
        try:
            with zipfile.ZipFile(stream) as archive:
                members = _members(path, archive, os.fstat(stream.fileno()))
                missing = [key for key in keys if key not in members]
                if missing:
                    raise _Refused(
                        f"Expected the keys {sorted(keys)} in {path}. Missing: "
                        f"{missing}. Received: {sorted(members)}. Get the file "
                        "again, or save it with these keys."
                    )
                found = [key for key in optional if key in members]
                return {
                    key: _array(path, archive, members[key])
                    for key in [*keys, *found]
                }
        except _Refused:
            raise
        except Exception as error:  # what zipfile, zlib and NumPy make of it
            raise _refused(
                path, f"it is no npz file, or damaged ({error})"
            ) from error


def _members(path, archive, status):
    """`{key: ZipInfo}` of an npz file within the limits."""
    members, total = {}, 0
    for count, info in enumerate(archive.infolist(), start=1):
        total += info.file_size
        check_limits(path, count, total, status.st_size)
        check_name(path, info.filename)
        if info.flag_bits & 0x1:
            raise _refused(path, f"its member {info.filename!r} is encrypted")
        key = info.filename.removesuffix(".npy")
        if key in members:
            raise _refused(path, f"it has two members {info.filename!r}")
        members[key] = info
    return members


def check_array(path, key, array, kinds, shape):
    """Raises ValueError unless an array has this kind and shape and is finite.

    Args:
        path, key: where it is from, for the error.
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
    """Unpacks one file out of a tar archive, under its last name.

    Args:
        path: of a tar archive, compressed or not.
        name: of the member.
        folder: where the file is put, in one step, and looked for before.

    Returns:
        The path of the file.

    Raises:
        ValueError: where the archive is none, is damaged or beyond the limits
            of this module, holds links, devices or names that lead elsewhere
            before the file, or does not hold the file.
        OSError: where the file cannot be written.
    """
    target = pathlib.Path(folder) / pathlib.PurePosixPath(name).name
    if target.is_file():
        return target
    with open_plain(path) as raw:
        size = os.fstat(raw.fileno()).st_size
        part = target.with_name(f"{target.name}.{uuid.uuid4().hex[:8]}.part")
        try:
            with _tar(path, raw) as archive:
                member = _find(path, archive, name, size)
                with open(part, "wb") as file:
                    _copy(path, archive.extractfile(member), file, member.size)
                    file.flush()
                    os.fsync(file.fileno())
            os.replace(part, target)
        finally:
            part.unlink(missing_ok=True)
    return target


_DAMAGED = (
    EOFError,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    gzip.BadGzipFile,
    UnicodeDecodeError,
)


def _tar(path, raw):
    """A tar archive; what cannot be opened is a ValueError."""
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
        raise _refused(path, f"it is no tar file, or damaged ({error})") from (
            error
        )


def _find(path, archive, name, size):
    """The member of this name; all before it are looked at."""
    total, count = 0, 0
    try:
        while (member := archive.next()) is not None:
            total += member.size
            count += 1
            check_limits(path, count, total, size)
            check_name(path, member.name)
            if not member.isfile() and not member.isdir():
                raise _refused(
                    path, f"its member {member.name!r} is a link or a device"
                )
            if member.isfile() and member.name == name:
                return member
    except (*_DAMAGED, OSError) as error:
        raise _refused(path, f"it is damaged ({error})") from error
    raise _refused(path, f"it does not hold {name!r}")


def _copy(path, source, file, size):
    while size > 0:
        try:
            chunk = source.read(min(size, _CHUNK))
        except (*_DAMAGED, OSError) as error:
            raise _refused(path, f"it is damaged ({error})") from error
        if not chunk:
            raise _refused(path, "it is cut short")
        file.write(chunk)
        size -= len(chunk)
