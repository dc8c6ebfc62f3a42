"""Presets: complete or absent, checked by hash, the same on each backend."""

import json
import pathlib

import keras
import numpy as np
import pytest
from keras import layers

import keras_remul as kr
from keras_remul import (
    from_preset,
    list_presets,
    models,
    save_to_preset,
    verify_preset,
)
from keras_remul.presets import files, read_metadata
from keras_remul.presets.folder import update_metadata
from keras_remul.utils import atomic

pytestmark = pytest.mark.usefixtures("untraced")

# Trained on the charged bodies with REMUL on the JAX backend.
TRAINED = pathlib.Path(__file__).parents[1] / "stored" / "tiny_transformer"


@pytest.fixture
def transformer(bodies):
    model = models.Transformer(num_layers=1, hidden_dim=8, num_heads=2)
    model(bodies[0])
    return model


def test_round_trip(transformer, bodies, tmp_path):
    x, _ = bodies
    save_to_preset(
        transformer, tmp_path / "p", x=x, metadata={"dataset": "bodies"}
    )
    again = from_preset(tmp_path / "p")
    assert type(again) is models.Transformer
    np.testing.assert_array_equal(
        again.predict(x, verbose=0), transformer.predict(x, verbose=0)
    )
    assert verify_preset(tmp_path / "p") < 1e-6
    facts = json.loads((tmp_path / "p" / "metadata.json").read_text())
    assert facts["parameters"] == transformer.count_params()
    assert facts["dataset"] == "bodies"
    assert facts["backend"] == keras.backend.backend()
    assert [p.name for p in tmp_path.iterdir()] == ["p"]  # nothing left over


def test_trained_preset_gives_its_outputs_on_this_backend():
    assert verify_preset(TRAINED) < 1e-5


def test_optimizer_is_no_part_of_a_preset(transformer, bodies, tmp_path):
    x, y = bodies
    transformer.compile("adam", loss="mse")
    transformer.fit(x, y, verbose=0)
    save_to_preset(transformer, tmp_path / "p")
    size = (tmp_path / "p" / "model.weights.h5").stat().st_size
    save_to_preset(from_preset(tmp_path / "p"), tmp_path / "q")
    assert (tmp_path / "q" / "model.weights.h5").stat().st_size == size
    assert "optimizer" not in (tmp_path / "p" / "config.json").read_text()


def test_same_bytes_twice(transformer, bodies, tmp_path):
    for name in "pq":
        save_to_preset(transformer, tmp_path / name, x=bodies[0])
    for file in (tmp_path / "p").glob("*.[hn][5p]*"):
        assert file.read_bytes() == (tmp_path / "q" / file.name).read_bytes()


def test_functional_model_with_one_input(tmp_path):
    model = keras.Sequential([keras.Input((3,)), layers.Dense(2)])
    x = np.ones((4, 3), "float32")
    save_to_preset(model, tmp_path / "p", x=x)
    assert verify_preset(tmp_path / "p") == 0.0


def test_replaces_a_preset_and_nothing_else(transformer, bodies, tmp_path):
    save_to_preset(transformer, tmp_path / "p", x=bodies[0])
    save_to_preset(transformer, tmp_path / "p")
    assert not (tmp_path / "p" / "golden.npz").exists()
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("x")
    with pytest.raises(ValueError, match="not a preset; it is left alone"):
        save_to_preset(transformer, tmp_path / "thesis")
    assert (tmp_path / "thesis" / "chapter.tex").exists()


def test_failure_leaves_the_old_preset(
    transformer, bodies, tmp_path, monkeypatch
):
    save_to_preset(transformer, tmp_path / "p", x=bodies[0])

    def full_disk(*args, **kwargs):
        raise OSError("No space left on device")

    monkeypatch.setattr(np, "savez", full_disk)
    with pytest.raises(OSError, match="No space"):
        save_to_preset(transformer, tmp_path / "p", x=bodies[0])
    monkeypatch.undo()
    verify_preset(tmp_path / "p")
    assert [p.name for p in tmp_path.iterdir()] == ["p"]


