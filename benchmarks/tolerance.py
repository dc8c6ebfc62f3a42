"""Does `Constrained(tolerance)` land where it was told, and what does it cost?

    KERAS_BACKEND=jax python benchmarks/tolerance.py

Trains one transformer on nbody_charged for each tolerance, prints the
equivariance error E' on validation and test data beside it, and plots the test
MSE against the tolerance.
"""

import argparse
import json
import os
import pathlib

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

import keras_remul as kr


def train(tolerance, arguments, data):
    training, valid, test = data
    symmetry = kr.datasets.symmetry("nbody_charged")
    keras.utils.set_random_seed(arguments.seed)
    model = kr.models.Transformer(num_layers=3, hidden_dim=64, num_heads=4)
    remul = kr.RemulModel(
        model,
        symmetry,
        kr.weighting.Constrained(tolerance),
        target="predictions",
        seed=arguments.seed,
    )
    steps = arguments.epochs * 30
    rate = keras.optimizers.schedules.CosineDecay(
        0.0, steps, warmup_target=3e-3, warmup_steps=steps // 20
    )
    remul.compile(keras.optimizers.AdamW(rate, weight_decay=1e-4), "mse")
    history = remul.fit(
        *training, batch_size=100, epochs=arguments.epochs, verbose=0
    ).history
    result = {"tolerance": tolerance, "beta": history["beta"][-1]}
    result["training_error"] = history["equivariance_error"][-1]
    for name, (x, y) in (("validation", valid), ("test", test)):
        measured = kr.evaluate_equivariance(
            model, x, symmetry, y, num_samples=10
        )
        result[f"{name}_error"] = measured["equivariance_error"]
        result[f"{name}_mse"] = float(
            np.mean((model.predict(x, verbose=0) - y) ** 2)
        )
    return result


def plot(results, path):
    figure = Figure(figsize=(8, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    tolerance = [row["tolerance"] for row in results]
    left.plot(tolerance, [row["test_mse"] for row in results], "o-")
    left.set(xlabel="tolerance", ylabel="test MSE", xscale="log")
    right.plot(tolerance, tolerance, color="0.6", label="asked for")
    error = [row["test_error"] for row in results]
    right.plot(tolerance, error, "o", label="reached, test set")
    right.set(xlabel="tolerance", ylabel="equivariance error E'")
    right.set(xscale="log", yscale="log")
    right.legend(frameon=False)
    for axis in (left, right):
        axis.set_xticks(tolerance, [f"{t:g}" for t in tolerance])
        axis.xaxis.set_minor_formatter(NullFormatter())
    figure.savefig(path, dpi=130)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--tolerances", type=float, nargs="+", default=[0.025, 0.08, 0.25]
    )
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", default="tolerance", help="file stem")
    arguments = parser.parse_args()
    data = kr.datasets.load(
        "nbody_charged", split=["train", "validation", "test"]
    )
    results = []
    for tolerance in arguments.tolerances:
        results.append(train(tolerance, arguments, data))
        print(json.dumps(results[-1]), flush=True)
    path = pathlib.Path(arguments.output)
    path.with_suffix(".json").write_text(json.dumps(results, indent=2) + "\n")
    plot(results, path.with_suffix(".png"))


if __name__ == "__main__":
    main()
