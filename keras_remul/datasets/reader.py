"""Reads the arrays of a prepared split, without TensorFlow."""

import pathlib

import numpy as np


def parts(builder, split):
    """The arrays of a split, mapped into memory, not read.

    Args:
        builder: a prepared `ArrayBuilder`.
        split: split in the syntax of TFDS, or a `tfds.core.ReadInstruction`.

    Returns:
        A list of dicts, one for each split that `split` is the sum of.

    Raises:
        ValueError: where a file is cut short.
        FileNotFoundError: where files are missing.
    """
    import tensorflow_datasets as tfds

    from keras_remul.datasets.builder import ARRAYS

    instructions = tfds.core.ReadInstruction.from_spec(split)
    result = []
    for one in instructions.to_absolute(builder.info.splits):
        folder = pathlib.Path(builder.data_dir) / ARRAYS / one.splitname
        paths = {key: folder / f"{key}.npy" for key in builder.info.features}
        absent = [str(path) for path in paths.values() if not path.exists()]
        if absent:
            raise FileNotFoundError(
                f"The data set in {builder.data_dir} lacks {absent}. Remove "
                "this folder, and it will be prepared again."
            )
        result.append(
            {
                key: _mapped(path)[one.from_ : one.to]
                for key, path in paths.items()
            }
        )
    return result


def _mapped(path):
    try:
        return np.lib.format.open_memmap(path, mode="r")
    except ValueError as error:
        raise ValueError(
            f"{path} is damaged: {error}. Remove the folder of the data set, "
            "and it will be prepared again."
        ) from error


def read(builder, split):
    """The arrays of a split, in memory; see `parts`."""
    found = parts(builder, split)
    return {
        key: np.concatenate([part[key] for part in found]) for key in found[0]
    }
