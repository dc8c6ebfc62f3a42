"""Pictures of moving nodes: their paths, skeletons, molecules, jets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from keras_remul.evaluation.visualization.scene import Scene, frame, project
from keras_remul.utils.typing import ArrayLike

if TYPE_CHECKING:
    import ase
    from matplotlib.figure import Figure


COLOURS = (
    "tab:blue",
    "tab:orange",
    "tab:green",
    "tab:red",
    "tab:purple",
    "tab:brown",
    "tab:pink",
    "tab:olive",
    "tab:cyan",
)
PANEL, TITLE = 3.4, 0.3  # inches, of a panel and above it
FORCE = 0.3  # Angstrom for 1 eV/Angstrom


def named(paths, rank, name):
    """A dict of arrays of one shape, from such a dict or one array.

    Args:
        paths: dict of names to arrays, or an array.
        rank: number of axes that each must have.
        name: its name in errors.

    Raises:
        ValueError: there are none, or the shapes differ.
    """
    paths = paths if isinstance(paths, dict) else {"": paths}
    paths = {key: np.asarray(path) for key, path in paths.items()}
    shapes = {path.shape for path in paths.values()}
    if len(shapes) != 1 or len(next(iter(shapes))) != rank:
        raise ValueError(
            f"Expected `{name}` as an array with {rank} axes, or a dict of "
            f"such arrays of one shape. Received: shapes {sorted(shapes)}"
        )
    if 0 in next(iter(shapes)):
        raise ValueError(f"Expected `{name}` that is not empty.")
    return paths


def panels(titles, width=PANEL, height=PANEL, stacked=False):
    """A figure with a panel for each title.

    Args:
        titles: list of strings.
        width, height: of a panel, in inches.
        stacked: whether they are below each other, not side by side.

    Returns:
        `(figure, list of axes)`. (No pyplot, so no window, no global state.)
    """
    from matplotlib.figure import Figure

    count, height = len(titles), height + TITLE * any(titles)
    grid = (count, 1) if stacked else (1, count)
    size = (width * grid[1], height * grid[0])
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(*grid, squeeze=False).ravel()
    for axis, title in zip(axes, titles, strict=True):
        axis.set_title(title, fontsize=10)
    return figure, list(axes)


def scenes_for(paths, up, size=PANEL):
    """A figure with a scene for each of some paths, in panels of their shape.

    Wide ones, such as walks, are below each other.

    Args:
        paths: dict of positions `(T, N, D)` by name.
        up: see `project`.
        size: of a panel of equal sides, in inches.

    Returns:
        `(figure, list of Scene)`.
    """
    seen = np.concatenate([project(path, up) for path in paths.values()])
    width, height = np.ptp(seen[..., :2], axis=(0, 1))
    ratio = np.sqrt(np.clip(width / max(height, 1e-9), 0.4, 6.0))
    figure, axes = panels(
        list(paths), size * ratio, size / ratio, stacked=ratio > 1.2
    )
    return figure, [Scene(axis, up) for axis in axes]


def trajectories(
    paths: ArrayLike | dict[str, ArrayLike],
    truth: ArrayLike | None = None,
    bones: ArrayLike = (),
    up: str = "z",
    unit: str = "",
) -> Figure:
    """The ways of nodes, a panel for each rollout.

    A dot is where a node starts, a ring where it ends. Each node has a colour;
    the true ways, if given, are grey.

    Args:
        paths: positions `(T, N, D)`, or a dict of such arrays by name.
        truth: true positions `(T', N, D)`. Defaults to None.
        bones: pairs of nodes that are joined at the end.
        up: axis that points up: `"x"`, `"y"` or `"z"`.
        unit: name of the unit of length, for the scale.

    Returns:
        A matplotlib Figure.

    Raises:
        ValueError: shapes do not fit, or there is NaN.

    Example:
        >>> figure = trajectories({"REMUL": path[0], "EGNN": other[0]}, true)
        >>> figure.savefig("paths.png")
    """
    paths = named(paths, 3, "paths")
    figure, scenes = scenes_for(paths, up)
    for scene, path in zip(scenes, paths.values(), strict=True):
        ways = np.swapaxes(path, 0, 1)
        colours = [COLOURS[i % len(COLOURS)] for i in range(len(ways))]
        if truth is not None:
            true = named(truth, 3, "truth")[""]
            scene.lines(np.swapaxes(true, 0, 1), colors="0.7", lw=3.0)
        scene.lines(ways, colors=colours, lw=1.2)
        scene.bones(path[-1], bones, colors="0.3", lw=1.5)
        size = 30.0 if len(ways) < 20 else 8.0
        scene.nodes(path[0], colours, 0.5 * size)
        scene.nodes(path[-1], colours, size, filled=False)
    frame(scenes, unit)
    return figure


def skeleton(
    poses: ArrayLike | dict[str, ArrayLike],
    bones: ArrayLike,
    up: str = "y",
    unit: str = "",
) -> Figure:
    """Poses of a body, from light to dark as time goes by.

    Args:
        poses: positions `(T, N, D)`, or a dict of such arrays by name, each of
            which has a panel.
        bones: pairs of nodes `(K, 2)`, such as `CMU_BONES`.
        up: axis that points up: `"x"`, `"y"` or `"z"`.
        unit: name of the unit of length, for the scale.

    Returns:
        A matplotlib Figure.

    Raises:
        ValueError: shapes do not fit, or there is NaN.
    """
    poses = named(poses, 3, "poses")
    figure, scenes = scenes_for(poses, up)
    for i, (scene, body) in enumerate(zip(scenes, poses.values(), strict=True)):
        colour = COLOURS[i % len(COLOURS)]
        for shade, pose in zip(shades(len(body)), body, strict=True):
            scene.bones(pose, bones, colors=colour, lw=2.0, alpha=shade)
    frame(scenes, unit)
    return figure


def shades(count):
    """How dark each of several poses is, the last one most.

    Args:
        count: number of poses.
    """
    return np.linspace(0.25, 1.0, count) if count > 1 else [1.0]


def molecule(atoms: ase.Atoms, forces: ArrayLike | None = None) -> Figure:
    """A molecule as balls and sticks, with its forces as arrows.

    Args:
        atoms: `ase.Atoms`. A bond is where two atoms are closer than 1.2 times
            the sum of their covalent radii; two hydrogen atoms have none.
        forces: `(N, 3)`, eV/Angstrom; 1 is drawn 0.3 Angstrom long. Defaults to
            None.

    Returns:
        A matplotlib Figure.

    Raises:
        ValueError: these are not `ase.Atoms`, or the forces do not fit.
    """
    if not hasattr(atoms, "numbers") or not hasattr(atoms, "positions"):
        raise ValueError(
            f"Expected `ase.Atoms`. Received: {type(atoms).__name__}"
        )
    from ase.data import covalent_radii
    from ase.data.colors import jmol_colors
    from scipy.spatial.distance import cdist

    place, numbers = atoms.positions, atoms.numbers
    radii = covalent_radii[numbers]
    near = cdist(place, place) < 1.2 * (radii[:, None] + radii)
    near &= (numbers[:, None] > 1) | (numbers > 1)
    figure, (axis,) = panels([atoms.get_chemical_formula()])
    scene = Scene(axis)
    draw_molecule(
        scene,
        place,
        np.argwhere(np.triu(near, 1)),
        jmol_colors[numbers],
        400.0 * radii,
        forces,
    )
    frame([scene], "\N{ANGSTROM SIGN}")
    return figure


def draw_molecule(scene, place, bonds, colours, sizes, forces=None):
    """Balls, sticks and arrows.

    Args:
        scene: a `Scene`.
        place: `(N, 3)`, Angstrom.
        bonds: pairs of atoms.
        colours, sizes: of the atoms.
        forces: `(N, 3)`, eV/Angstrom, or None.

    Raises:
        ValueError: the forces have another shape.
    """
    scene.bones(place, bonds, colors="0.6", lw=3.0)
    scene.nodes(place, colours, sizes, linewidths=0.8, edgecolors="0.3")
    if forces is not None:
        forces = np.asarray(forces)
        if forces.shape != np.shape(place):
            raise ValueError(
                f"Expected forces of the shape {np.shape(place)}. Received: "
                f"{forces.shape}"
            )
        ends = np.stack([place, place + FORCE * forces], axis=1)
        scene.lines(ends, colors="tab:orange", lw=1.8, zorder=4)
        scene.nodes(ends[:, 1], "tab:orange", 9.0, zorder=4)


def jets(
    four_momenta: ArrayLike | dict[str, ArrayLike], unit: str = "GeV"
) -> Figure:
    """Constituents of jets, each relative to the axis of its jet.

    Areas are in proportion to transverse momentum, colours tell jets apart.

    Args:
        four_momenta: `(S, N, 4)`, energy first, zeros where padded; or a dict
            of such arrays by name, each of which has a panel.
        unit: of the momenta, for the title.

    Returns:
        A matplotlib Figure.

    Raises:
        ValueError: there are not four components, or a jet has no constituents.
    """
    one = not isinstance(four_momenta, dict)
    given = {"": four_momenta} if one else four_momenta
    figure, axes = panels(list(given), 1.2 * PANEL, 1.2 * PANEL)
    for axis, momenta in zip(axes, given.values(), strict=True):
        draw_jets(axis, np.asarray(momenta, "float64"))
        largest = np.hypot(*np.moveaxis(momenta[..., 1:3], -1, 0)).max()
        axis.text(
            0.02,
            0.02,
            f"largest dot {largest:.0f} {unit}",
            transform=axis.transAxes,
            fontsize=8,
            color="0.4",
        )
    return figure


def draw_jets(axis, p):
    """Draws jets into axes, see `jets`.

    Args:
        axis: Matplotlib axes.
        p: four-momenta `(S, N, 4)`, float64.
    """
    if p.ndim != 3 or p.shape[-1] != 4 or not np.isfinite(p).all():
        raise ValueError(
            "Expected four-momenta (S, N, 4) without NaN. Received: shape "
            f"{p.shape}"
        )
    pt = np.hypot(p[..., 1], p[..., 2])
    there = pt > 0
    if not there.any(axis=1).all():
        raise ValueError(
            "Expected one constituent or more in each jet. Received: jet "
            f"{np.flatnonzero(~there.any(axis=1))[0]} without"
        )
    eta = np.arcsinh(p[..., 3] / np.where(there, pt, 1.0))
    total = p.sum(axis=1)
    center = np.arcsinh(total[:, 3] / np.hypot(total[:, 1], total[:, 2]))
    phi = np.arctan2(p[..., 2], p[..., 1])
    phi = phi - np.arctan2(total[:, 2], total[:, 1])[:, None]
    phi = (phi + np.pi) % (2 * np.pi) - np.pi
    for i, mask in enumerate(there):
        axis.scatter(
            (eta[i] - center[i])[mask],
            phi[i][mask],
            s=400.0 * pt[i][mask] / pt.max(),
            color=COLOURS[i % len(COLOURS)],
            alpha=0.5,
            linewidths=0,
        )
    axis.set(xlabel="pseudorapidity", ylabel="azimuth", aspect="equal")
    axis.set(xlim=(-1, 1), ylim=(-1, 1))
    axis.grid(alpha=0.3)
