"""Public weights of taggers of jets, from a file of them to a preset."""

import hashlib
import re
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from keras_remul.backend.torch_files import read_weights
from keras_remul.presets.converting import particle_net, particle_transformer
from keras_remul.presets.folder import save_to_preset
from keras_remul.utils.causes import cause
from keras_remul.utils.plain_files import read_plain

LARGEST = 2**28  # bytes
REPOSITORY = "github.com/jet-universe/particle_transformer"
CLASSES = "QCD Hbb Hcc Hgg H4q Hqql Zqq Wqq Tbqq Tbl".split()


class Source(NamedTuple):
    """Public weights.

    Attributes:
        file: path in the repository.
        convert: function from arrays to a model.
        sha256: of the file; None where it is not known.
        git: the id of the file in the repository, of its newest commit.
    """

    file: str
    convert: Callable
    sha256: str | None
    git: str


SOURCES = {
    "particlenet": Source(
        "models/ParticleNet_kin.pt",
        particle_net.convert,
        "73aff244c657db0f7b62abe9ad13ec007c17cf10057ff1ad54c320f3bd4a4f26",
        "e3577bd272824e2470e8a12c9b7fe314546da76f",
    ),
    "part": Source(
        "models/ParT_kin.pt",
        particle_transformer.convert,
        None,
        "70a82e78a7dc54601d4b19c089969fd917e397b9",
    ),
}


def convert(name, file, folder, sha256=None):
    """Writes a preset of a file of weights.

    Args:
        name: one of `SOURCES`.
        file: path of the file that was downloaded, or of weights of your own in
            the same format.
        folder: path of the preset.
        sha256: of the file. Defaults to that of the public one.

    Returns:
        The model.

    Raises:
        ValueError: the file has another sha256, none is known, or it holds
            other weights.
        ImportError: PyTorch, which reads the file, is not installed.
        OSError: a file cannot be read or written.
    """
    source = SOURCES[name]
    raw = read_plain(file, LARGEST)
    found = hashlib.sha256(raw).hexdigest()
    _check(source, file, found, sha256)
    model = source.convert(_weights(raw, file))
    facts = {"source_sha256": found}
    if found == source.sha256:
        facts |= {"classes": CLASSES, "license": "MIT"}
    save_to_preset(model, folder, sample(), metadata=facts)
    return model


def _weights(raw, file):
    try:
        return read_weights(raw)
    except ImportError:
        raise
    except Exception as error:
        raise ValueError(
            f"PyTorch finds no weights alone in {file}: {cause(error)}"
        ) from None


def _check(source, file, found, sha256):
    expected = source.sha256 if sha256 is None else sha256.lower()
    if expected is None:
        raise ValueError(
            f"The sha256 of {source.file} is not known here, so give --sha256. "
            f"{file} has {found}; it is the file of {REPOSITORY} if `git "
            f"hash-object` says {source.git} of it."
        )
    if not re.fullmatch("[0-9a-f]{64}", expected):
        raise ValueError(
            f"Expected a sha256 of 64 hexadecimal digits. Received: {sha256!r}"
        )
    if found != expected:
        raise ValueError(
            f"Expected {source.file} of {REPOSITORY} with the sha256 "
            f"{expected}. Received: {file} with {found}. Get the file again."
            if sha256 is None
            else f"Expected a file with the sha256 {expected}. Received: "
            f"{file} with {found}."
        )


def sample(seed=0, sizes=(128, 60, 40, 12)):
    """Inputs to try the models on: random jets of 128 constituents.

    Args:
        seed: of the random numbers.
        sizes: number of constituents of each jet.

    Returns:
        Dict of `"four_momenta"` `(B, 128, 4)` and `"mask"` `(B, 128)`.
    """
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
