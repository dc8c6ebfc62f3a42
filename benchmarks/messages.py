"""Time of message passing, here and in another checkout, call by call in turn.

    OMP_NUM_THREADS=1 KERAS_BACKEND=torch python benchmarks/messages.py \
        --before ../keras_remul_before

EGNN and MessagePassingNetwork: inference, and a forward and backward pass.
Medians of CPU time; both packages are in one process, so that a slow spell
strikes both. `--neighbors 16 --batch 1 --nodes 500 1000 2000 5000` shows how
they grow with lists. Without `--before` there is one column.
"""

import argparse
import importlib
import os
import pathlib
import statistics
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from keras import ops

MODELS = ("EGNN", "MessagePassingNetwork")
HERE = pathlib.Path(__file__).parents[1]


def package(root):
    """`keras_remul` of a checkout, whichever was imported before."""
    for name in [n for n in sys.modules if n.split(".")[0] == "keras_remul"]:
        del sys.modules[name]
    sys.path.insert(0, str(pathlib.Path(root).resolve()))
    found = importlib.import_module("keras_remul")
    sys.path.pop(0)
    return found


def data(batch, nodes, neighbors):
    rng = np.random.default_rng(0)
    widths = {"positions": 3, "velocities": 3, "charges": 1}
    x = {
        key: rng.normal(size=(batch, nodes, width)).astype("float32")
        for key, width in widths.items()
    }
    if neighbors:
        lists = rng.integers(nodes, size=(batch, nodes, neighbors))
        x["neighbors"] = lists.astype("int32")
    return {key: ops.convert_to_tensor(a) for key, a in x.items()}


def passes(model):
    """Inference, and a step without the optimizer; each waits for the end."""
    if keras.backend.backend() == "jax":
        import jax

        weights = [v.value for v in model.trainable_variables]
        others = [v.value for v in model.non_trainable_variables]

        def predict(weights, x):
            return model.stateless_call(weights, others, x)[0]

        def loss(weights, x):
            y = predict(weights, x) - x["positions"]
            return (y**2).mean()

        run, step = jax.jit(predict), jax.jit(jax.grad(loss))
        return (
            lambda x: jax.block_until_ready(run(weights, x)),
            lambda x: jax.block_until_ready(step(weights, x)),
        )
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        weights = [v.value for v in model.trainable_variables]

        @tf.function
        def gradients(x):
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean((model(x) - x["positions"]) ** 2)
            return tape.gradient(loss, weights)

        run = tf.function(model)
        return lambda x: run(x).numpy(), lambda x: gradients(x)[0].numpy()
    import torch

    def predict(x):
        with torch.no_grad():
            model(x)

    def step(x):
        model.zero_grad()
        ((model(x) - x["positions"]) ** 2).mean().backward()

    return predict, step


def interleaved(functions, x, repeats):
    """Median milliseconds of each."""
    times = [[] for _ in functions]
    for repeat in range(repeats + 2):
        for function, found in zip(functions, times, strict=True):
            start = time.process_time()
            function(x)
            if repeat > 1:  # two to compile and to warm up
                found.append(1e3 * (time.process_time() - start))
    return [statistics.median(found) for found in times]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--before", help="root of another checkout")
    parser.add_argument("--nodes", type=int, nargs="+", default=[31])
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--neighbors", type=int, default=0, help="0: all")
    parser.add_argument("--repeats", type=int, default=9)
    arguments = parser.parse_args()
    roots = [arguments.before, HERE] if arguments.before else [HERE]
    found = {}
    for root in roots:
        kr = package(root)
        for name in MODELS:
            keras.utils.set_random_seed(0)
            model = getattr(kr.models, name)(
                num_layers=arguments.layers,
                hidden_dim=arguments.width,
                edge_products=("charges",),
            )
            model(data(2, 5, 0))
            found.setdefault(name, []).append(passes(model))
    print("backend", "model", "pass", "nodes", "ms", "before/here", sep="\t")
    for nodes in arguments.nodes:
        x = data(arguments.batch, nodes, arguments.neighbors)
        for name, pairs in found.items():
            predict, step = zip(*pairs, strict=True)
            kinds = {"inference": predict, "step": step}
            for kind, functions in kinds.items():
                ms = interleaved(functions, x, arguments.repeats)
                print(
                    keras.backend.backend(),
                    name,
                    kind,
                    nodes,
                    " ".join(f"{t:.1f}" for t in ms),
                    f"{ms[0] / ms[-1]:.2f}",
                    sep="\t",
                    flush=True,
                )


if __name__ == "__main__":
    main()
