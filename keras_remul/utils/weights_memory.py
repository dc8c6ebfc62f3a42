"""Weights as bytes in memory, in the format of Keras.

HDF5 ends the process with a signal if the disk is full. So it writes only to
memory here, and Python writes the bytes to the disk.
"""

import io


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
