"""Time and memory of inference against the number of nodes, on JAX.

    OMP_NUM_THREADS=1 KERAS_BACKEND=jax python benchmarks/scaling.py

Models of equal depth and parameters at batch 1; message passing between all
nodes, and with a list of 16 neighbors. Memory is what the compiled program
allocates beside weights, inputs and outputs. A model stops where a call takes
longer than `--limit`. Writes scaling.csv and scaling.png, and prints the slope
of each line over its last two sizes: 1 is linear, 2 quadratic.
"""

import argparse
import csv
import math

import jax
import numpy as np
from matplotlib.figure import Figure

import _common  # isort: skip

NEIGHBORS = 16
LISTS = ("MessagePassingNetwork", "EGNN")


def measure(model, nodes, neighbors, repeats):
    """Milliseconds of CPU time and megabytes of one call."""
    x, _ = _common.data(1, nodes)
    if neighbors:
        shape = (1, nodes, NEIGHBORS)
        rng = np.random.default_rng(0)
        x["neighbors"] = rng.integers(nodes, size=shape).astype("int32")
    x = jax.tree.map(jax.numpy.asarray, x)
    weights = [v.value for v in model.trainable_variables]
    others = [v.value for v in model.non_trainable_variables]

    def predict(weights, x):
        return model.stateless_call(weights, others, x)[0]

    program = jax.jit(predict).lower(weights, x).compile()
    memory = program.memory_analysis().temp_size_in_bytes
    seconds = _common.interleaved(
        {"": lambda: jax.block_until_ready(program(weights, x))}, repeats
    )[""]
    return 1e3 * seconds, memory / 2**20


def slope(points, column):
    """Growth between the last two sizes, as a power of the number of nodes."""
    (n, *first), (m, *last) = points[-2:]
    return math.log(last[column] / first[column]) / math.log(m / n)


def draw(lines):
    figure = Figure(figsize=(12, 4.5), layout="constrained")
    axes = figure.subplots(1, 2)
    for name, points in lines.items():
        nodes, milliseconds, megabytes = zip(*points, strict=True)
        style = "--" if "list" in name else "-"
        axes[0].plot(nodes, milliseconds, style, marker=".", label=name)
        axes[1].plot(nodes, megabytes, style, marker=".", label=name)
    axes[0].set(ylabel="CPU time of a call (ms)", title="Time, batch 1")
    axes[1].set(ylabel="memory beside weights (MB)", title="Memory, batch 1")
    for axis in axes:
        axis.set(xscale="log", yscale="log", xlabel="nodes")
        axis.grid(alpha=0.3, which="both")
    handles = axes[1].get_legend_handles_labels()
    figure.legend(*handles, loc="outside right center", frameon=False)
    return figure


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", help="default: all there are")
    parser.add_argument("--parameters", type=int, default=200_000)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument(
        "--nodes",
        type=int,
        nargs="+",
        default=[5, 10, 20, 50, 100, 200, 500, 1000],
    )
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--limit", type=float, default=1000.0, help="milliseconds of a call"
    )
    parser.add_argument("--output", default="scaling", help="file stem")
    arguments = parser.parse_args()
    lines = {}
    for name in _common.available(arguments.models):
        model = _common.make(name, arguments.parameters, arguments.layers)
        for neighbors in (False, True) if name in LISTS else (False,):
            label = f"{name}, list of {NEIGHBORS}" if neighbors else name
            points = []
            for nodes in arguments.nodes:
                point = measure(model, nodes, neighbors, arguments.repeats)
                points.append((nodes, *point))
                milliseconds, megabytes = point
                print(
                    f"{label} {nodes}: {milliseconds:.3f} ms, "
                    f"{megabytes:.2f} MB",
                    flush=True,
                )
                if point[0] > arguments.limit:
                    break
            lines[label] = points
            print(
                f"{label}: time grows as N^{slope(points, 0):.2f}, memory as "
                f"N^{slope(points, 1):.2f}",
                flush=True,
            )
    with open(f"{arguments.output}.csv", "w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["model", "nodes", "milliseconds", "megabytes"])
        for name, points in lines.items():
            rows.writerows([name, *point] for point in points)
    draw(lines).savefig(f"{arguments.output}.png", dpi=90)


if __name__ == "__main__":
    main()
