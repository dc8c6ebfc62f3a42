"""Several devices, by each framework's own engine.

Here, too, three files hold the same functions:

    names()                        the devices that the framework sees
    data_parallel(num_devices)     context in which models are made and trained
    replica(training)              (index, number) of the replicas of a step
    process()                      (index, number) of the processes of the run
    is_lost(error)                 whether it says that another process is gone
    shard(args)                    this process's part of a batch
    forward(model, wrapped, x)     f(x) in training
    unscale(loss)                  a Keras loss as if there were one replica
    mean_over_replicas(values)     of a tensor that each replica has
    results(model, compute)        `compute()`, metrics of all replicas together
    synchronize(model)             starts all processes from the same state

On JAX a step is written for the whole batch and the compiler splits it; on
TensorFlow each replica runs the step on its part; on PyTorch each process does.
Where there are several processes, each is given the whole batch and uses its
part only, `processes.own_rows`.
"""

import keras

if keras.backend.backend() == "jax":
    from keras_remul.backend.devices.jax import (
        data_parallel,
        forward,
        is_lost,
        mean_over_replicas,
        names,
        process,
        replica,
        results,
        shard,
        synchronize,
        unscale,
    )
elif keras.backend.backend() == "torch":
    from keras_remul.backend.devices.torch import (
        data_parallel,
        forward,
        is_lost,
        mean_over_replicas,
        names,
        process,
        replica,
        results,
        shard,
        synchronize,
        unscale,
    )
else:
    from keras_remul.backend.devices.tensorflow import (
        data_parallel,
        forward,
        is_lost,
        mean_over_replicas,
        names,
        process,
        replica,
        results,
        shard,
        synchronize,
        unscale,
    )

__all__ = [
    "data_parallel",
    "forward",
    "is_lost",
    "mean_over_replicas",
    "names",
    "process",
    "replica",
    "results",
    "shard",
    "synchronize",
    "unscale",
]
