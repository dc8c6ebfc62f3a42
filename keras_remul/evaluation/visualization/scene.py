"""Points and lines of space, drawn in the plane of a picture.

Not with the 3D axes of Matplotlib: their box leaves little room for what is in
it, and each frame of an animation takes tenths of a second.
"""

from typing import Any

import numpy as np

UPS = ("x", "y", "z")
# Degrees: how the horizontal axes are turned, and how high the eye is.
AZIMUTH, ELEVATION = 25.0, 15.0
MARGIN = 0.08


def project(points, up="z"):
    """Points in the plane of the picture, seen from the side and from above.

    Args:
        points: `(..., D)`, D = 2 or 3; a plane is seen from above.
        up: the axis that points up in space: `"x"`, `"y"` or `"z"`.

    Returns:
        `(..., 3)`: right, up, and away from the eye.

    Raises:
        ValueError: for another D or axis, or NaN.
    """
    points = np.asarray(points, "float64")
    if points.ndim < 2 or points.shape[-1] not in (2, 3) or up not in UPS:
        raise ValueError(
            "Expected points (..., 2) or (..., 3) and an axis up of "
            f"{UPS}. Received: shape {points.shape}, up={up!r}"
        )
    if not np.isfinite(points).all():
        raise ValueError(
            "Expected points without NaN. Received: "
            f"{int((~np.isfinite(points)).sum())} values that are NaN or "
            "infinite"
        )
    if points.shape[-1] == 2:
        return np.concatenate([points, np.zeros_like(points[..., :1])], -1)
    third = UPS.index(up)
    a, b, c = (points[..., (third + k) % 3] for k in (1, 2, 0))
    turn, tilt = np.radians([AZIMUTH, ELEVATION])
    right = np.cos(turn) * a + np.sin(turn) * b
    away = np.cos(turn) * b - np.sin(turn) * a
    height = np.cos(tilt) * c + np.sin(tilt) * away
    return np.stack([right, height, np.cos(tilt) * away - np.sin(tilt) * c], -1)


class Scene:
    """One panel of a picture.

    Args:
        axis: Matplotlib axes.
        up: see `project`.
    """

    def __init__(self, axis, up="z"):
        self.axis, self.up = axis, up
        self.seen = []
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_color("0.85")
        axis.set_aspect("equal")

    def lines(self, segments, **style):
        """Lines through points.

        Args:
            segments: `(K, P, D)`, the P points of each line.
            **style: that of `matplotlib.collections.LineCollection`.
        """
        from matplotlib.collections import LineCollection

        flat = project(segments, self.up)[..., :2]
        if len(flat):
            self.seen.append(flat.reshape(-1, 2))
            style = {"capstyle": "round", **style}
            self.axis.add_collection(LineCollection(list(flat), **style))

    def nodes(self, points, colours, sizes, filled=True, **style):
        """Dots or rings, those behind drawn first.

        Args:
            points: `(N, D)`.
            colours: a colour, or one for each.
            sizes: area, or one for each, in square points.
            filled: whether the dots are full.
            **style: that of `scatter`.
        """
        from matplotlib.colors import to_rgba_array

        seen = project(points, self.up)
        self.seen.append(seen[:, :2])
        order = np.argsort(-seen[:, 2])
        many = np.broadcast_to(to_rgba_array(colours), (len(seen), 4))[order]
        sizes = np.broadcast_to(sizes, len(seen))[order]
        faces: dict[str, Any] = {"facecolors": many if filled else "none"}
        if not filled:
            faces["edgecolors"] = many
        style = {"zorder": 3, "linewidths": 0 if filled else 1.2, **style}
        self.axis.scatter(*seen[order, :2].T, s=sizes, **faces, **style)

    def bones(self, pose, pairs, **style):
        """A line for each pair of nodes.

        Args:
            pose: `(N, D)`.
            pairs: `(K, 2)`.
            **style: that of `lines`.
        """
        if len(pairs):
            self.lines(np.asarray(pose)[np.asarray(pairs)], **style)


def frame(scenes, unit=""):
    """Gives panels the same limits, and a bar that shows the scale.

    Args:
        scenes: list of `Scene`.
        unit: what lengths are in, written at the bar of the first panel.
    """
    seen = np.concatenate([part for scene in scenes for part in scene.seen])
    low, high = seen.min(axis=0), seen.max(axis=0)
    room = MARGIN * max((high - low).max(), 1e-9)
    below = np.array([room, 2.0 * room])  # room for the bar
    size = high + room - (low - below)
    # As wide as the panels are, whose exact shape is known when drawn.
    box = scenes[0].axis.bbox
    shape = np.array([box.width, box.height])
    extra = (max(size / shape) * shape - size) / 2
    for scene in scenes:
        limits = np.stack([low - below - extra, high + room + extra], axis=1)
        scene.axis.set(xlim=limits[0], ylim=limits[1])
    _bar(scenes[0].axis, low - [0, 1.3 * room], (high - low).max(), unit)


def _bar(axis, start, width, unit):
    """A horizontal bar of 1, 2 or 5 times a power of ten."""
    least = 0.12 * max(width, 1e-9)
    ten = 10.0 ** np.floor(np.log10(least))
    length = next(k * ten for k in (1, 2, 5, 10) if k * ten >= least)
    axis.plot([start[0], start[0] + length], [start[1]] * 2, "0.4", lw=1.5)
    axis.annotate(
        f" {length:g} {unit}".rstrip(),
        (start[0] + length, start[1]),
        fontsize=8,
        color="0.4",
        va="center",
    )
