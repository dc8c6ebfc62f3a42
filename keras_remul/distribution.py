"""Training on several devices."""

import os

from keras_remul.backend import devices


def data_parallel(num_devices=None):
    """Context in which models are made and trained on several devices.

    The same script runs on one device and on many: each step sees the batch
    that `batch_size` asks for, split over the devices, and draws the same g.
    The engine is the framework's own:

        JAX          `keras.distribution.DataParallel`
        TensorFlow   `tf.distribute.MirroredStrategy`
        PyTorch      `DistributedDataParallel` in the processes that
                     `torchrun --nproc-per-node=N script.py` starts

    With one device it does nothing. Batches should be a multiple of the number
    of devices. See docs/distributed.md for many hosts.

    Args:
        num_devices: how many. Defaults to the environment variable
            `KERAS_REMUL_DEVICES` if set, else to all that the framework sees
            (GPUs, on TensorFlow) or torchrun has started.

    Raises:
        ValueError: where there are not so many.

    Example:

    >>> with keras_remul.distribution.data_parallel():
    ...     remul = RemulModel(Transformer(), symmetry)
    ...     remul.compile("adam", "mse")
    ...     remul.fit(x, y, batch_size=128)
    """
    if num_devices is None and os.environ.get("KERAS_REMUL_DEVICES"):
        text = os.environ["KERAS_REMUL_DEVICES"]
        if not text.isdigit():
            raise ValueError(
                "The environment variable KERAS_REMUL_DEVICES must be a "
                f"number. Received: {text!r}"
            )
        num_devices = int(text)
    if num_devices is not None and num_devices < 1:
        raise ValueError(
            "Argument `num_devices` must be at least 1. Received: "
            f"num_devices={num_devices}"
        )
    return devices.data_parallel(num_devices)
