"""Trains on the devices of KERAS_REMUL_DEVICES; run by test_distribution.py.

python distributed_run.py OUTPUT.json
"""

import json
import os
import sys

import keras
import numpy as np

import keras_remul as kr

COUNT = int(os.environ["KERAS_REMUL_DEVICES"])
CASES = {
    "constant": dict,
    "gradnorm": lambda: dict(weighting=kr.weighting.GradNorm()),
    "constrained": lambda: dict(
        weighting=kr.weighting.Constrained(0.5, "relative_error"),
        target="predictions",
        transforms=2,
    ),
}


def split_cpu():
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.set_logical_device_configuration(
            tf.config.list_physical_devices("CPU")[0],
            [tf.config.LogicalDeviceConfiguration()] * COUNT,
        )


def train(make):
    rng = np.random.default_rng(0)
    x = {
        "positions": rng.normal(size=(40, 5, 3)).astype("float32"),
        "velocities": rng.normal(size=(40, 5, 3)).astype("float32"),
        "charges": rng.choice([-1.0, 1.0], size=(40, 5, 1)).astype("float32"),
    }
    y = x["positions"] + 0.7 * x["velocities"]
    keras.utils.set_random_seed(0)
    model = kr.models.Transformer(num_layers=1, hidden_dim=8, num_heads=2)
    symmetry = kr.datasets.symmetry("nbody_charged")
    remul = kr.RemulModel(model, symmetry, seed=0, **make())
    remul.compile(keras.optimizers.Adam(1e-2), "mse", metrics=["mae"])
    history = remul.fit(
        x, y, 20, epochs=10, verbose=0, validation_data=(x, y)
    ).history
    kernel = keras.ops.convert_to_numpy(model.head.kernel)
    return {**history, "kernel": kernel.tolist()}


if __name__ == "__main__":
    split_cpu()
    results = {}
    with kr.distribution.data_parallel():
        for name, make in CASES.items():
            results[name] = train(make)
    rank = os.environ.get("RANK", "0")
    with open(f"{sys.argv[1]}.{rank}", "w") as file:
        json.dump(results, file)
