"""Weights as bytes in memory, in the format of Keras; their size and hash.

HDF5 ends the process with a signal if the disk is full. So it writes only to
memory here, and Python writes the bytes to the disk.
"""

import hashlib
import io
import math

import keras
import numpy as np


class WeightsMemory(io.BytesIO):
    """Bytes that Keras treats as a `.weights.h5` file.

    Keras checks the end of the name, and passes the object itself to h5py.
    """

    def __str__(self):
        return "memory.weights.h5"


def weights_as_bytes(model):
    """What `model.save_weights` would write into a `.weights.h5` file."""
    memory = WeightsMemory()
    model.save_weights(memory)
    return memory.getvalue()


def count_bytes(variables):
    """The size of these variables in memory."""
    return sum(
        math.prod(v.shape) * np.dtype(v.dtype).itemsize for v in variables
    )


def weights_digest(model):
    """The sha256 of all weights, bit for bit, in order."""
    digest = hashlib.sha256()
    for variable in model.weights:
        value = keras.ops.convert_to_numpy(variable)
        digest.update(f"{value.shape}{value.dtype.name}".encode())
        digest.update(np.ascontiguousarray(value).tobytes())
    return digest.hexdigest()
