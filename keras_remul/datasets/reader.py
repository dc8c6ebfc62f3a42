"""Reads a prepared TFDS split into NumPy arrays, without TensorFlow."""

import itertools
import struct

import numpy as np


def _tfrecords(path):
    """The records of a TFRecord file.

    A record is: length (uint64, little endian), checksum of the length (4
    bytes), data, checksum of the data (4 bytes). Checksums are not verified.
    """
    with open(path, "rb") as file:
        content = file.read()
    start = 0
    while start < len(content):
        if start + 12 > len(content):
            raise OSError(f"The TFRecord file is cut short: {path}")
        (length,) = struct.unpack_from("<Q", content, start)
        start += 12
        if start + length + 4 > len(content):
            raise OSError(f"The TFRecord file is cut short: {path}")
        yield content[start : start + length]
        start += length + 4


def _tfrecord_examples(builder, split):
    features = builder.info.features
    for part in builder.info.splits[split].file_instructions:
        stop = None if part.take == -1 else part.skip + part.take
        records = _tfrecords(part.filename)
        for record in itertools.islice(records, part.skip, stop):
            yield features.deserialize_example_np(record)


def _data_source_examples(builder, split):
    source = builder.as_data_source(split=split)
    for i in range(len(source)):
        yield source[i]


def read(builder, split):
    """All examples of a split, stacked.

    Args:
        builder: a prepared `tfds.core.DatasetBuilder` whose features are one
            flat dict of tensors of fixed shape.
        split: split in the syntax of TFDS, or a `tfds.core.ReadInstruction`.

    Returns:
        A dict of arrays with a leading sample axis, in the order of the files.

    Raises:
        ValueError: where the split or file format cannot be read.
        OSError: where a file is cut short.
    """
    file_format = builder.info.file_format.value
    if file_format == "tfrecord":
        examples = _tfrecord_examples(builder, split)
    elif file_format == "array_record":
        examples = _data_source_examples(builder, split)
    else:
        raise ValueError(
            "Expected a data set stored as 'tfrecord' or 'array_record'. "
            f"Received: {file_format!r} in {builder.data_dir}. Remove this "
            "folder or pass another `data_dir`."
        )
    examples = list(examples)
    features = builder.info.features
    result = {}
    for key in features:
        if examples:
            result[key] = np.stack([example[key] for example in examples])
        else:
            feature = features[key]
            result[key] = np.zeros((0, *feature.shape), feature.np_dtype)
    return result
