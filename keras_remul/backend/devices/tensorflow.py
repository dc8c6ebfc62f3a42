"""TensorFlow: `tf.distribute.MirroredStrategy`."""

import contextlib

import tensorflow as tf


def names():
    return [device.name for device in tf.config.list_logical_devices()]


@contextlib.contextmanager
def data_parallel(num_devices):
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
