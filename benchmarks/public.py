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

LAYERS = 4
CHANNELS = {"positions": 3, "velocities": 3, "charges": 1}


def lgatr():
    """L-GATr (arXiv 2405.14806) with multivectors and scalars."""
    from lgatr import LGATr

    model = LGATr(
        num_blocks=LAYERS,
        in_mv_channels=2,
        out_mv_channels=1,
        hidden_mv_channels=16,
        in_s_channels=3,
        out_s_channels=1,
        hidden_s_channels=40,
        attention=dict(num_heads=4),
        mlp=dict(),
    )
    return model.eval(), True


def ezgatr():
    """GATr (arXiv 2305.18415) with multivectors alone."""
    from ezgatr.nets.mv_only_gatr import MVOnlyGATrConfig, MVOnlyGATrModel

    config = MVOnlyGATrConfig(
        num_layers=LAYERS,
        size_channels_in=2,
        size_channels_out=1,
        size_channels_hidden=32,
        size_channels_intermediate=32,
        attn_num_heads=4,
        attn_is_causal=False,
    )
    return MVOnlyGATrModel(config).eval(), False


# How wide the multivectors of ours are beside each.
PUBLIC = {lgatr: 16, ezgatr: 32}


def ours(parameters, multivector_dim):
    """Our GATr whose number of parameters is nearest."""

    def build(width):
        model = kr.models.GATr(
            num_layers=LAYERS,
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
    for make, multivector_dim in PUBLIC.items():
        name = make.__name__
        if importlib.util.find_spec(name) is None:
            print(f"{name} is not installed: pip install {name}")
            continue
        theirs, takes_scalars = make()
        size = sum(p.numel() for p in theirs.parameters())
        model = ours(size, multivector_dim)
        print(f"{name}: {size} parameters, ours {model.count_params()}")
        predict = _common.inference(model)
        for batch in arguments.batch:
            for nodes in arguments.nodes:
                x, _ = _common.data(batch, nodes)
                x = {key: torch.from_numpy(a) for key, a in x.items()}
                inputs = [torch.randn(batch, nodes, 2, 16)]
                if takes_scalars:
                    inputs.append(torch.randn(batch, nodes, 3))

                def other(theirs=theirs, inputs=inputs):
                    with torch.no_grad():
                        theirs(*inputs)

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
