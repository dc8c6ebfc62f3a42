"""Rollouts as moving pictures."""

from __future__ import annotations

import pathlib
from typing import Any

import numpy as np
from keras import ops

from keras_remul.evaluation.motion.bones import Bones
from keras_remul.evaluation.visualization.pictures import (
    COLOURS,
    named,
    scenes_for,
)
from keras_remul.evaluation.visualization.scene import frame
from keras_remul.utils.typing import ArrayLike, StrPath
from keras_remul.utils.validation import check_count

WRITERS = {".gif": "pillow", ".mp4": "ffmpeg"}
TRAIL = 12  # pictures
SMALL = 3.0  # inches, of a panel


def animation(
    paths: ArrayLike | dict[str, ArrayLike],
    file: StrPath,
    bones: ArrayLike = (),
    up: str = "z",
    seconds: float = 0.1,
    between: int = 1,
    dpi: int = 80,
) -> pathlib.Path:
    """Writes rollouts as a moving picture, side by side.

    With bones the body is drawn, without them dots with their last ways. Poses
    between two of the path lie on cubic splines through all of them, and have
    bones of the same lengths.

    Args:
        paths: positions `(T, N, D)`, or a dict of such arrays by name, each of
            which has a panel.
        file: path that ends with `.gif`, or with `.mp4` where the program
            ffmpeg is installed.
        bones: pairs of nodes `(K, 2)`, such as `CMU_BONES`.
        up: axis that points up: `"x"`, `"y"` or `"z"`.
        seconds: time from one pose of the path to the next.
        between: pictures for each pose of the path.
        dpi: pixels of an inch.

    Returns:
        The path of the file.

    Raises:
        ValueError: shapes do not fit, there is NaN, or the file has another
            ending.
        RuntimeError: the writer of this kind of file is not installed.

    Example:
        >>> animation({"true": true, "REMUL": path[0]}, "walk.gif", CMU_BONES)
    """
    from matplotlib import animation as writing

    file, paths = pathlib.Path(file), named(paths, 3, "paths")
    name = WRITERS.get(file.suffix.lower())
    if name is None:
        raise ValueError(
            f"Expected a file that ends with one of {sorted(WRITERS)}. "
            f"Received: {str(file)!r}"
        )
    if not writing.writers.is_available(name):
        raise RuntimeError(
            f"Matplotlib cannot write {file.suffix} here: {name} is not "
            "installed. Install it, or write a .gif."
        )
    between = check_count("between", between)
    paths = {
        key: in_between(path, between, bones) for key, path in paths.items()
    }
    figure, scenes = scenes_for(paths, up, SMALL)
    _fit(scenes, paths.values())
    fps = between / seconds
    make: Any = writing.writers[name]
    writer = make(fps=fps)
    with writer.saving(figure, str(file), dpi):
        for k in range(len(next(iter(paths.values())))):
            for i, (scene, path) in enumerate(
                zip(scenes, paths.values(), strict=True)
            ):
                _clear(scene)
                _draw(scene, path[max(0, k - TRAIL) : k + 1], bones, i)
            writer.grab_frame()
    return file


def in_between(path, between, bones=()):
    """More poses of a path, on cubic splines through those that it has.

    Args:
        path: positions `(T, N, D)`.
        between: poses for each of those of the path.
        bones: pairs of nodes, whose lengths the new poses keep.

    Returns:
        Positions `((T - 1) between + 1, N, D)`.
    """
    path = np.asarray(path, "float64")
    if between == 1 or len(path) < 2:
        return path
    from scipy.interpolate import CubicSpline

    times = np.arange(len(path))
    fine = np.linspace(0, len(path) - 1, (len(path) - 1) * between + 1)
    poses = CubicSpline(times, path)(fine)
    if len(bones):
        skeleton = Bones(bones, path.shape[1])
        lengths = skeleton.lengths(path)
        ends = np.minimum(fine.astype(int) + 1, len(path) - 1)
        share = (fine - fine.astype(int))[:, None]
        now = (1 - share) * lengths[fine.astype(int)] + share * lengths[ends]
        poses = skeleton.keep(poses, now)
    return ops.convert_to_numpy(poses)


def _fit(scenes, paths):
    """Limits that hold all poses of all panels."""
    for scene, path in zip(scenes, paths, strict=True):
        scene.nodes(path.reshape(-1, path.shape[-1]), "w", 0.0)
    frame(scenes)


def _clear(scene):
    for drawn in list(scene.axis.collections):
        drawn.remove()


def _draw(scene, path, bones, number):
    """The last pose, with the ways to it where there are no bones."""
    if len(bones):
        colour = COLOURS[number % len(COLOURS)]
        scene.bones(path[-1], bones, colors=colour, lw=2.0)
        return
    ways = np.swapaxes(path, 0, 1)
    colours = [COLOURS[i % len(COLOURS)] for i in range(len(ways))]
    if len(path) > 1:
        scene.lines(ways, colors=colours, lw=1.2, alpha=0.6)
    scene.nodes(path[-1], colours, 36.0)
