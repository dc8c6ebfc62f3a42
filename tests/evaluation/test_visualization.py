"""Pictures: what is drawn, files that are written, what is refused."""

import numpy as np
import pytest
from matplotlib import animation as writing
from matplotlib.figure import Figure
from PIL import Image

from keras_remul import visualization
from keras_remul.evaluation.visualization.moving import in_between
from keras_remul.evaluation.visualization.scene import project

pytestmark = pytest.mark.backend_independent

CHAIN = [[0, 1], [1, 2], [1, 3]]


@pytest.fixture
def path(rng):
    return np.cumsum(rng.normal(size=(6, 4, 3)), axis=0)


def collections(figure):
    return [len(axis.collections) for axis in figure.axes]


def limits_hold_all(figure):
    """Whether everything drawn is within the limits of its panel."""
    figure.canvas.draw()
    for axis in figure.axes:
        (left, right), (low, high) = axis.get_xlim(), axis.get_ylim()
        for drawn in axis.collections:
            box = drawn.get_datalim(axis.transData)
            assert left <= box.x0 and box.x1 <= right
            assert low <= box.y0 and box.y1 <= high
    return True


def test_axes_of_the_picture():
    """Up is up, right angles stay so in the picture's own three axes."""
    for up, axis in (("x", 0), ("y", 1), ("z", 2)):
        seen = project(np.eye(3), up)
        np.testing.assert_allclose(seen @ seen.T, np.eye(3), atol=1e-12)
        assert np.linalg.det(seen) * (-1) > 0.99  # away from the eye
        assert seen[axis, 0] == 0 and seen[axis, 1] > 0.9
    flat = project(np.array([[1.0, 2.0]]))
    np.testing.assert_array_equal(flat, [[1.0, 2.0, 0.0]])


def test_ways_and_poses(path):
    figure = visualization.trajectories(
        {"a": path, "b": path + 1.0}, truth=path, bones=CHAIN, unit="m"
    )
    assert collections(figure) == [5, 5] and limits_hold_all(figure)
    assert [axis.get_title() for axis in figure.axes] == ["a", "b"]
    assert "m" in figure.axes[0].texts[0].get_text()
    figure = visualization.skeleton(path, CHAIN)
    assert collections(figure) == [6] and limits_hold_all(figure)
    flat = visualization.trajectories(path[..., :2])
    assert collections(flat) == [3]


def test_wide_panels_are_below_each_other(path):
    wide = path + np.arange(6)[:, None, None] * [30.0, 0.0, 0.0]
    figure = visualization.skeleton({"a": wide, "b": wide}, CHAIN, up="z")
    figure.canvas.draw()
    first, second = (axis.get_position() for axis in figure.axes)
    assert first.y0 > second.y1 and first.width > 2 * first.height


def test_molecule(rng):
    from ase.build import molecule

    figure = visualization.molecule(molecule("CH3CH2OH"), np.ones((9, 3)))
    bonds, atoms, arrows, _ = figure.axes[0].collections
    assert len(bonds.get_segments()) == 8 and len(arrows.get_segments()) == 9
    assert len(atoms.get_offsets()) == 9 and limits_hold_all(figure)
    with pytest.raises(ValueError, match="ase.Atoms"):
        visualization.molecule(np.ones((9, 3)))
    with pytest.raises(ValueError, match="forces of the shape"):
        visualization.molecule(molecule("H2O"), np.ones((9, 3)))


def test_jets(rng):
    p = np.abs(rng.normal(size=(3, 4, 4)))
    p[0, 2:] = 0.0  # padded
    figure = visualization.jets({"top": p, "light": p[:2]})
    assert collections(figure) == [3, 2]
    assert len(figure.axes[0].collections[0].get_offsets()) == 2
    p[1] = 0.0
    with pytest.raises(ValueError, match="jet 1 without"):
        visualization.jets(p)
    with pytest.raises(ValueError, match="four-momenta"):
        visualization.jets(p[..., :3])


def test_growth_of_errors(rng):
    truth = rng.normal(size=(5, 3, 4, 2))
    shifts = np.arange(1, 4)[:, None, None]
    figure = visualization.error_growth(
        {"a": truth + shifts, "b": truth - 2 * shifts}, truth, [1, 2, 4], "s"
    )
    a, b = figure.axes[0].lines
    np.testing.assert_allclose(a.get_ydata(), [1, 4, 9])
    np.testing.assert_allclose(b.get_ydata(), [4, 16, 36])
    with pytest.raises(ValueError, match="truth of the shape"):
        visualization.error_growth(truth, truth[:, :2])


@pytest.mark.parametrize("bones", [(), CHAIN])
def test_moving_picture(tmp_path, path, bones):
    file = visualization.animation(
        {"a": path, "b": path}, tmp_path / "a.gif", bones, between=2
    )
    with Image.open(file) as image:
        assert image.n_frames == 11
        image.seek(10)
        last = np.asarray(image.convert("L"))
    assert (last < 250).mean() > 0.005  # something is drawn


def test_poses_in_between(path):
    fine = in_between(path, 4, CHAIN)
    assert fine.shape == (21, 4, 3)
    np.testing.assert_allclose(fine[::4], path, atol=1e-5)
    lengths = np.linalg.norm(fine[:, 0] - fine[:, 1], axis=-1)
    middle = (lengths[:-1:4] + lengths[4::4]) / 2
    np.testing.assert_allclose(lengths[2::4], middle, rtol=1e-4)


def test_what_is_refused(tmp_path, path, monkeypatch):
    with pytest.raises(ValueError, match=r"ends with one of.*\.gif"):
        visualization.animation(path, tmp_path / "a.avi")
    with pytest.raises(ValueError, match="of one shape"):
        visualization.trajectories({"a": path, "b": path[:3]})
    with pytest.raises(ValueError, match="3 axes"):
        visualization.skeleton(path[0], CHAIN)
    with pytest.raises(ValueError, match="not empty"):
        visualization.trajectories(path[:0])
    with pytest.raises(ValueError, match="1 values that are NaN"):
        path[1, 0, 0] = np.nan
        visualization.trajectories(path)
    with pytest.raises(ValueError, match="axis up"):
        visualization.trajectories(path, up="w")
    monkeypatch.setattr(writing.writers, "is_available", lambda name: False)
    with pytest.raises(RuntimeError, match="ffmpeg is not installed"):
        visualization.animation(path, tmp_path / "a.mp4")


def test_figures_open_no_window():
    assert isinstance(visualization.jets(np.ones((1, 2, 4))), Figure)
