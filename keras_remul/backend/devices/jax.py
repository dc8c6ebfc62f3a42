"""JAX: `keras.distribution.DataParallel`."""

import atexit
import contextlib
import os
import sys

import jax
import keras
from jax.experimental import multihost_utils

from keras_remul.backend.devices import processes


def names():
    return [str(device) for device in jax.devices()]


@contextlib.contextmanager
def data_parallel(num_devices):
    _join()
    devices = jax.devices()
    many = jax.process_count() > 1
    if num_devices is not None and (
        num_devices > len(devices) or many and num_devices < len(devices)
    ):
        where = f" of {jax.process_count()} processes" if many else ""
        raise ValueError(
            f"JAX sees {len(devices)} device(s){where}, not "
            f"num_devices={num_devices}. On a CPU set the environment "
            "variable JAX_NUM_CPU_DEVICES to the number for each process."
        )
    devices = devices[:num_devices]
    if len(devices) == 1:
        yield
        return
    previous = keras.distribution.distribution()
    names = [f"{device.platform}:{device.id}" for device in devices]
    kind = _WholeBatches if many else keras.distribution.DataParallel
    keras.distribution.set_distribution(
        kind(devices=names, auto_shard_dataset=False)
    )
    try:
        yield
    except ConnectionError:
        atexit.register(_leave)
        raise
    finally:
        keras.distribution.set_distribution(previous)


def _leave():
    # JAX would wait for those that are gone, and abort after 100 seconds.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1)


class _WholeBatches(keras.distribution.DataParallel):
    """Each process has the whole batch; `shard` takes its part of it.

    Keras' own class expects each process to have only its part.
    """

    def get_data_layout(self, data_shape):
        axes = [None] * len(data_shape)
        return keras.distribution.TensorLayout(axes, self.device_mesh)


def _join():
    """Joins the processes that the environment describes."""
    if jax.distributed.is_initialized():
        return
    given = {
        key: os.environ.get(f"JAX_{key.upper()}", "")
        for key in ("coordinator_address", "num_processes", "process_id")
    }
    if "JAX_NUM_PROCESSES" in os.environ:
        absent = [f"JAX_{key.upper()}" for key in given if not given[key]]
        if absent:
            raise ValueError(
                "The environment has JAX_NUM_PROCESSES, but not "
                f"{' and '.join(absent)}. Set them, or none, on each host."
            )
        count, index = given["num_processes"], given["process_id"]
        numbers = count.isdigit() and index.isdigit()
        if not numbers or int(index) >= int(count):
            raise ValueError(
                "The environment variable JAX_PROCESS_ID must be a number "
                "from 0 to JAX_NUM_PROCESSES - 1. Received: JAX_PROCESS_ID="
                f"{index!r}, JAX_NUM_PROCESSES={count!r}"
            )
        arguments = given["coordinator_address"], int(count), int(index)
        if int(count) == 1:
            return
    elif _launched_by_others():
        arguments = None, None, None  # JAX reads the environment itself
    else:
        return
    try:
        keras.distribution.initialize(*arguments)
    except RuntimeError as error:
        if "before any JAX" not in str(error):
            raise
        raise ValueError(
            "`data_parallel()` must come before anything that computes with "
            "JAX, where the run has several processes. Put it at the start of "
            "the script."
        ) from error


def _launched_by_others():
    """Whether Slurm's srun or Open MPI has started several processes."""
    counts = [os.environ.get("OMPI_COMM_WORLD_SIZE", "1")]
    if "SLURM_STEP_NODELIST" in os.environ:
        counts.append(os.environ.get("SLURM_NTASKS", "1"))
    return any(count.isdigit() and int(count) > 1 for count in counts)


def process():
    # Asking JAX for it would end the time in which processes can be joined.
    if not jax.distributed.is_initialized():
        return 0, 1
    return jax.process_index(), jax.process_count()


def is_lost(error):
    # Gloo's come as JaxRuntimeError or, after a compilation, as ValueError.
    signs = (": Gloo ", "UNAVAILABLE: ", "heartbeat timeout", "NCCL ")
    return isinstance(error, (jax.errors.JaxRuntimeError, ValueError)) and any(
        sign in str(error) for sign in signs
    )


def replica(training):
    return 0, 1


def shard(args):
    distribution = keras.distribution.distribution()
    if not isinstance(distribution, _WholeBatches):
        return args
    state, data = args
    mesh = distribution.device_mesh.backend_mesh
    spec = jax.sharding.PartitionSpec(distribution.batch_dim_name)
    layout = jax.sharding.NamedSharding(mesh, spec)

    def part(a):
        if len(a) % mesh.size:
            raise ValueError(
                f"A batch of {len(a)} samples cannot be split evenly over "
                f"{mesh.size} devices. Choose `batch_size` so that each "
                "batch, the last one of an epoch too, is a multiple."
            )
        return jax.lax.with_sharding_constraint(a, layout)

    return state, keras.tree.map_structure(
        lambda a: None if a is None else part(a), data
    )


def forward(model, wrapped, x):
    return wrapped(x, training=True)


def unscale(loss):
    return loss


def mean_over_replicas(values):
    return values


def results(model, compute):
    return compute()


def synchronize(model):
    if process()[1] == 1:
        return
    states = processes.generator_states()
    states = multihost_utils.broadcast_one_to_all(states)
    processes.set_generator_states(states)
