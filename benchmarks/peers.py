"""Time of this package's models and of other packages', side by side.

    pip install lgatr ezgatr egnn-pytorch e3nn mace-torch
    OMP_NUM_THREADS=1 taskset -c 0 python benchmarks/peers.py

Inference, and a training step of Adam (ours inside `fit`, the others in a bare
loop), on one core. The models are called in turn, those on JAX in a process of
their own; medians of CPU time. A package that is not installed is left out.
Writes peers.csv and peers.png.
"""

import argparse
import csv
import os
import statistics
import subprocess
import sys
import time

os.environ["KERAS_BACKEND"] = "jax" if "--child" in sys.argv else "torch"

import keras
from matplotlib.figure import Figure

import keras_remul as kr

import _common  # isort: skip

CHILD = "--child"
STEPS = 3
KINDS = {"inference": "Inference", "step": "Training step"}
OURS = {
    "Transformer": dict(num_layers=4, hidden_dim=64, num_heads=4),
    "EGNN": dict(num_layers=4, hidden_dim=64),
    "MessagePassingNetwork": dict(num_layers=4, hidden_dim=64),
}


class Ours:
    """One of our models, as functions without arguments for each size.

    Args:
        name: of the class.
    """

    def __init__(self, name):
        keras.utils.set_random_seed(0)
        self.model = getattr(kr.models, name)(**OURS[name])
        x, _ = _common.data(2, 5)
        self.model.build({key: value.shape for key, value in x.items()})
        self.model.compile(keras.optimizers.Adam(1e-4), "mse")
        self.about = ", ".join(f"{k}={v}" for k, v in OURS[name].items())
        self.parameters = self.model.count_params()

    def calls(self, kind, batch, nodes):
        if kind == "inference":
            x = _common.data(batch, nodes)[0]
            x = {key: keras.ops.convert_to_tensor(a) for key, a in x.items()}
            predict = _common.inference(self.model)
            return lambda: predict(x)
        x, y = _common.data(batch * STEPS, nodes)
        return lambda: self.model.fit(x, y, batch_size=batch, verbose=0)

    def count(self, kind):
        """How many answers, or steps, a call makes."""
        return 1 if kind == "inference" else STEPS


class Compiled(Ours):
    """The same by `kr.compiled`, inference only."""

    answer = None

    def calls(self, kind, batch, nodes):
        if kind != "inference":
            return None
        if self.answer is None:
            self.answer = kr.compiled(self.model, _common.data(2, 5)[0])
        x = _common.data(batch, nodes)[0]
        return lambda: self.answer(x)


class Elsewhere(Ours):
    """The models of a child process on JAX, called there.

    Args:
        name: of the class.
        child: the process.
    """

    def __init__(self, name, child):
        self.name, self.child = name, child
        self.about, parameters = self.ask("about", 0, 0).split("\t")
        self.parameters = int(parameters)

    def ask(self, *words):
        print(self.name, *words, sep="\t", file=self.child.stdin, flush=True)
        return self.child.stdout.readline().rstrip("\n")

    def calls(self, kind, batch, nodes):
        return lambda: float(self.ask(kind, batch, nodes))


def seconds(function):
    """CPU time of a call; of the child, where that says so."""
    start = time.process_time()
    found = function()
    used = time.process_time() - start
    return found if isinstance(found, float) else used


def serve():
    """The child: a line `name, kind, batch, nodes` in, one with seconds out."""
    models, made = {}, {}
    for line in sys.stdin:
        name, kind, batch, nodes = line.split("\t")
        if name not in models:
            models[name] = Ours(name)
        model = models[name]
        if kind == "about":
            print(model.about, model.parameters, sep="\t", flush=True)
            continue
        key = name, kind, int(batch), int(nodes)
        if key not in made:
            made.clear()  # keeps the arrays of one size
            made[key] = model.calls(*key[1:])
        print(seconds(made[key]), flush=True)


