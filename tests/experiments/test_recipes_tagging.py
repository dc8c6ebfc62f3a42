"""Recipes of taggers, from the training to the card."""

import numpy as np
import pytest

from keras_remul import (
    Symmetry,
    datasets,
    evaluate_preset,
    from_preset,
    groups,
    models,
    weighting,
)
from keras_remul.experiments import Recipe, Tagging
from keras_remul.experiments.figures import tagger_figure
from keras_remul.presets.converting.jets import sample
from keras_remul.presets.evaluate import compare_presets

pytestmark = pytest.mark.backend_independent
JETS = ({"four_momenta": "four_vector"}, "scalar")
BOOSTS = Symmetry(groups.Boosts("z"), *JETS)


def recipe(**changes):
    return Recipe(
        dataset="top_jets/tiny",
        symmetry=lambda: BOOSTS,
        model=lambda: models.JetTransformer(
            num_layers=1, hidden_dim=8, num_heads=2, pair_dim=0, head_dim=4
        ),
        objective=lambda: dict(
            weighting=weighting.Constant(beta=1.0), target="predictions"
        ),
        task=Tagging(),
        epochs=2,
        batch_size=8,
        checkpoint_every=1,
        moved_by=lambda: {"lorentz": Symmetry(groups.Lorentz(0.5), *JETS)},
    ).replace(**changes)


@pytest.fixture
def data(monkeypatch):
    x = {key: a[:, :10] for key, a in sample(sizes=[8] * 24).items()}
    y = (np.arange(24) % 2).astype("float32")[:, None]
    found = dict.fromkeys(("train", "validation", "test"), (x, y))
    monkeypatch.setattr(datasets, "load_all", lambda *a, **k: found)
    monkeypatch.setattr(datasets, "load", lambda *a, **k: found["test"])
    return found


def test_a_tagger_is_trained_measured_and_saved(data, tmp_path):
    result = recipe().run(tmp_path, verbose=0)
    assert result["task"] == "Tagging()"
    for key in ("auc", "accuracy", "rejection_50", "rejection_30"):
        for figure in (
            f"test_{key}",
            f"{key}_moved",
            f"{key}_moved_by_lorentz",
        ):
            assert figure in result and f"{figure}_standard_error" in result
    assert 0 < result["validation_loss"] < 2
    preset = tmp_path / "preset"
    for key, (card, here) in evaluate_preset(preset).items():
        assert here == pytest.approx(card, rel=1e-3), key
    text = (preset / "README.md").read_text(encoding="utf-8")
    assert "area under the ROC curve, moved by the group" in text
    assert "E', relative to the logits" in text
    with pytest.raises(ValueError, match="nothing about taggers"):
        compare_presets(preset, preset)
    figure = tagger_figure(from_preset(preset), BOOSTS, *data["test"], 2)
    assert len(figure.axes) == 2


def test_what_a_recipe_of_taggers_cannot_do(data, tmp_path):
    with pytest.raises(ValueError, match="neither `ridge`.*ridge=True"):
        recipe(ridge=True).run(tmp_path, verbose=0)
    x, y = data["train"]
    data["train"] = x, 2 * y
    with pytest.raises(ValueError, match="label 0 or 1.*top_jets"):
        recipe().run(tmp_path, verbose=0)
