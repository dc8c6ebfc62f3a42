"""Training on several devices, of one host or of many."""

from __future__ import annotations

import contextlib
import functools
import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import keras

from keras_remul.backend import devices


def data_parallel(
    num_devices: int | None = None,
) -> contextlib.AbstractContextManager[None]:
    """Context in which models are made and trained on several devices.

    The same script runs on one device or on many, on one host or several. Each
    step splits a batch of `batch_size` samples over the devices, and draws the
    same g as one device. The engine is that of the framework:

        JAX          `keras.distribution.DataParallel`
        TensorFlow   `tf.distribute.MirroredStrategy`, and
                     `MultiWorkerMirroredStrategy` where there is a `TF_CONFIG`
        PyTorch      `DistributedDataParallel` in the processes that
                     `torchrun --nproc-per-node=N script.py` starts

    With several hosts, their addresses are read from the environment variables
    of the launcher: those of torchrun; `TF_CONFIG`; for JAX
    `JAX_COORDINATOR_ADDRESS`, `JAX_NUM_PROCESSES` and `JAX_PROCESS_ID`, or
    those of Slurm or Open MPI. The context must then come first in the script,
    and each host needs all the data.

    With one device it does nothing. Batches should be a multiple of the number
    of devices. See docs/distributed.md.

    Args:
        num_devices: number of devices of all hosts together. Defaults to the
            environment variable `KERAS_REMUL_DEVICES` if set, otherwise to all
            devices that the framework sees (GPUs, on TensorFlow) or that
            torchrun has started.

    Raises:
        ValueError: there are not enough devices, the environment variables of
            the launcher are not valid, or something was computed before.
        ConnectionError: inside the context, if another process of the run has
            ended or cannot be reached.

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
    return _data_parallel(num_devices)


@contextlib.contextmanager
def _data_parallel(num_devices):
    with devices.data_parallel(num_devices):
        index, count = devices.process()
        try:
            yield
        except Exception as error:
            if count == 1 or not devices.is_lost(error):
                raise
            raise ConnectionError(
                f"Process {index} of {count} cannot reach another one, which "
                "has ended or lost its network; its own output may say why. "
                "Start the script on all hosts again, from the last "
                "checkpoint; the number of hosts may change."
            ) from error


def process() -> tuple[int, int]:
    """The index of this process and the number of processes of all hosts.

    Returns:
        `(index, count)`, index from 0; `(0, 1)` outside `data_parallel`, except
        on TensorFlow, which reads `TF_CONFIG`.

    Raises:
        ValueError: `TF_CONFIG` is not valid.
    """
    return devices.process()


class OnFirst(keras.callbacks.Callback):
    """A callback that runs only in the first process of a run.

    Use it for callbacks that write files, such as checkpoints, when several
    processes train: otherwise all processes would write the same files. All its
    hooks are called. It may save models and read weights. It must not change
    weights, evaluate or stop the training, since the other processes would not
    do the same.

    Args:
        callback: a `keras.callbacks.Callback`.

    Example:

    >>> save = keras.callbacks.ModelCheckpoint("run.keras")
    >>> remul.fit(x, y, callbacks=[keras_remul.distribution.OnFirst(save)])
    """

    def __init__(self, callback: keras.callbacks.Callback) -> None:
        super().__init__()
        self.callback = callback
        # Keras waits at each batch for callbacks that have hooks of batches.
        for name in dir(keras.callbacks.Callback):
            if not name.startswith("on_"):
                continue
            hook = getattr(callback, name)
            default = getattr(keras.callbacks.Callback, name)
            if getattr(hook, "__func__", hook) is not default:
                setattr(self, name, functools.partial(self._run, hook))

    def set_params(self, params: dict[str, Any]) -> None:
        """Hands the facts of the training on; Keras calls it.

        Args:
            params: dict, such as the number of `"epochs"`.
        """
        super().set_params(params)
        self.callback.set_params(params)

    def set_model(self, model: keras.Model) -> None:
        """Hands the model on; Keras calls it.

        Args:
            model: the model that is trained.
        """
        super().set_model(model)
        self.callback.set_model(model)

    def _run(self, hook, *args, **kwargs):
        index, count = process()
        if count == 1:
            hook(*args, **kwargs)
        elif index == 0:
            # Saving makes variables. A thread of its own is in no strategy or
            # distribution, in which the other processes would have to join.
            with ThreadPoolExecutor(max_workers=1) as thread:
                thread.submit(hook, *args, **kwargs).result()
