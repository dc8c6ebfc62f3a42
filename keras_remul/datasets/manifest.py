"""The manifest of a prepared data set: shape and sha256 of each array.

The manifest is written last, before TFDS gives the folder its final name. When
an array is opened, it is compared with the manifest, and the manifest with the
builder.
"""

import dataclasses
import json
import pathlib
import re

import numpy as np

from keras_remul.utils import plain_files

ARRAYS = "arrays"  # folder of the arrays in that of the data set
NAME = "manifest.json"
FORMAT = 1
DTYPE = "<f4"  # of features that have no other
_SHA256 = re.compile(r"[0-9a-f]{64}")
# Texts about a configuration may change; the data remain what they are.
_TEXTS = {"name", "version", "release_notes", "supported_versions"}
_TEXTS |= {"description", "tags"}


class MissingFile(FileNotFoundError, ValueError):
    """A file of a prepared data set is not there."""


def path_of(builder):
    """The path of the manifest of a prepared data set."""
    return folder_of(builder) / NAME


def folder_of(builder):
    """The folder of the arrays of a prepared data set."""
    return pathlib.Path(builder.data_dir) / ARRAYS


def damaged(path, builder, what):
    """The ValueError for a file that was changed.

    Args:
        path: the file.
        builder: of the data set that it belongs to.
        what: what is wrong, the end of a sentence.
    """
    return ValueError(
        f"{path} is damaged: {what}. Remove the folder {builder.data_dir} and "
        "load the data set again: it will be prepared anew."
    )


def missing(path, builder):
    """The error for a missing file, also a FileNotFoundError."""
    return MissingFile(
        f"The data set in {builder.data_dir} lacks {path}. Remove this folder "
        "and load the data set again: it will be prepared anew."
    )


def dtype_of(builder, key):
    """The dtype of the array of a feature, such as `"<f4"`."""
    dtype = np.dtype(builder.info.features[key].np_dtype)
    return dtype.newbyteorder("<").str


def header(shape, dtype=DTYPE):
    """The header of a `.npy` file (version 1.0).

    The same bytes as from `numpy.save`, made here so that they do not depend on
    the release of NumPy.

    Args:
        shape: of the array, in rows.
        dtype: of the array. Defaults to float32.
    """
    text = (
        f"{{'descr': '{dtype}', 'fortran_order': False, "
        f"'shape': {tuple(map(int, shape))!r}, }}"
    )
    text += " " * (21 - len(str(shape[0])))  # room for more rows
    length = len(text) + 1 + 64 - (10 + len(text) + 1) % 64
    text = text.ljust(length - 1) + "\n"
    return b"\x93NUMPY\x01\x00" + length.to_bytes(2, "little") + text.encode()


def settings(config):
    """The arguments of a configuration that the data depend on, as JSON.

    Args:
        config: a `tfds.core.BuilderConfig` that is a dataclass.
    """

    def plain(value):
        return value.tolist() if hasattr(value, "tolist") else str(value)

    fields = {
        field.name: getattr(config, field.name)
        for field in dataclasses.fields(config)
        if field.name not in _TEXTS
    }
    return json.loads(json.dumps(fields, default=plain))


def write(folder, builder, files):
    """Writes the manifest.

    Args:
        folder: of the arrays.
        builder: of the data set.
        files: `{split: {feature: {"shape", "size", "sha256"}}}`.
    """
    content = {
        "format": FORMAT,
        "name": builder.name,
        "config": builder.builder_config.name,
        "version": str(builder.version),
        "settings": settings(builder.builder_config),
        "dtype": DTYPE,
        "files": files,
    }
    text = json.dumps(content, indent=1) + "\n"
    (folder / NAME).write_text(text, encoding="utf-8")


def read(builder):
    """Reads the manifest of a prepared data set.

    Args:
        builder: a prepared `ArrayBuilder`.

    Returns:
        `{split: {feature: {"shape", "size", "sha256", "dtype"}}}`.

    Raises:
        ValueError: the manifest is missing or damaged, belongs to another data
            set or configuration, or does not agree with the metadata of TFDS.
    """
    path = path_of(builder)
    try:
        content = plain_files.read_json(path)
    except FileNotFoundError:
        raise missing(path, builder) from None
    except (OSError, ValueError) as error:
        raise damaged(path, builder, error) from None
    expected = {
        "format": FORMAT,
        "name": builder.name,
        "config": builder.builder_config.name,
        "version": str(builder.version),
        "dtype": DTYPE,
    }
    for key, value in expected.items():
        if content.get(key) != value:
            raise damaged(
                path,
                builder,
                f"{key!r} is {content.get(key)!r}, {value!r} was expected",
            )
    _check_settings(content.get("settings"), path, builder)
    return _checked_files(content.get("files"), path, builder)


def _check_settings(written, path, builder):
    if not isinstance(written, dict):
        raise damaged(path, builder, "it has no 'settings'")
    now = settings(builder.builder_config)
    other = [key for key in now if key in written and now[key] != written[key]]
    if other:
        raise ValueError(
            f"The data set in {builder.data_dir} was prepared with another "
            f"configuration of the name {builder.builder_config.name!r}: "
            + ", ".join(
                f"{key}={written[key]!r}, not {now[key]!r}" for key in other
            )
            + ". Give this configuration another `name`, or remove the folder."
        )


def _checked_files(files, path, builder):
    """`files`, checked against the splits and features of the builder."""
    splits, features = set(builder.info.splits), set(builder.info.features)
    if not isinstance(files, dict) or set(files) != splits:
        raise damaged(path, builder, f"expected the splits {sorted(splits)}")
    for split, arrays in files.items():
        if not isinstance(arrays, dict) or set(arrays) != features:
            raise damaged(
                path, builder, f"expected {sorted(features)} of {split!r}"
            )
        rows = builder.info.splits[split].num_examples
        for key, facts in arrays.items():
            shape = [rows, *builder.info.features[key].shape]
            if (
                not isinstance(facts, dict)
                or facts.get("shape") != shape
                or type(facts.get("size")) is not int
                or not _SHA256.fullmatch(str(facts.get("sha256")))
            ):
                raise damaged(
                    path,
                    builder,
                    f"expected a shape of {shape}, the size and the sha256 of "
                    f"{key!r} of {split!r}, not {facts!r}",
                )
            facts["dtype"] = dtype_of(builder, key)
    return files
