"""PyTorch: DistributedDataParallel in the processes that torchrun starts.

Each process reads the whole batch and takes its part, so that any kind of data
can be used and the batch is the same as with one process.
"""

import contextlib
import os
import weakref

import keras
import torch
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

from keras_remul.backend.devices import processes

# Not attributes of the models: a module would become a part of them.
_parallel = weakref.WeakKeyDictionary()


def names():
    count = torch.cuda.device_count()
    gpus = [torch.cuda.get_device_name(i) for i in range(count)]
    return ["cpu", *gpus]


@contextlib.contextmanager
def data_parallel(num_devices):
    count = _launched()
    if num_devices not in (None, count):
        raise ValueError(
            f"num_devices={num_devices}, but this process is one of {count}. "
            "Start the script with `torchrun --nproc-per-node="
            f"{num_devices} SCRIPT`."
        )
    started = count > 1 and not distributed.is_initialized()
    if started:
        if torch.cuda.is_available():
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
            distributed.init_process_group("cpu:gloo,cuda:nccl")
        else:
            distributed.init_process_group("gloo")
    try:
        yield
    finally:
        if started:
            distributed.destroy_process_group()


def _launched():
    """How many processes torchrun has started, of all hosts together."""
    numbers = {
        key: os.environ.get(key, default)
        for key, default in (("WORLD_SIZE", "1"), ("RANK", "0"))
    }
    count, index = (int(n) if n.isdigit() else -1 for n in numbers.values())
    if not 0 <= index < count:
        raise ValueError(
            "The environment variable RANK must be a number from 0 to "
            f"WORLD_SIZE - 1, as torchrun sets them. Received: {numbers}"
        )
    absent = [
        key
        for key in ("RANK", "MASTER_ADDR", "MASTER_PORT")
        if count > 1 and key not in os.environ
    ]
    if absent:
        raise ValueError(
            "The environment has WORLD_SIZE, but not "
            f"{' and '.join(absent)}. Start the script with torchrun."
        )
    return count


def _active():
    return distributed.is_available() and distributed.is_initialized()


def process():
    if not _active():
        return 0, 1
    return distributed.get_rank(), distributed.get_world_size()


def is_lost(error):
    # Gloo's are plain RuntimeErrors, NCCL's have a class of their own.
    signs = ("gloo", "Connection closed", "Connection reset", "Timed out")
    return isinstance(error, distributed.DistError) or (
        isinstance(error, RuntimeError)
        and any(sign in str(error) for sign in signs)
    )


def replica(training):
    # Each process evaluates all samples.
    return process() if training else (0, 1)


def shard(args):
    index, count = process()
    if count == 1:
        return args
    return keras.tree.map_structure(
        lambda a: (
            None if a is None else a[processes.own_rows(len(a), index, count)]
        ),
        args,
    )


def forward(model, wrapped, x):
    if not _active():
        return wrapped(x, training=True)
    if model not in _parallel:
        _parallel[model] = DistributedDataParallel(wrapped)
    return _parallel[model](x, training=True)


def unscale(loss):
    return loss


def mean_over_replicas(values):
    if _active():
        values = values.detach().clone()
        distributed.all_reduce(values)
        values = values / distributed.get_world_size()
    return values


def results(model, compute):
    if not _active():
        return compute()
    variables = [
        v
        for metric in model.metrics
        for v in metric.variables
        if v.aggregation == "sum"
    ]
    local = [v.value.detach().clone() for v in variables]
    for v in variables:
        distributed.all_reduce(v.value.data)
    try:
        return compute()
    finally:
        for v, value in zip(variables, local, strict=True):
            v.assign(value)


def synchronize(model):
    if not _active():
        return
    state = torch.get_rng_state()  # orders the samples
    distributed.broadcast(state, 0)
    torch.set_rng_state(state)
    states = torch.from_numpy(processes.generator_states().astype("int64"))
    distributed.broadcast(states, 0)
    processes.set_generator_states(states)
    for v in {id(v): v for v in model.variables}.values():
        distributed.broadcast(v.value.data, 0)
