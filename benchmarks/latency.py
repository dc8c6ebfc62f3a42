"""Time of one answer, by the form in which the model is asked for it.

    OMP_NUM_THREADS=1 KERAS_BACKEND=torch taskset -c 0 python \
        benchmarks/latency.py

A Transformer at batch 1: called as it is, by `predict`, by `kr.compiled`, and
as each file that `kr.export` writes on this backend, read by what runs it. One
core; calls interleaved, medians of CPU time in milliseconds, as a Markdown
table. On PyTorch `torch.compile(model)` stands beside them.
"""

import argparse
import importlib.util
import pathlib
import statistics
import tempfile
import time

import keras

import _common  # isort: skip

import keras_remul as kr
from keras_remul.presets import exporting

SUFFIX = {"onnx": "model.onnx", "tf_saved_model": "model", "torch": "m.pt2"}


def forms(model, sample, folder):
    """Functions of inputs, by name."""
    name = keras.backend.backend()
    found = {
        "`model(x)`": lambda x: keras.ops.convert_to_numpy(model(x)),
        "`model.predict(x)`": lambda x: model.predict(x, verbose=0),
    }
    if name == "torch":
        import torch

        whole = torch.compile(model)
        found["`torch.compile(model)`"] = lambda x: keras.ops.convert_to_numpy(
            whole(keras.tree.map_structure(torch.as_tensor, x))
        )
        found = {form: torch.no_grad()(f) for form, f in found.items()}
    answer = kr.compiled(model, sample)
    found["`kr.compiled`"] = lambda x: keras.ops.convert_to_numpy(answer(x))
    for format, backends in exporting.PACKAGES.items():
        if name not in backends or not all(
            map(importlib.util.find_spec, backends[name])
        ):
            continue
        path = pathlib.Path(folder) / SUFFIX[format]
        done = kr.export(model, path, sample, format)
        found[f"`{format}` file"] = exporting.load(path, format, done.shapes)
    return found


def milliseconds(functions, x, repeats, calls):
    """Median CPU time of a call of each, interleaved."""
    times = {name: [] for name in functions}
    for f in functions.values():
        f(x), f(x)  # compiles
    for _ in range(repeats):
        for name, f in functions.items():
            start = time.process_time()
            for _ in range(calls):
                f(x)
            times[name].append(1e3 * (time.process_time() - start) / calls)
    return {name: statistics.median(t) for name, t in times.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (
        ("parameters", 200_000),
        ("layers", 4),
        ("repeats", 15),
        ("calls", 20),
    ):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--nodes", type=int, nargs="+", default=[5, 31])
    arguments = parser.parse_args()
    model = _common.make("Transformer", arguments.parameters, arguments.layers)
    columns = []
    with tempfile.TemporaryDirectory() as folder:
        functions = forms(model, _common.data(2, 5)[0], folder)
        for nodes in arguments.nodes:
            x = _common.data(1, nodes)[0]
            x = {key: x[key] for key in sorted(x)}
            columns.append(
                milliseconds(functions, x, arguments.repeats, arguments.calls)
            )
    print(f"| {keras.backend.backend()} |", end="")
    print("".join(f" {nodes} nodes, ms |" for nodes in arguments.nodes))
    print("|---" * (1 + len(columns)) + "|")
    for name in functions:
        cells = "".join(f" {column[name]:.2f} |" for column in columns)
        print(f"| {name} |{cells}")


if __name__ == "__main__":
    main()
