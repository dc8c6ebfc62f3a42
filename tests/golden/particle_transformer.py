"""Writes particle_transformer.npz: logits of weaver-core, random weights.

    pip install torch weaver-core==0.5.3
    python tests/golden/particle_transformer.py

A small ParT, configured otherwise like the public weights, in float64. Its
constituents are heavy, so that float32 knows their masses.
"""

import pathlib

import numpy as np
import torch
from weaver.nn.model.ParticleTransformer import ParticleTransformer

FILE = pathlib.Path(__file__).with_suffix(".npz")
SIZES = dict(
    embed_dims=[8, 12, 8],
    pair_embed_dims=[4],
    num_heads=2,
    num_layers=2,
    num_cls_layers=1,
)


def jets(rng, sizes=(12, 7, 3, 1), nodes=12):
    """Four-momenta (E, px, py, pz) and mask."""
    shape = len(sizes), nodes
    axis = rng.uniform([-1.5, -3], [1.5, 3], size=(len(sizes), 2))
    eta = axis[:, :1] + rng.normal(size=shape, scale=0.3)
    phi = axis[:, 1:] + rng.normal(size=shape, scale=0.3)
    pt = rng.lognormal(2.0, 1.0, size=shape)
    space = pt * np.array([np.cos(phi), np.sin(phi), np.sinh(eta)])
    mass = rng.uniform(0.5, 1.0, size=shape) * np.sqrt((space**2).sum(0))
    energy = np.sqrt((space**2).sum(0) + mass**2)
    mask = np.arange(nodes) < np.array(sizes)[:, None]
    momenta = np.stack([energy, *space], axis=-1) * mask[..., None]
    return momenta.astype("float32"), mask


def features(momenta, mask):
    """As JetClass_kin.yaml of the public weights says, `(B, 7, N)`."""
    p = momenta.astype("float64")
    jet = p.sum(axis=1, keepdims=True)

    def polar(q):
        pt = np.hypot(q[..., 1], q[..., 2])
        eta = np.arcsinh(q[..., 3] / np.where(pt > 0, pt, 1.0))
        return pt, eta, np.arctan2(q[..., 2], q[..., 1]), q[..., 0]

    (pt, eta, phi, energy), total = polar(p), polar(jet)
    away = np.where(total[1] > 0, 1, -1) * (eta - total[1])
    turn = (phi - total[2] + np.pi) % (2 * np.pi) - np.pi
    with np.errstate(divide="ignore"):
        columns = [
            (np.log(pt) - 1.7) * 0.7,
            (np.log(energy) - 2.0) * 0.7,
            (np.log(pt / total[0]) + 4.7) * 0.7,
            (np.log(energy / total[3]) + 4.7) * 0.7,
            (np.hypot(away, turn) - 0.2) * 4.0,
            away,
            turn,
        ]
    x = np.clip(np.stack(columns, axis=1), -5, 5)
    return np.where(mask[:, None], x, 0.0)


def weights(rng, key, shape):
    """Such that the logits depend on each of them, and on the jet."""
    if len(shape) > 1:
        return rng.normal(size=shape, scale=2 * shape[1] ** -0.5)
    if key.endswith(("bias", "running_mean")):
        return rng.normal(size=shape, scale=0.5)
    return rng.uniform(0.5, 1.5, size=shape)


def main():
    """Writes the file."""
    rng = np.random.default_rng(0)
    model = ParticleTransformer(
        input_dim=7,
        num_classes=3,
        use_pre_activation_pair=False,
        trim=False,
        **SIZES,
    )
    state = {
        key: weights(rng, key, a.shape).astype("float32")
        for key, a in model.state_dict().items()
        if not key.endswith("num_batches_tracked")
    }
    tensors = {key: torch.tensor(a) for key, a in state.items()}
    model.load_state_dict(tensors, strict=False)
    model.double().eval()
    momenta, mask = jets(rng)
    vectors = np.roll(momenta, -1, axis=-1).astype("float64")
    with torch.no_grad():
        logits = model(
            torch.tensor(features(momenta, mask)),
            v=torch.tensor(vectors.transpose(0, 2, 1).copy()),
            mask=torch.tensor(mask[:, None]),
        )
    np.savez_compressed(
        FILE,
        four_momenta=momenta,
        mask=mask,
        logits=logits.numpy(),
        **{f"mod.{key}": a for key, a in state.items()},
    )
    print(FILE.stat().st_size, "bytes", logits.numpy())


if __name__ == "__main__":
    main()
