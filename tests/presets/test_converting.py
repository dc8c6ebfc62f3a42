"""`keras-remul convert`: files of PyTorch, and what they may not hold."""

import hashlib
import pathlib
import re

import numpy as np
import pytest
from compiled import outputs

import keras_remul as kr
from keras_remul import cli

torch = pytest.importorskip("torch", reason="reads files of PyTorch")
pytestmark = pytest.mark.backend_independent
GOLDEN = pathlib.Path(__file__).parents[1] / "golden/particle_transformer.npz"


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def converted(capsys, name, state, *options):
    """Status, and what the command says, of a file of this state."""
    torch.save(state, "weights.pt")
    found = hashlib.sha256(pathlib.Path("weights.pt").read_bytes()).hexdigest()
    options = [option.format(found=found) for option in options]
    status = cli.main(
        ["convert", name, "weights.pt", "--output", "made", *options]
    )
    said = capsys.readouterr()
    assert len((said.out + said.err).strip().splitlines()) == 1, said
    assert (status == 0) == pathlib.Path("made").exists()
    return said.err.strip() if status else said.out.strip()


def test_weights_of_weaver(capsys):
    with np.load(GOLDEN) as arrays:
        state = dict(arrays)
    x = {key: state.pop(key) for key in ("four_momenta", "mask")}
    y = state.pop("logits")
    state = {key: torch.tensor(a) for key, a in state.items()}
    said = converted(capsys, "part", state, "--sha256", "{found}")
    assert said == "made: ParticleTransformer, 3,365 numbers, 3 logits"
    found = outputs(kr.from_preset("made"), x)
    np.testing.assert_allclose(found, y, rtol=1e-5, atol=1e-5)
    assert "classes" not in kr.presets.read_metadata("made")


class Code:
    """What a pickle would make when it is read."""


HASH = "--sha256"


@pytest.mark.parametrize(
    "name, options, state, message",
    [
        ("particlenet", (), {}, "models/ParticleNet_kin.pt of .*Get the file"),
        ("part", (), {}, f"so give {HASH}.*hash-object` says 70a82e"),
        ("part", (HASH, "0" * 64), {}, "a file with the sha256 0.*Received"),
        ("part", (HASH, "abc"), {}, "64 hexadecimal digits.*'abc'"),
        ("part", (HASH, "{found}"), Code(), "no weights alone in weights.pt"),
        ("part", (HASH, "{found}"), {"epoch": 3}, "alone in .* a dict of"),
        ("part", (HASH, "{found}"), {}, "named 'embed.input_bn.weight'"),
    ],
)
def test_what_is_refused(name, options, state, message, capsys):
    said = converted(capsys, name, state, *options)
    assert said.startswith(f"keras-remul convert {name}: ")
    assert re.search(message, said), said
