"""What a REMUL step costs, as a multiple of a plain training step.

    KERAS_BACKEND=jax python benchmarks/step_time.py

Times `train_on_batch`-sized work inside `fit`: one epoch of each variant in
turn, many times over, so that a busy machine slows all alike; the ratio is
that of the medians. CPU time is printed too, which counts all threads.
"""

import argparse
import os
import statistics
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from rich.console import Console
from rich.table import Table

import keras_remul as kr

# name -> arguments of RemulModel
TWICE = "plain, twice the batch"
VARIANTS = {
    "plain": lambda: dict(weighting=kr.weighting.Constant(beta=0.0)),
    TWICE: lambda: dict(weighting=kr.weighting.Constant(beta=0.0)),
    "augment": lambda: dict(
        augment=True, weighting=kr.weighting.Constant(beta=0.0)
    ),
    "alpha=0": lambda: dict(weighting=kr.weighting.Constant(alpha=0.0)),
    "REMUL, labels": dict,
    "REMUL, predictions": lambda: dict(target="predictions"),
    "fraction=0.25": lambda: dict(fraction=0.25),
    "GradNorm": lambda: dict(weighting=kr.weighting.GradNorm()),
}


def variants(nodes, arguments):
    """name -> compiled RemulModel, all of one size."""
    symmetry = kr.datasets.symmetry("nbody_charged")
    x, _ = data(nodes, arguments)
    result = {}
    for name in arguments.variants:
        options = VARIANTS[name]
        keras.utils.set_random_seed(0)
        model = kr.models.Transformer(
            num_layers=arguments.layers,
            hidden_dim=arguments.width,
            num_heads=arguments.heads,
        )
        model.build({key: value.shape for key, value in x.items()})
        remul = kr.RemulModel(model, symmetry, **options())
        remul.compile(keras.optimizers.Adam(1e-3), loss="mse")
        result[name] = remul
    return result


def data(nodes, arguments, times=1):
    rng = np.random.default_rng(0)
    samples = arguments.batch * arguments.steps * times

    def normal(channels):
        shape = (samples, nodes, channels)
        return rng.normal(size=shape).astype("float32")

    x = {
        "positions": normal(3),
        "velocities": normal(3),
        "charges": normal(1),
    }
    return x, normal(3)


def measure(nodes, arguments):
    """name -> (wall, cpu) seconds of each repeat, for one step."""
    batches = {
        name: (*data(nodes, arguments, times), times * arguments.batch)
        for name, times in ((TWICE, 2), ("others", 1))
    }
    models = variants(nodes, arguments)
    times = {name: [] for name in models}
    for repeat in range(arguments.repeats + 1):
        for name, model in models.items():
            x, y, size = batches.get(name, batches["others"])
            wall, cpu = time.perf_counter(), time.process_time()
            model.fit(x, y, batch_size=size, verbose=0)
            wall = time.perf_counter() - wall
            cpu = time.process_time() - cpu
            if repeat:  # the first one compiles
                times[name].append(
                    (wall / arguments.steps, cpu / arguments.steps)
                )
    return times


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nodes", type=int, nargs="+", default=[5])
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--heads", type=int, default=4)
    parser.add_argument("--steps", type=int, default=20, help="per epoch")
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument(
        "--variants", nargs="+", choices=VARIANTS, default=[*VARIANTS]
    )
    arguments = parser.parse_args()
    table = Table(
        title=f"{keras.backend.backend()}, Keras {keras.__version__}, "
        f"{os.cpu_count()} cores, batch {arguments.batch}, width "
        f"{arguments.width}, {arguments.layers} layers"
    )
    table.add_column("nodes", justify="right")
    table.add_column("step")
    for heading in ("wall, ms", "ratio", "CPU, ms", "ratio"):
        table.add_column(heading, justify="right")
    for nodes in arguments.nodes:
        medians = {
            name: [
                statistics.median(column) for column in zip(*rows, strict=True)
            ]
            for name, rows in measure(nodes, arguments).items()
        }
        plain = medians["plain"]
        for name, (wall, cpu) in medians.items():
            table.add_row(
                str(nodes),
                name,
                f"{wall * 1e3:.1f}",
                f"{wall / plain[0]:.2f}",
                f"{cpu * 1e3:.1f}",
                f"{cpu / plain[1]:.2f}",
            )
    Console().print(table)


if __name__ == "__main__":
    main()
