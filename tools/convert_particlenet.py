"""Converts public weights of ParticleNet, trained on JetClass, to a preset.

    python tools/convert_particlenet.py ParticleNet_kin.pt FOLDER

ParticleNet_kin.pt is of github.com/jet-universe/particle_transformer, folder
`models` (MIT, Huilin Qu, Congqiao Li and Sitian Qian). Its sha256 is checked,
and it is read without running code of it, which needs PyTorch. The preset has
the ten logits of `CLASSES`; give it to `from_preset` on each backend.
"""

import argparse
import hashlib
import io

import keras
import numpy as np

import keras_remul as kr
from keras_remul.utils.plain_files import read_plain

SHA256 = "73aff244c657db0f7b62abe9ad13ec007c17cf10057ff1ad54c320f3bd4a4f26"
LARGEST = 2**24
CLASSES = "QCD Hbb Hcc Hgg H4q Hqql Zqq Wqq Tbqq Tbl".split()


def read(file):
    """The weights in a file, by their names there, as NumPy arrays.

    Args:
        file: path of ParticleNet_kin.pt.

    Raises:
        ValueError: it is another file.
    """
    raw = read_plain(file, LARGEST)
    found = hashlib.sha256(raw).hexdigest()
    if found != SHA256:
        raise ValueError(
            f"Expected ParticleNet_kin.pt with the sha256 {SHA256}. Received: "
            f"{file} with {found}. Get the file again."
        )
    import torch

    state = torch.load(io.BytesIO(raw), map_location="cpu", weights_only=True)
    return {key.removeprefix("mod."): a.numpy() for key, a in state.items()}


def _dense(layer, state, name):
    values = [np.squeeze(state[f"{name}.weight"]).T]
    if layer.use_bias:
        values.append(state[f"{name}.bias"])
    layer.set_weights(values)


def _norm(layer, state, name):
    parts = "weight", "bias", "running_mean", "running_var"
    layer.set_weights([state[f"{name}.{part}"] for part in parts])


def convert(state):
    """The `ParticleNet` with these weights.

    Args:
        state: dict of names, as `read` gives it, to NumPy arrays.
    """
    model = kr.models.ParticleNet.variant("jetclass")
    model.build({"four_momenta": (None, None, 4), "mask": (None, None)})
    _norm(model.norm, state, "bn_fts")
    for i, block in enumerate(model.blocks):
        name = f"edge_convs.{i}"
        for j, (conv, norm) in enumerate(
            zip(block.convs, block.norms, strict=True)
        ):
            _dense(conv, state, f"{name}.convs.{j}")
            _norm(norm, state, f"{name}.bns.{j}")
        _dense(block.shortcut, state, f"{name}.sc")
        _norm(block.shortcut_norm, state, f"{name}.sc_bn")
    _dense(model.hidden, state, "fc.0.0")
    _dense(model.head, state, "fc.1")
    return model


def jets(seed=0, sizes=(128, 60, 40, 12)):
    """Inputs to try the model on: random jets of 128 constituents."""
    rng = np.random.default_rng(seed)
    shape = len(sizes), 128
    pt = 300 * rng.dirichlet(np.full(128, 0.3), size=len(sizes)) + 0.5
    axis = rng.uniform([-1.5, -3], [1.5, 3], size=(len(sizes), 2))
    eta = axis[:, :1] + rng.normal(size=shape, scale=0.3)
    phi = axis[:, 1:] + rng.normal(size=shape, scale=0.3)
    space = pt * np.array([np.cos(phi), np.sin(phi), np.sinh(eta)])
    energy = np.sqrt((space**2).sum(0) + 0.14**2)
    mask = np.arange(128) < np.array(sizes)[:, None]
    momenta = np.stack([energy, *space], axis=-1) * mask[..., None]
    return {
        "four_momenta": momenta.astype("float32"),
        "mask": mask.astype("float32"),
    }


def main(argv=None):
    """Converts a file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", help="ParticleNet_kin.pt")
    parser.add_argument("folder", help="of the preset that is written")
    arguments = parser.parse_args(argv)
    model = convert(read(arguments.file))
    metadata = {"source_sha256": SHA256, "classes": CLASSES, "license": "MIT"}
    kr.save_to_preset(model, arguments.folder, jets(), metadata=metadata)
    print(f"{arguments.folder}: {model.count_params():,} numbers")


if __name__ == "__main__":
    keras.utils.set_random_seed(0)
    main()
