"""What may be said of a preset in its metadata, and on its card."""

import json

import keras
import numpy as np
import pytest
from test_presets_places import tree
from test_presets_safety import sign

import keras_remul as kr
from keras_remul import from_preset, save_to_preset, verify_preset
from keras_remul.presets.card import card
from keras_remul.presets.folder import update_metadata
from keras_remul.presets.resolve import bundled
from keras_remul.utils import atomic


@pytest.fixture(scope="module")
def model():
    return keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])


@pytest.fixture
def preset(model, tmp_path):
    save_to_preset(model, tmp_path / "p", x=np.ones((2, 3), "float32"))
    return tmp_path / "p"


OWN = {
    "format": 2,
    "class": None,
    "parameters": None,
    "keras_remul": "0",
    "keras": "0",
    "backend": "abacus",
    "symmetry": {},
    "weights_sha256": "0" * 64,
    "files": {},
}


@pytest.mark.parametrize("key", OWN)
def test_what_describes_the_model_is_not_said_by_others(model, preset, key):
    """Wrong facts would make a preset that nobody can load."""
    before = tree(preset)
    with pytest.raises(ValueError, match=rf"names what .*: \['{key}'\]"):
        update_metadata(preset, **{key: OWN[key]})
    with pytest.raises(ValueError, match=rf"`metadata`.*: \['{key}'\]"):
        save_to_preset(model, preset, metadata={key: OWN[key]})
    assert tree(preset) == before
    assert verify_preset(preset) == 0.0


circle = []
circle.append(circle)


@pytest.mark.parametrize(
    "value, message",
    [
        ({1}, r"a is \{1\}, of set"),
        ([{"b": np.float32(1)}], "a.0.b is .*1.0.*, of float32"),
        (np.ones(2), "a is array.*of ndarray"),
        (1j, "a is 1j, of complex"),
        ({(1, 2): 3}, r"a key of a is \(1, 2\)"),
        (float("nan"), "a is nan"),
        (circle, "nested without end"),
    ],
)
def test_facts_that_json_does_not_hold(model, preset, value, message):
    before = tree(preset)
    with pytest.raises(ValueError, match=f"saved.*{message}"):
        update_metadata(preset, a=value)
    with pytest.raises(ValueError, match=f"`metadata`.*{message}"):
        save_to_preset(model, preset, metadata={"a": value})
    file = preset / "any.json"
    with pytest.raises(ValueError, match=f"any.json is not written.*{message}"):
        atomic.write_json(file, {"a": value})
    assert tree(preset) == before


@pytest.mark.parametrize("metadata", [["a"], "a", 3, {1: 2}])
def test_metadata_that_are_no_dictionary(model, tmp_path, metadata):
    with pytest.raises(ValueError, match="`metadata` must be a dictionary"):
        save_to_preset(model, tmp_path / "p", metadata=metadata)
    assert list(tmp_path.iterdir()) == []


TWIN = {
    "name": "t",
    "parameters": 3,
    "test_mse": 1.0,
    "symmetrized_mse": None,
    "equivariance_error": 0.1,
}


@pytest.mark.parametrize(
    "facts",
    [
        {"metrics": 3},
        {"metrics": [1]},
        {"metrics": {"test_mse": "x"}},
        {"metrics": {"equivariance_error": True}},
        {"metrics": {"equivariance_error": 1.0}, "latency": {"cpu": None}},
        {"description": 3},
        {"twins": 3, "metrics": TWIN},
        {"twins": [TWIN]},
        {"twins": [{**TWIN, "equivariance_error": "x"}], "metrics": TWIN},
        {"twins": [{"name": "t"}], "metrics": TWIN},
        {"picture": "a.png"},
        {"picture": {"file": "a.png"}},
        {"training": [1]},
        {"licenses": ["MIT"]},
        {"licenses": {"data": 3}},
        {"units": {"positions": 1}},
        {"limits": ["none"]},
        {"horizon": "1"},
        {"seeds": {"number": 3}},
    ],
)
def test_facts_that_the_card_cannot_show(model, preset, facts):
    before = tree(preset)
    with pytest.raises(ValueError, match="card cannot"):
        update_metadata(preset, **facts)
    with pytest.raises(ValueError, match="card cannot"):
        save_to_preset(model, preset, metadata=facts)
    assert tree(preset) == before


def test_facts_that_the_card_shows(preset):
    metrics = {
        k: TWIN[k]
        for k in ("test_mse", "symmetrized_mse", "equivariance_error")
    }
    update_metadata(
        preset,
        description=None,
        metrics={**metrics, "others": [1, "x"]},
        twins=[TWIN],
        latency={"cpu": 3},
        picture={"text": "a", "file": "a.png"},
        training={"seed": 0, "recipe": None},
        licenses={"data": "MIT"},
        limits="Everything else.",
        horizon=2.0,
        seeds={"number": 3, "mean": 0.5, "deviation": 0.01},
    )
    text = (preset / "README.md").read_text()
    for line in ("| t | 1 | none | 0.1 | 3 |", "![a](a.png)", "| data | MIT |"):
        assert line in text
    for line in ("Everything else.", "of 3 seeds, and its spread | 0.5 ± 0.01"):
        assert line in text
    update_metadata(preset, metrics=None, twins=None, training=None)
    assert "## Figures" not in (preset / "README.md").read_text()
    assert verify_preset(preset) == 0.0


def test_cards_of_the_bundled_presets_can_be_written_again():
    files = sorted(bundled().glob("*/metadata.json"))
    assert files
    for file in files:
        name, facts = file.parent.name, json.loads(file.read_text())
        assert card(name, facts).startswith(f"# {name}")


def test_a_preset_that_does_not_load_is_not_described(preset):
    """Its weights are not those that were saved, though all hashes fit."""
    other = from_preset(preset)
    other.set_weights([w + 1 for w in other.get_weights()])
    other.save_weights(preset / "model.weights.h5")
    sign(preset)
    before = tree(preset)
    with pytest.raises(ValueError, match="other weights than those"):
        update_metadata(preset, description="x")
    assert tree(preset) == before


@pytest.mark.backend_independent
def test_describe_preset_tells_how_to_call_it():
    text = kr.describe_preset("nbody_charged_transformer_remul")
    for line in (
        "  positions  (B, 5, 3)  float32  Point()",
        "symmetry: O3()",
        "  test MSE: 0.004",
    ):
        assert line in text
    found = {}
    exec(text[text.index("import numpy") :], found)
    assert found["y"].shape == (1, 5, 3) and np.isfinite(found["y"]).all()


@pytest.mark.backend_independent
def test_describe_preset_of_one_without_samples(model, tmp_path):
    model(np.ones((1, 3), "float32"))
    save_to_preset(model, tmp_path / "p", metadata={"description": "a\x1b[1m"})
    text = kr.describe_preset(tmp_path / "p")
    assert text.splitlines()[0] == "a [1m"
    assert text.endswith("p')") and "inputs" not in text