def test_damage_is_found(transformer, bodies, tmp_path):
    path = tmp_path / "p"
    for name in ("config.json", "model.weights.h5", "golden.npz"):
        save_to_preset(transformer, path, x=bodies[0])
        content = bytearray((path / name).read_bytes())
        content[len(content) // 2] ^= 1
        (path / name).write_bytes(content)
        with pytest.raises(ValueError, match=f"{name} is damaged"):
            from_preset(path)
        (path / name).unlink()
        with pytest.raises(ValueError, match=f"{name} is missing"):
            from_preset(path)


def test_other_outputs_are_found(transformer, bodies, tmp_path):
    save_to_preset(transformer, tmp_path / "p", x=bodies[0])
    with pytest.raises(ValueError, match="gives other outputs"):
        verify_preset(tmp_path / "p", tolerance=-1.0)
    save_to_preset(transformer, tmp_path / "p")
    with pytest.raises(ValueError, match="holds no outputs"):
        verify_preset(tmp_path / "p")


def test_errors(tmp_path):
    with pytest.raises(ValueError, match="No preset 'nbody_chargd'"):
        from_preset("nbody_chargd")
    model = models.Transformer()
    with pytest.raises(ValueError, match="has no weights yet"):
        save_to_preset(model, tmp_path / "p")


def test_newer_format_is_refused(transformer, tmp_path):
    save_to_preset(transformer, tmp_path / "p", metadata=None)
    file = tmp_path / "p" / "metadata.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "format": 99}))
    with pytest.raises(ValueError, match="format 99.*Upgrade"):
        from_preset(tmp_path / "p")


def test_list_presets():
    assert list_presets() == sorted(list_presets())


@pytest.fixture
def remul(transformer, bodies):
    x, y = bodies
    symmetry = kr.Symmetry(
        kr.groups.O3(),
        {"positions": "point", "velocities": "vector", "charges": "scalar"},
        "point",
    )
    model = kr.RemulModel(
        transformer, symmetry, kr.weighting.GradNorm(), seed=0
    )
    model.compile("sgd", loss="mse")
    model.fit(x, y, batch_size=4, epochs=2, verbose=0)
    return model


def test_golden_outputs_of_moved_inputs(remul, bodies, tmp_path):
    x, _ = bodies
    save_to_preset(remul.model, tmp_path / "p", x=x, symmetry=remul.symmetry)
    assert verify_preset(tmp_path / "p") < 1e-5
    assert read_metadata(tmp_path / "p")["symmetry"] == remul.symmetry
    # The stored elements count: with others the moved inputs differ.
    file = tmp_path / "p" / "golden.npz"
    golden = dict(np.load(file))
    golden["element"] = golden["element"][::-1].copy()
    np.savez(file, **golden)
    facts = json.loads((tmp_path / "p" / "metadata.json").read_text())
    (tmp_path / "p" / "metadata.json").unlink()
    atomic.write_json(
        tmp_path / "p" / "metadata.json",
        {**facts, "files": files.describe(tmp_path / "p")},
    )
    with pytest.raises(ValueError, match="gives other outputs"):
        verify_preset(tmp_path / "p")


@pytest.mark.traced
def test_training_goes_on_from_a_preset(remul, bodies, tmp_path):
    x, y = bodies
    remul.save_to_preset(tmp_path / "p", x=x)
    again = kr.RemulModel.from_preset(tmp_path / "p")
    assert again.symmetry == remul.symmetry
    assert repr(again.weighting) == repr(remul.weighting)
    for model in (remul, again):
        model.compile("sgd", loss="mse")
    first, second = (
        model.fit(x, y, batch_size=4, shuffle=False, verbose=0).history
        for model in (remul, again)
    )
    # The same g, and the same weights of the tasks, which were learned.
    for key in ("loss", "equivariance_loss", "beta"):
        np.testing.assert_allclose(first[key], second[key], rtol=1e-5)
    assert abs(first["beta"][0] - 1.0) > 1e-4


def test_methods_of_models(transformer, bodies, tmp_path):
    transformer.save_to_preset(tmp_path / "p", x=bodies[0])
    again = models.Transformer.from_preset(tmp_path / "p")
    assert type(again) is models.Transformer
    with pytest.raises(ValueError, match="is a Transformer, not a EGNN"):
        models.EGNN.from_preset(tmp_path / "p")


def test_weights_in_shards(bodies, tmp_path):
    model = models.Transformer(num_layers=2, hidden_dim=64, num_heads=2)
    model(bodies[0])
    save_to_preset(model, tmp_path / "p", x=bodies[0], max_shard_size=2e-4)
    names = {file.name for file in (tmp_path / "p").glob("model*")}
    assert "model.weights.json" in names and len(names) > 2
    assert verify_preset(tmp_path / "p") < 1e-6
    next((tmp_path / "p").glob("model_*")).unlink()
    with pytest.raises(ValueError, match="is missing"):
        from_preset(tmp_path / "p")


def test_metadata_and_card_change_and_the_model_does_not(
    transformer, bodies, tmp_path
):
    facts = dict(
        dataset="bodies", metrics={"test_mse": 0.5, "equivariance_error": 0.1}
    )
    save_to_preset(transformer, tmp_path / "p", x=bodies[0], metadata=facts)
    card = (tmp_path / "p" / "README.md").read_text()
    assert "# p" in card and "| test MSE | 0.5 |" in card
    before = files.sha256(tmp_path / "p" / "model.weights.h5")
    update_metadata(tmp_path / "p", description="Small bodies.")
    assert "Small bodies." in (tmp_path / "p" / "README.md").read_text()
    assert files.sha256(tmp_path / "p" / "model.weights.h5") == before
    assert verify_preset(tmp_path / "p") < 1e-6
    assert [p.name for p in tmp_path.iterdir()] == ["p"]
