"""Networks of other packages, of four layers where they allow it.

Each function returns `(network, inputs, answer)`: `inputs(batch, nodes)` draws
a tuple of tensors, and `answer(network, inputs)` is a vector of each node.
About 200,000 parameters, except e3nn and mace, whose usual small networks are
smaller. Imports are inside: what is not installed is left out.
"""

import functools
import warnings

import torch

LAYERS = 4
# Pairs of nodes, for packages that hold arrays of all of them at once.
MOST_PAIRS = 100_000


def encoder():
    """torch.nn.TransformerEncoder, width 64"""
    layer = torch.nn.TransformerEncoderLayer(
        64, 4, 256, 0.0, "gelu", batch_first=True, norm_first=True
    )
    network = torch.nn.Sequential(
        torch.nn.Linear(7, 64),
        torch.nn.TransformerEncoder(layer, LAYERS, enable_nested_tensor=False),
        torch.nn.Linear(64, 3),
    )
    return network, lambda b, n: (torch.randn(b, n, 7),), call


def lgatr(multivectors=8, scalars=32, in_scalars=1):
    """L-GATr (arXiv 2405.14806): 8 multivectors, 32 scalars"""
    from lgatr import LGATr

    network = LGATr(
        num_blocks=LAYERS,
        in_mv_channels=2,
        out_mv_channels=1,
        hidden_mv_channels=multivectors,
        in_s_channels=in_scalars,
        out_s_channels=1,
        hidden_s_channels=scalars,
        attention=dict(num_heads=4),
        mlp=dict(),
    )
    return (
        network,
        lambda b, n: (torch.randn(b, n, 2, 16), torch.randn(b, n, in_scalars)),
        first_of(call),
    )


def lgatr_slim():
    """Slim L-GATr: 24 vectors, 64 scalars"""
    from lgatr.nets.slim import LGATrSlim

    network = LGATrSlim(
        num_blocks=LAYERS,
        in_v_channels=2,
        out_v_channels=1,
        hidden_v_channels=24,
        in_s_channels=1,
        out_s_channels=1,
        hidden_s_channels=64,
        num_heads=4,
    )
    return (
        network,
        lambda b, n: (torch.randn(b, n, 2, 4), torch.randn(b, n, 1)),
        first_of(call),
    )


def ezgatr(multivectors=16):
    """GATr (arXiv 2305.18415) of multivectors alone: 16"""
    from ezgatr.nets.mv_only_gatr import MVOnlyGATrConfig, MVOnlyGATrModel

    config = MVOnlyGATrConfig(
        num_layers=LAYERS,
        size_channels_in=2,
        size_channels_out=1,
        size_channels_hidden=multivectors,
        size_channels_intermediate=multivectors,
        attn_num_heads=4,
        attn_is_causal=False,
    )
    return (
        MVOnlyGATrModel(config),
        lambda b, n: (torch.randn(b, n, 2, 16),),
        call,
    )


def egnn_pytorch():
    """EGNN (arXiv 2102.09844), width 60, all pairs"""
    from egnn_pytorch import EGNN_Network

    def inputs(batch, nodes):
        check_pairs(batch, nodes)
        return torch.randn(batch, nodes, 60), torch.randn(batch, nodes, 3)

    network = EGNN_Network(depth=LAYERS, dim=60)
    return network, inputs, lambda network, x: network(*x)[1]


def e3nn():
    """SimpleNetwork of e3nn, l = 0 and 1, 16 of each, 3 layers, all pairs"""
    from e3nn.nn.models.v2106.gate_points_networks import SimpleNetwork

    network = SimpleNetwork(
        "2x0e + 1x1o",
        "1x1o",
        max_radius=20.0,
        num_neighbors=10,
        num_nodes=10,
        mul=16,
        layers=3,
        lmax=1,
        pool_nodes=False,
    )

    def inputs(batch, nodes):
        check_pairs(batch, nodes)
        size = batch * nodes
        return torch.randn(size, 3), torch.randn(size, 5), owners(batch, nodes)

    def answer(network, x):
        return network(dict(zip(("pos", "x", "batch"), x, strict=True)))

    return network, inputs, answer


