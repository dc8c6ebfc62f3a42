"""Inference of our GATr against public ones on PyTorch, at equal size.

    pip install lgatr ezgatr
    OMP_NUM_THREADS=1 KERAS_BACKEND=torch taskset -c 1 python \
        benchmarks/public.py

Four blocks each, eager, calls interleaved, medians of CPU time; a package that
is not installed is left out. Prints their time over ours.
"""

import argparse
import functools
import importlib.util

import torch

import keras_remul as kr

import _common  # isort: skip
import _peers  # isort: skip

CHANNELS = {"positions": 3, "velocities": 3, "charges": 1}


# How each is made, and how wide the multivectors of ours are beside it.
PUBLIC = {
    "lgatr": (dict(multivectors=16, scalars=40, in_scalars=3), 16),
    "ezgatr": (dict(multivectors=32), 32),
}


def ours(parameters, multivector_dim):
    """Our GATr whose number of parameters is nearest."""

    def build(width):
        model = kr.models.GATr(
            num_layers=_peers.LAYERS,
            hidden_dim=width,
            multivector_dim=multivector_dim,
            num_heads=4,
        )
        model.build({key: (1, 5, n) for key, n in CHANNELS.items()})
        return model

    models = [build(width) for width in range(8, 160, 8)]
    return min(models, key=lambda m: abs(m.count_params() - parameters))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 100])
    parser.add_argument("--nodes", type=int, nargs="+", default=[5, 31])
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for name, (arguments_of, multivector_dim) in PUBLIC.items():
        if importlib.util.find_spec(name) is None:
            print(f"{name} is not installed: pip install {name}")
            continue
        theirs, draw, answer = getattr(_peers, name)(**arguments_of)
        theirs.eval()
        size = sum(p.numel() for p in theirs.parameters())
        model = ours(size, multivector_dim)
        print(f"{name}: {size} parameters, ours {model.count_params()}")
        predict = _common.inference(model)
        for batch in arguments.batch:
            for nodes in arguments.nodes:
                x, _ = _common.data(batch, nodes)
                x = {key: torch.from_numpy(a) for key, a in x.items()}
                inputs = draw(batch, nodes)

                def other(run=answer, theirs=theirs, inputs=inputs):
                    with torch.no_grad():
                        run(theirs, inputs)

                seconds = _common.interleaved(
                    {"ours": functools.partial(predict, x), name: other},
                    arguments.repeats,
                )
                ratio = seconds[name] / seconds["ours"]
                print(
                    f"batch {batch}, {nodes} nodes: {ratio:.2f} "
                    f"(ours {1e3 * seconds['ours']:.1f} ms)",
                    flush=True,
                )


if __name__ == "__main__":
    main()
