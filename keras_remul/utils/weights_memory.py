"""Weights as bytes in memory, in the format of Keras.

HDF5 stops the process with a signal where the disk is full, so it is not let
near one: what it makes here is written by Python.
"""

import io


class WeightsMemory(io.BytesIO):
    """Bytes that Keras takes for a `.weights.h5` file.

    It looks at the end of the name, and hands the object itself to h5py.
    """

    def __str__(self):
        return "memory.weights.h5"


def weights_as_bytes(model):
    """What `model.save_weights` would write into a `.weights.h5` file."""
    memory = WeightsMemory()
    model.save_weights(memory)
    return memory.getvalue()