def mace():
    """MACE, 2 layers, 32x0e + 32x1o: energy and forces, 5 A, 0.1 atoms / A^3"""
    from e3nn import o3
    from mace import modules

    network = modules.ScaleShiftMACE(
        r_max=5.0,
        num_bessel=8,
        num_polynomial_cutoff=5,
        max_ell=3,
        interaction_cls=modules.interaction_classes[
            "RealAgnosticResidualInteractionBlock"
        ],
        interaction_cls_first=modules.interaction_classes[
            "RealAgnosticInteractionBlock"
        ],
        num_interactions=2,
        num_elements=1,
        hidden_irreps=o3.Irreps("32x0e + 32x1o"),
        MLP_irreps=o3.Irreps("16x0e"),
        gate=torch.nn.functional.silu,
        atomic_energies=torch.zeros(1, 1).numpy(),
        avg_num_neighbors=20.0,
        atomic_numbers=[6],
        correlation=3,
        atomic_inter_scale=1.0,
        atomic_inter_shift=0.0,
    )

    def answer(network, x):
        with torch.enable_grad():
            found = network({**x[0]}, training=network.training)
        return found["forces"]

    return network, lambda b, n: (molecules(b, n, 5.0),), answer


def molecules(batch, nodes, cutoff):
    """Carbon atoms in a cube, as dense as those of an organic molecule."""
    x = torch.rand(batch, nodes, 3) * (nodes / 0.1) ** (1 / 3)
    near = torch.cdist(x, x) < cutoff
    near &= ~torch.eye(nodes, dtype=torch.bool)
    sample, i, j = near.nonzero().T
    edges = torch.stack([sample * nodes + i, sample * nodes + j])
    check_pairs(1, edges.shape[1] ** 0.5)
    shifts = torch.zeros(edges.shape[1], 3)
    return {
        "positions": x.reshape(-1, 3),
        "node_attrs": torch.ones(batch * nodes, 1),
        "edge_index": edges,
        "shifts": shifts,
        "unit_shifts": shifts,
        "cell": torch.zeros(3 * batch, 3),
        "batch": owners(batch, nodes),
        "ptr": torch.arange(0, batch * nodes + 1, nodes),
        "head": torch.zeros(batch, dtype=torch.long),
    }


def owners(batch, nodes):
    return torch.arange(batch).repeat_interleave(nodes)


def check_pairs(batch, nodes):
    if batch * nodes**2 > MOST_PAIRS:
        raise MemoryError(f"more than {MOST_PAIRS} pairs")


def call(network, inputs):
    return network(*inputs)


def first_of(call):
    return lambda network, inputs: call(network, inputs)[0]


PEERS = {
    "torch encoder": encoder,
    "lgatr": lgatr,
    "lgatr, slim": lgatr_slim,
    "ezgatr": ezgatr,
    "egnn-pytorch": egnn_pytorch,
    "e3nn": e3nn,
    "mace-torch": mace,
}


class Peer:
    """One of them, as functions without arguments for each size.

    Args:
        make: a function of this module.
    """

    def __init__(self, make):
        torch.manual_seed(0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.network, self.inputs, self.answer = make()
        self.about = make.__doc__
        self.parameters = sum(p.numel() for p in self.network.parameters())
        self.optimizer = torch.optim.Adam(self.network.parameters(), 1e-4)

    def calls(self, kind, batch, nodes):
        """The function to be timed, or None where memory does not suffice."""
        try:
            inputs = self.inputs(batch, nodes)
        except MemoryError:
            return None
        return functools.partial(getattr(self, kind), inputs)

    def count(self, kind):
        """How many answers, or steps, a call makes."""
        return 1

    def inference(self, inputs):
        self.network.eval()
        with torch.no_grad():
            self.answer(self.network, inputs)

    def step(self, inputs):
        self.network.train()
        self.optimizer.zero_grad()
        (self.answer(self.network, inputs) ** 2).mean().backward()
        self.optimizer.step()
