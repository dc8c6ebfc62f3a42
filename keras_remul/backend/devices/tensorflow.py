"""TensorFlow: `MirroredStrategy`, `MultiWorkerMirroredStrategy`."""

import contextlib
import json
import os
import random
from typing import Any

import numpy as np
import tensorflow as tf

from keras_remul.backend.devices import processes

# The strategy of all workers, once it is made: there can be only one.
_workers: Any = None


def names():
    return [device.name for device in tf.config.list_logical_devices()]


@contextlib.contextmanager
def data_parallel(num_devices):
    index, count = process()
    if count > 1:
        with _many_workers(num_devices, count).scope():
            yield
        return
    gpus = tf.config.list_physical_devices("GPU")
    wanted = num_devices or len(gpus) or 1
    if gpus and wanted > len(gpus):
        raise ValueError(
            f"TensorFlow sees {len(gpus)} GPU(s), fewer than "
            f"num_devices={num_devices}."
        )
    if not gpus:
        _split_cpu(wanted)
    if wanted == 1:
        yield
        return
    kind = "GPU" if gpus else "CPU"
    names = [f"{kind}:{i}" for i in range(wanted)]
    # Plain copies, not NCCL, which the CPU lacks.
    communication = None if gpus else tf.distribute.ReductionToOneDevice()
    strategy = tf.distribute.MirroredStrategy(names, communication)
    with strategy.scope():
        yield


def process():
    text = os.environ.get("TF_CONFIG") or "{}"
    try:
        config = json.loads(text)
        cluster = config.get("cluster", {})
        chiefs, workers = cluster.get("chief", []), cluster.get("worker", [])
        count = len(chiefs) + len(workers)
        if count < 2:
            return 0, 1
        kind, index = config["task"]["type"], int(config["task"]["index"])
        (chiefs if kind == "chief" else workers)[index]
    except (AttributeError, KeyError, IndexError, TypeError, ValueError) as e:
        raise ValueError(
            "The environment variable TF_CONFIG must be JSON such as "
            '{"cluster": {"worker": ["host0:12345", "host1:12345"]}, '
            '"task": {"type": "worker", "index": 0}}, with the index of this '
            f"host. Received: TF_CONFIG={text!r}"
        ) from e
    return index + (len(chiefs) if kind == "worker" else 0), count


def is_lost(error):
    signs = ("Collective ops is aborted", "heartbeat", "connect")
    return isinstance(error, tf.errors.UnavailableError) or (
        isinstance(error, tf.errors.OpError)
        and any(sign in str(error) for sign in signs)
    )


class _Workers(tf.distribute.MultiWorkerMirroredStrategy):
    def reduce(self, reduce_op, value, axis):
        def local(value):
            return self.experimental_local_results(value)[0]

        # Keras asks for a whole batch, to learn its shapes; this strategy
        # reduces no structures, and its collectives no booleans.
        if isinstance(value, (dict, list, tuple)):
            return tf.nest.map_structure(local, value)
        # And Keras names an axis for the logs, which have none.
        if axis is not None and local(value).shape.rank == 0:
            axis = None
        return super().reduce(reduce_op, value, axis)


def _many_workers(num_devices, count):
    """The `MultiWorkerMirroredStrategy` of TF_CONFIG."""
    global _workers
    if _workers is None:
        try:
            _workers = _Workers()
        except RuntimeError as error:
            raise ValueError(
                "`data_parallel()` must come before anything that computes "
                "with TensorFlow, where the run has several processes. Put it "
                "at the start of the script."
            ) from error
        # tf.random.shuffle orders the samples.
        seed, _ = tf.compat.v1.get_seed(None)
        seed = random.randrange(2**31) if seed is None else seed
        tf.random.set_seed(int(_of_first([seed])[0]))
    devices = _workers.num_replicas_in_sync
    if num_devices not in (None, devices):
        raise ValueError(
            f"num_devices={num_devices}, but the {count} processes of "
            f"TF_CONFIG have {devices} devices."
        )
    return _workers


def _of_first(words):
    """The values of the first process, `(W,)`, on each process."""
    words = np.asarray(words, "int64")

    def one():
        context = tf.distribute.get_replica_context()
        first = tf.cast(context.replica_id_in_sync_group == 0, tf.int64)
        return context.all_reduce(tf.distribute.ReduceOp.SUM, first * words)

    result = _workers.run(tf.function(one))
    return _workers.experimental_local_results(result)[0].numpy()


def _split_cpu(count):
    if len(tf.config.list_logical_devices("CPU")) >= count:
        return
    raise ValueError(
        "TensorFlow sees one CPU device. Before anything else, split it: "
        "tf.config.set_logical_device_configuration("
        "tf.config.list_physical_devices('CPU')[0], "
        f"[tf.config.LogicalDeviceConfiguration()] * {count})."
    )


def _context():
    context = tf.distribute.get_replica_context()
    return context if context and context.num_replicas_in_sync > 1 else None


def replica(training):
    context = _context()
    if context is None:
        return 0, 1
    return context.replica_id_in_sync_group, context.num_replicas_in_sync


def shard(args):
    return args


def forward(model, wrapped, x):
    return wrapped(x, training=True)


def unscale(loss):
    return loss * float(tf.distribute.get_strategy().num_replicas_in_sync)


def mean_over_replicas(values):
    context = _context()
    if context is None:
        return values
    return context.all_reduce(tf.distribute.ReduceOp.MEAN, values)


def results(model, compute):
    return compute()


def synchronize(model):
    strategy = model.distribute_strategy
    if strategy.num_replicas_in_sync == 1:
        return
    for v in model.variables:
        if not strategy.extended.variable_created_in_scope(v.value):
            raise ValueError(
                f"The variable {v.path!r} was made outside of the context "
                "`data_parallel()`. Make the model, its weighting and its "
                "optimizer inside."
            )
    if strategy is _workers:
        states = _of_first(processes.generator_states())
        processes.set_generator_states(states)
