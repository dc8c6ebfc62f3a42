"""Models of equal size, and how they are timed against each other."""

import csv
import os
import statistics
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from keras import ops
from matplotlib.figure import Figure

import keras_remul as kr

# name -> arguments of a model `width` times its smallest width.
WIDTHS = {
    "Transformer": lambda w: dict(hidden_dim=4 * w, num_heads=4),
    "VectorTransformer": lambda w: dict(
        hidden_dim=4 * w, vector_dim=4 * max(1, w // 4), num_heads=4
    ),
    "GATr": lambda w: dict(hidden_dim=4 * w, multivector_dim=16, num_heads=4),
    "SE3Transformer": lambda w: dict(hidden_dim=16, radial_dim=w),
    "EGNN": lambda w: dict(hidden_dim=4 * w),
    "MessagePassingNetwork": lambda w: dict(hidden_dim=4 * w),
}


def available(names=None):
    """The names of the models that there are, checked."""
    known = [name for name in WIDTHS if hasattr(kr.models, name)]
    for name in names or ():
        if name not in known:
            raise ValueError(f"Expected a model of {known}. Received: {name!r}")
    return list(names or known)


def data(batch, nodes):
    """Inputs and labels of random systems."""
    rng = np.random.default_rng(0)

    def normal(channels):
        return rng.normal(size=(batch, nodes, channels)).astype("float32")

    x = {"positions": normal(3), "velocities": normal(3), "charges": normal(1)}
    return x, normal(3)


def make(name, parameters, layers):
    """The built model whose number of parameters is nearest to the wanted.

    Raises:
        ValueError: where it is more than 10 % off.
    """
    x, _ = data(2, 5)
    shapes = {key: value.shape for key, value in x.items()}

    def build(width):
        keras.utils.set_random_seed(0)
        model = getattr(kr.models, name)(
            num_layers=layers, **WIDTHS[name](width)
        )
        model.build(shapes)
        return model

    # Bisection: on JAX each build compiles the initializers of its shapes.
    low, high = 0, 64
    while high - low > 1:
        middle = (low + high) // 2
        if build(middle).count_params() < parameters:
            low = middle
        else:
            high = middle
    candidates = [build(width) for width in (low, high) if width]
    model = min(candidates, key=lambda m: abs(m.count_params() - parameters))
    if abs(model.count_params() / parameters - 1) > 0.1:
        raise ValueError(
            f"No {name} within 10 % of {parameters} parameters: nearest are "
            f"{[m.count_params() for m in candidates]}"
        )
    return model


def inference(model):
    """A function of x that waits for the prediction."""
    backend = keras.backend.backend()
    if backend == "jax":
        import jax

        state = [
            [v.value for v in variables]
            for variables in (
                model.trainable_variables,
                model.non_trainable_variables,
            )
        ]
        f = jax.jit(lambda state, x: model.stateless_call(*state, x)[0])
        return lambda x: jax.block_until_ready(f(state, x))
    if backend == "tensorflow":
        import tensorflow as tf

        f = tf.function(lambda x: model(x, training=False))
        return lambda x: f(x).numpy()
    import torch

    def f(x):
        with torch.no_grad():
            return model(x, training=False)

    return f


def torch_encoder(parameters, layers):
    """`torch.nn.TransformerEncoder` of this size as (inference, step).

    Eager, on the concatenated inputs `(B, N, 7)`; step is one of Adam.
    """
    import torch

    torch.set_num_threads(1)

    def build(width):
        encoder = torch.nn.TransformerEncoderLayer(
            width, 4, 4 * width, 0.0, "gelu", batch_first=True, norm_first=True
        )
        return torch.nn.Sequential(
            torch.nn.Linear(7, width),
            torch.nn.TransformerEncoder(
                encoder, layers, enable_nested_tensor=False
            ),
            torch.nn.Linear(width, 3),
        )

    def size(model):
        return sum(p.numel() for p in model.parameters())

    models = [build(4 * w) for w in range(1, 129)]
    model = min(models, key=lambda m: abs(size(m) - parameters))
    optimizer = torch.optim.Adam(model.parameters())

    def tensor(x):
        x = np.concatenate([ops.convert_to_numpy(a) for a in x.values()], -1)
        return torch.from_numpy(x)

    def predict(x):
        model.eval()
        with torch.no_grad():
            return model(x)

    def step(x, y):
        model.train()
        optimizer.zero_grad()
        torch.nn.functional.mse_loss(model(x), y).backward()
        optimizer.step()

    return model, tensor, predict, step


def interleaved(functions, repeats):
    """Median CPU seconds of each, called in turn: a slow spell strikes all.

    CPU time, of all threads, does not count what other processes take.
    """
    for function in functions.values():
        function()
        function()
    times = {name: [] for name in functions}
    for _ in range(repeats):
        for name, function in functions.items():
            start = time.process_time()
            function()
            times[name].append(time.process_time() - start)
    return {name: statistics.median(t) for name, t in times.items()}


def add_arguments(parser):
    parser.add_argument("--models", nargs="+", help="default: all there are")
    parser.add_argument("--parameters", type=int, default=200_000)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 16, 100])
    parser.add_argument(
        "--nodes", type=int, nargs="+", default=[5, 20, 31, 100]
    )
    parser.add_argument("--repeats", type=int, default=20)


def run(arguments, make_functions, output, steps=1):
    """Times all, prints, and writes `output`.csv and `output`.png.

    Args:
        arguments: those of `add_arguments`.
        make_functions: from batch and nodes to the functions to be timed, by
            name; ratios are to "Transformer".
        output: stem of the files.
        steps: how many steps each call of a function makes.
    """
    rows = []
    for nodes in arguments.nodes:
        for batch in arguments.batch:
            functions = make_functions(batch, nodes)
            print(f"# {nodes} nodes, batch {batch}", flush=True)
            seconds = interleaved(functions, arguments.repeats)
            for name, t in seconds.items():
                rows.append(
                    {
                        "backend": keras.backend.backend(),
                        "model": name,
                        "nodes": nodes,
                        "batch": batch,
                        "milliseconds": round(1e3 * t / steps, 4),
                        "ratio": round(t / seconds["Transformer"], 3),
                    }
                )
                print(*rows[-1].values(), sep="\t", flush=True)
    with open(f"{output}.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    _plot(rows, f"{output}.png")


def _plot(rows, path):
    batches = sorted({row["batch"] for row in rows})
    figure = Figure(figsize=(4 * len(batches), 3.6), layout="constrained")
    axes = figure.subplots(1, len(batches), squeeze=False, sharey=True)[0]
    for axis, batch in zip(axes, batches, strict=True):
        for name in dict.fromkeys(row["model"] for row in rows):
            points = [
                (row["nodes"], row["ratio"])
                for row in rows
                if (row["model"], row["batch"]) == (name, batch)
            ]
            axis.plot(*zip(*points, strict=True), "o-", label=name)
        axis.set(title=f"batch {batch}", xlabel="nodes", yscale="log")
    axes[0].set_ylabel("time / that of Transformer")
    axes[-1].legend(frameon=False, fontsize="small")
    figure.savefig(path, dpi=130)
