"""Reads the arrays of a prepared split, without TensorFlow.

The bytes that are hashed are the bytes that are returned. `read` fills an array
with the bytes that it hashes. `parts` hashes and maps one open file, so that a
file that replaces it meanwhile is not used.
"""

import contextlib
import hashlib

import numpy as np

from keras_remul.datasets import manifest
from keras_remul.utils.plain_files import open_plain

_CHUNK = 2**20  # bytes that are hashed at once


def parts(builder, split):
    """The arrays of a split, mapped into memory, not kept there.

    Each file is read once, to check its hash.

    Args:
        builder: a prepared `ArrayBuilder`.
        split: split in the syntax of TFDS, or a `tfds.core.ReadInstruction`.

    Returns:
        A list of dicts, one for each split that `split` is the sum of.

    Raises:
        ValueError: a file is missing or was changed; the message names it and
            says how to prepare it again.
    """
    written, whole, result = manifest.read(builder), {}, []
    for one in _instructions(builder, split):
        for key, facts in written[one.splitname].items():
            if (one.splitname, key) not in whole:
                path = _path(builder, one.splitname, key)
                array = _mapped(path, facts, builder)
                whole[one.splitname, key] = array
        result.append(
            {
                key: whole[one.splitname, key][one.from_ : one.to]
                for key in builder.info.features
            }
        )
    return result


def read(builder, split):
    """The arrays of a split, in memory; see `parts`."""
    written, found = manifest.read(builder), []
    for one in _instructions(builder, split):
        arrays = {}
        for key in builder.info.features:
            path = _path(builder, one.splitname, key)
            facts = written[one.splitname][key]
            rows = slice(one.from_, one.to).indices(facts["shape"][0])
            arrays[key] = _copied(path, facts, builder, *rows[:2])
        found.append(arrays)
    if len(found) == 1:
        return found[0]
    return {
        key: np.concatenate([part[key] for part in found]) for key in found[0]
    }


def _instructions(builder, split):
    import tensorflow_datasets as tfds

    instructions = tfds.core.ReadInstruction.from_spec(split)
    return instructions.to_absolute(builder.info.splits)


def _path(builder, split, key):
    return manifest.folder_of(builder) / split / f"{key}.npy"


@contextlib.contextmanager
def _opened(path, facts, builder):
    """A stream after the header of an array, and the hash of the header."""
    try:
        stream = open_plain(path)
    except FileNotFoundError:
        raise manifest.missing(path, builder) from None
    except (OSError, ValueError) as error:
        raise manifest.damaged(path, builder, error) from None
    with stream:
        shape, dtype = tuple(facts["shape"]), facts["dtype"]
        header = manifest.header(shape, dtype)
        if (found := stream.read(len(header))) != header:
            stream.seek(0)
            raise manifest.damaged(
                path,
                builder,
                f"it holds {_described(stream)}; an array of shape {shape} and "
                f"dtype {dtype} was written",
            )
        size = stream.seek(0, 2)
        if size != facts["size"]:
            raise manifest.damaged(
                path,
                builder,
                f"it has {size} bytes, {facts['size']} were written",
            )
        stream.seek(len(header))
        yield stream, hashlib.sha256(found)


def _described(stream):
    """What a file holds, for an error message."""
    try:
        np.lib.format.read_magic(stream)
        shape, columns, dtype = np.lib.format.read_array_header_1_0(stream)
    except Exception:  # of NumPy's parser of headers, whatever it is
        return "no array of the format .npy"
    order = ", in the order of columns" if columns else ""
    return f"an array of shape {shape} and dtype {dtype.str}{order}"


def _check(digest, path, facts, builder):
    if digest.hexdigest() != facts["sha256"]:
        raise manifest.damaged(
            path, builder, "its sha256 is not that of what was written"
        )


def _hash(stream, digest, size):
    """Adds `size` bytes, or as many as there are, to the hash."""
    while size > 0 and (chunk := stream.read(min(size, _CHUNK))):
        digest.update(chunk)
        size -= len(chunk)


def _mapped(path, facts, builder):
    with _opened(path, facts, builder) as (stream, digest):
        offset = stream.tell()
        _hash(stream, digest, facts["size"])
        _check(digest, path, facts, builder)
        shape = tuple(facts["shape"])
        return np.memmap(stream, facts["dtype"], "r", offset, shape)


def _copied(path, facts, builder, first, last):
    """The rows from `first` to before `last`, `(last - first, ...)`."""
    with _opened(path, facts, builder) as (stream, digest):
        shape = (max(last - first, 0), *facts["shape"][1:])
        array = np.empty(shape, facts["dtype"])
        row = int(np.prod(shape[1:])) * array.itemsize
        _hash(stream, digest, first * row)
        room = array.reshape(-1).view("u1").data
        while len(room) and (count := stream.readinto(room[:_CHUNK])):
            digest.update(room[:count])
            room = room[count:]
        _hash(stream, digest, facts["size"])
        _check(digest, path, facts, builder)
        return array
