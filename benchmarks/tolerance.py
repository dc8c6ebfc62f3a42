"""Does `Constrained(tolerance)` land where it was told, and what does it cost?

    OMP_NUM_THREADS=1 KERAS_BACKEND=jax taskset -c 0 python \
        benchmarks/tolerance.py

Five tolerances on each of three data sets, 1,800 steps each: charged bodies, a
star with planets (100 training systems, so that it overfits), and a runner.
At most 1000 samples for validation set the margin, as in any `fit` with them;
the weights are those of the last epoch. One line for each run in the CSV file;
runs that are there are not repeated. E' of training is that of the batches of
the last epoch, that of validation and test with 10 elements for each sample;
"95 %" is what 95 % of new samples stay below, with a confidence of 95 %. Draws
the test error, and E' on test data, against the tolerance.
"""

import argparse
import functools
import os
import pathlib
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter
from potentials import Table

import keras_remul as kr

STEPS, BATCH, VALIDATIONS = 1800, 50, 30
VALIDATION_SIZE = 1000


def transformer(**kwargs):
    return kr.models.Transformer(
        num_layers=3, hidden_dim=64, num_heads=4, **kwargs
    )


def network():
    return kr.models.MessagePassingNetwork(
        num_layers=4, hidden_dim=64, edge_products=["masses"]
    )


# Of each data set: model, group, tolerances.
SETS = {
    "nbody_charged": (
        functools.partial(
            transformer, pair_bias=True, edge_products=["charges"]
        ),
        kr.groups.SO3(),
        [0.025, 0.05, 0.1, 0.15, 0.25],
    ),
    "nbody_gravity/remul": (
        network,
        kr.groups.O3(),
        [0.02, 0.03, 0.05, 0.1, 0.2],
    ),
    "cmu_mocap/run_09": (
        functools.partial(transformer, length_unit=5.0, time_unit=30.0),
        kr.groups.O2(axis="y"),
        [1.5, 2.5, 4.0, 8.0, 16.0],
    ),
}


def train(name, tolerance, data, seed):
    """The figures of one training."""
    make, group, _ = SETS[name]
    keras.utils.set_random_seed(seed)
    symmetry = kr.datasets.symmetry(name, group)
    remul = kr.RemulModel(
        make(),
        symmetry,
        kr.weighting.Constrained(tolerance),
        target="predictions",
        seed=seed,
    )
    rate = keras.optimizers.schedules.CosineDecay(
        0.0, STEPS, warmup_target=2e-3, warmup_steps=STEPS // 20
    )
    remul.compile(keras.optimizers.AdamW(rate, weight_decay=1e-4), "mse")
    epochs = STEPS * BATCH // len(data["train"][1])
    start = time.process_time()
    history = remul.fit(
        *data["train"],
        batch_size=BATCH,
        epochs=epochs,
        validation_data=data["validation"],
        validation_batch_size=1000,
        validation_freq=max(1, epochs // VALIDATIONS),
        verbose=0,
    ).history
    row = {
        "E' training": history["equivariance_error"][-1],
        "beta": history["beta"][-1],
        "largest beta": max(history["beta"]),
    }
    for split in ("validation", "test"):
        x, y = data[split]
        found = kr.evaluate_equivariance(
            remul, x, symmetry, num_samples=10, per_sample=True
        )["equivariance_error"]
        row[f"E' {split}"] = float(np.mean(found))
        row[f"± {split}"] = kr.evaluation.standard_error(found)
        row[f"95 % {split}"] = kr.evaluation.quantile_bound(found)
    error = np.square(remul.model.predict(x, verbose=0) - y)
    return {
        **row,
        "test MSE": float(np.mean(error)),
        "CPU s": time.process_time() - start,
    }


def plot(rows, path):
    """Test error, and E' reached, against the tolerance."""
    figure = Figure(figsize=(3.6 * len(SETS), 5.6), layout="constrained")
    axes = figure.subplots(2, len(SETS), squeeze=False)
    for (upper, lower), name in zip(axes.T, SETS, strict=True):
        found = [row for row in rows if row["data"] == name]
        tolerance = [float(row["tolerance"]) for row in found]
        upper.plot(tolerance, [float(r["test MSE"]) for r in found], "o")
        upper.set(title=name, ylabel="test MSE", xscale="log", yscale="log")
        lower.plot(tolerance, tolerance, color="0.6", label="asked for")
        lower.errorbar(
            tolerance,
            [float(row["E' test"]) for row in found],
            [float(row["± test"]) for row in found],
            fmt="o",
            label="reached, test",
        )
        lower.set(xlabel="tolerance", ylabel="equivariance error E'")
        lower.set(xscale="log", yscale="log")
        lower.legend(frameon=False)
        for axis in (upper, lower):
            axis.set_xticks(tolerance, [f"{t:g}" for t in tolerance])
            axis.xaxis.set_minor_formatter(NullFormatter())
    figure.savefig(path, dpi=80)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=SETS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data-dir")
    parser.add_argument("--manual-dir")
    parser.add_argument(
        "--output",
        type=pathlib.Path,
        default=pathlib.Path(__file__).with_suffix(".csv"),
    )
    parser.add_argument("--picture", type=pathlib.Path)
    arguments = parser.parse_args()
    table = Table(arguments.output)
    for name in arguments.sets:
        data = kr.datasets.load_all(
            name,
            data_dir=arguments.data_dir,
            manual_dir=arguments.manual_dir,
        )
        data["validation"] = keras.tree.map_structure(
            lambda a: a[:VALIDATION_SIZE], data["validation"]
        )
        for tolerance in SETS[name][2]:
            keys = dict(data=name, tolerance=tolerance, seed=arguments.seed)
            if table.find(**keys) is None:
                table.add(
                    **keys, **train(name, tolerance, data, arguments.seed)
                )
    if arguments.picture:
        plot(table.rows, arguments.picture)


if __name__ == "__main__":
    main()
