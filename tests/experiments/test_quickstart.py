"""The quickstart and the command line, cut down to seconds."""

import functools
import json

import keras
import numpy as np
import pytest

from keras_remul import cli, datasets, models
from keras_remul.experiments import figures, quickstart

pytestmark = pytest.mark.usefixtures("untraced")


@pytest.fixture
def few_systems(bodies, monkeypatch):
    """In place of the simulated data set."""

    def load(name, split, data_dir=None):
        return [bodies for _ in split]

    monkeypatch.setattr(datasets, "load", load)


@pytest.fixture
def small_models(monkeypatch):
    """One layer in place of three."""
    small = functools.partial(models.Transformer, num_layers=1, hidden_dim=8)

    def transformer(num_layers, hidden_dim, num_heads):
        return small(num_heads=num_heads)

    monkeypatch.setattr(models, "Transformer", transformer)


def test_align_leaves_one_orientation(bodies):
    x, y = bodies
    symmetry = datasets.symmetry("nbody_charged")
    g = symmetry.sample(12, seed=0)
    once = quickstart.align(symmetry, x, y)
    turned = quickstart.align(
        symmetry, *quickstart.transform_pair(symmetry, g, x, y)
    )
    keras.tree.map_structure(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4), once, turned
    )
    # A rotation, so distances stay; no reflection, so handedness stays.
    for before, after in ((x["positions"], once[0]["positions"]), (y, once[1])):
        before = before - before.mean(axis=1, keepdims=True)
        after = after - after.mean(axis=1, keepdims=True)
        np.testing.assert_allclose(
            np.linalg.norm(before, axis=-1),
            np.linalg.norm(after, axis=-1),
            atol=1e-4,
        )
        np.testing.assert_allclose(
            np.linalg.det(before[:, :3]), np.linalg.det(after[:, :3]), atol=1e-3
        )


def test_command_writes_all_it_promises(
    few_systems, small_models, tmp_path, capsys
):
    output = tmp_path / "out[" / "b]"  # with what Rich takes for markup
    status = cli.main(["quickstart", "--epochs", "2", "--output", str(output)])
    assert status == 0
    files = {file.name for file in output.iterdir()}
    assert files == {"quickstart.png", "results.json", "preset"}
    results = json.loads((output / "results.json").read_text())
    assert set(results["all_orientations"]) == set(quickstart.OBJECTIVES)
    assert set(results["one_orientation"]) == set(quickstart.ONE_ORIENTATION)
    remul = results["all_orientations"]["REMUL"]
    assert results["preset_test_mse"] == pytest.approx(remul["test_mse"])
    assert 0 <= remul["orbit_variance_share"] <= 1
    printed = capsys.readouterr().out
    assert keras.backend.backend() in printed and "REMUL strong" in printed
    assert f"Saved to {output / 'preset'}" in printed
    assert f"Picture: {output / 'quickstart.png'}" in printed
    assert (output / "quickstart.png").stat().st_size > 10_000


def test_true_path_ends_where_the_data_end(shared_data):
    file = shared_data / "nbody_charged5" / "nbody_small_seed43.npz"
    with np.load(file) as stored:
        x = {
            "positions": stored["test_loc"][:1, 0],
            "velocities": stored["test_vel0"][:1],
            "charges": stored["test_charges"][:1, :, None].astype("float32"),
        }
        end = stored["test_loc"][0, 5]
    path = figures.true_path(x)
    assert path.shape == (11, 5, 3)
    np.testing.assert_allclose(path[-1], end, atol=2e-2)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["quickstrat"], "invalid choice: 'quickstrat'"),
        (["quickstart", "--epochs", "0"], "must be at least 1"),
        ([], "required: COMMAND"),
    ],
)
def test_command_line_errors(arguments, message, capsys):
    with pytest.raises(SystemExit) as error:
        cli.main(arguments)
    assert error.value.code == 2
    assert message in capsys.readouterr().err