def start_child():
    environment = {
        **os.environ,
        "KERAS_BACKEND": "jax",
        "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false "
        "intra_op_parallelism_threads=1",
    }
    return subprocess.Popen(
        [sys.executable, __file__, CHILD],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )


def entrants(child):
    """name -> what has `calls`, `about` and `parameters`."""
    from _peers import PEERS, Peer

    found = {"Transformer, JAX": Elsewhere("Transformer", child)}
    found["Transformer, PyTorch"] = Ours("Transformer")
    found["Transformer, PyTorch, kr.compiled"] = Compiled("Transformer")
    for name in ("EGNN", "MessagePassingNetwork"):
        found[f"{name}, PyTorch"] = Ours(name)
    for name, make in PEERS.items():
        try:
            found[name] = Peer(make)
        except ImportError as error:
            print(f"# {name} is left out: {error}", flush=True)
    for name, entrant in found.items():
        print(f"# {name}: {entrant.about}; {entrant.parameters} parameters")
    return found


def measure(functions, arguments):
    """Median seconds of each; the slow ones are called less often."""
    spent, times = {}, {name: [] for name in functions}
    for name, function in functions.items():
        function()
        spent[name] = seconds(function)
    for repeat in range(arguments.repeats):
        for name, function in functions.items():
            if not repeat or spent[name] < arguments.budget:
                times[name].append(seconds(function))
                spent[name] += times[name][-1]
    return {name: statistics.median(t) for name, t in times.items()}


def rows_of(found, arguments):
    for kind in arguments.kinds:
        for batch in arguments.batch:
            for nodes in arguments.nodes:
                functions = {
                    name: entrant.calls(kind, batch, nodes)
                    for name, entrant in found.items()
                }
                functions = {k: f for k, f in functions.items() if f}
                for name, t in measure(functions, arguments).items():
                    yield {
                        "model": name,
                        "parameters": found[name].parameters,
                        "kind": kind,
                        "nodes": nodes,
                        "batch": batch,
                        "milliseconds": round(
                            1e3 * t / found[name].count(kind), 4
                        ),
                    }


def plot(rows, path):
    names = list(dict.fromkeys(row["model"] for row in rows))[::-1]
    batches = sorted({row["batch"] for row in rows})
    figure = Figure(figsize=(5 * len(batches), 7.5), layout="constrained")
    axes = figure.subplots(2, len(batches), squeeze=False, sharey=True)
    sizes = sorted({row["nodes"] for row in rows})
    for line, kind in zip(axes, KINDS, strict=True):
        for axis, batch in zip(line, batches, strict=True):
            for nodes, color in zip(sizes, ("C0", "C1", "C3"), strict=False):
                points = [
                    (row["milliseconds"], names.index(row["model"]))
                    for row in rows
                    if (row["kind"], row["batch"], row["nodes"])
                    == (kind, batch, nodes)
                ]
                if not points:
                    continue
                label = f"{nodes} nodes"
                axis.plot(*zip(*points, strict=True), "o", c=color, label=label)
            axis.set(xscale="log", xlabel="CPU time (ms), less is better")
            axis.set_title(f"{KINDS[kind]}, batch {batch}")
            axis.set_yticks(range(len(names)), names)
            axis.grid(alpha=0.3)
    axes[0][0].legend(frameon=False, fontsize="small")
    figure.savefig(path, dpi=90)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nodes", type=int, nargs="+", default=[5, 31, 100])
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 100])
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=[*KINDS])
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument(
        "--budget", type=float, default=5.0, help="seconds for each"
    )
    parser.add_argument("--output", default="peers", help="file stem")
    arguments = parser.parse_args()
    child, rows = start_child(), []
    for row in rows_of(entrants(child), arguments):
        rows.append(row)
        print(*row.values(), sep="\t", flush=True)
    child.stdin.close()
    child.wait()
    with open(f"{arguments.output}.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    plot(rows, f"{arguments.output}.png")


if __name__ == "__main__":
    serve() if CHILD in sys.argv else main()
