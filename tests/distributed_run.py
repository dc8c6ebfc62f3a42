"""What several devices or hosts train; run by the tests of distribution.

    python distributed_run.py FOLDER CASE ...

The cases are those of CASES, trained on arrays, and "stream", with checkpoints,
which goes on from the one in FOLDER if there is one. Each process writes the
figures of each case to `FOLDER/CASE.RANK.json`.
"""

import json
import os
import pathlib
import sys
import time

import keras
import numpy as np

import keras_remul as kr

DEVICES = os.environ.get("KERAS_REMUL_DEVICES")
EPOCHS = 3
CASES = {
    "constant": dict,
    "gradnorm": lambda: dict(weighting=kr.weighting.GradNorm()),
    "constrained": lambda: dict(
        weighting=kr.weighting.Constrained(0.5, "relative_equivariance_error"),
        target="predictions",
        num_samples=2,
    ),
}


def split_cpu():
    if keras.backend.backend() == "tensorflow" and DEVICES:
        import tensorflow as tf

        tf.config.set_logical_device_configuration(
            tf.config.list_physical_devices("CPU")[0],
            [tf.config.LogicalDeviceConfiguration()] * int(DEVICES),
        )


def network(symmetry, **arguments):
    # Small, since each process compiles it anew, and not equivariant.
    model = kr.models.MessagePassingNetwork(num_layers=1, hidden_dim=8)
    remul = kr.RemulModel(model, symmetry, seed=0, **arguments)
    remul.compile(keras.optimizers.Adam(1e-2), "mse", metrics=["mae"])
    return remul


def figures(remul, history):
    kernel = keras.ops.convert_to_numpy(remul.model.head.kernel)
    return {**history, "kernel": kernel.tolist()}


def train_arrays(arguments):
    rng = np.random.default_rng(0)
    x = {
        "positions": rng.normal(size=(48, 5, 3)).astype("float32"),
        "velocities": rng.normal(size=(48, 5, 3)).astype("float32"),
        "charges": rng.choice([-1.0, 1.0], size=(48, 5, 1)).astype("float32"),
    }
    y = x["positions"] + 0.7 * x["velocities"]
    keras.utils.set_random_seed(0)
    remul = network(kr.datasets.symmetry("nbody_charged"), **arguments)
    # To compile one such program is enough.
    validation = {} if arguments else {"validation_data": (x, y)}
    history = remul.fit(x, y, 24, epochs=10, verbose=0, **validation).history
    return figures(remul, history)


class Checkpoint(keras.callbacks.Callback):
    def __init__(self, folder):
        super().__init__()
        self.folder = folder

    def on_epoch_end(self, epoch, logs=None):
        self.model.save(self.folder / "checkpoint.keras")
        (self.folder / "epoch").write_text(str(epoch + 1))


class WaitToBeKilled(keras.callbacks.Callback):
    """Stops in the middle of an epoch, once there is a checkpoint."""

    def __init__(self, folder):
        super().__init__()
        self.folder = folder

    def on_train_batch_end(self, batch, logs=None):
        if (self.folder / "epoch").exists():
            print("in the middle of an epoch", flush=True)
            time.sleep(600)


def train_stream(folder):
    from keras_remul.datasets.nbody_gravity.builder import NbodyGravityConfig

    sizes = {"train": 24, "validation": 12, "test": 1}
    shards = [
        NbodyGravityConfig(name=f"shard{i}", seed=i, **sizes) for i in range(2)
    ]

    def stream(split, **arguments):
        return kr.datasets.stream(
            "nbody_gravity",
            split,
            batch_size=12,
            seed=0,
            config=shards,
            data_dir=os.environ["DATA"],
            verbose=0,
            **arguments,
        )

    batches, epoch = stream("train"), 0
    keras.utils.set_random_seed(0)
    remul = network(kr.datasets.symmetry("nbody_gravity"))
    if (folder / "checkpoint.keras").exists():
        epoch = int((folder / "epoch").read_text())
        remul = keras.saving.load_model(folder / "checkpoint.keras")
    batches.epoch = epoch
    callbacks = [kr.distribution.OnFirst(Checkpoint(folder))]
    if "TO_BE_KILLED" in os.environ:
        callbacks.append(WaitToBeKilled(folder))
    history = remul.fit(
        batches,
        shuffle=False,
        initial_epoch=epoch,
        epochs=EPOCHS,
        verbose=0,
        validation_data=stream("validation", shuffle=False),
        callbacks=callbacks,
    ).history
    return figures(remul, history)


if __name__ == "__main__":
    split_cpu()
    folder = pathlib.Path(sys.argv[1])
    with kr.distribution.data_parallel():
        rank, count = kr.distribution.process()
        for case in sys.argv[2:]:
            if case == "stream":
                result = train_stream(folder)
            else:
                result = train_arrays(CASES[case]())
            (folder / f"{case}.{rank}.json").write_text(json.dumps(result))
