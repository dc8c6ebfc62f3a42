"""Pictures of data sets: trajectories, skeletons, molecules, jets."""

import numpy as np
from matplotlib.figure import Figure
from scipy.spatial.distance import cdist

from keras_remul.datasets import loading, registry

# The skeleton of the CMU data base: the joint that each joint hangs on.
PARENTS = (
    (-1, 0, 1, 2, 3, 4)  # root, left leg
    + (0, 6, 7, 8, 9)  # right leg
    + (0, 11, 12, 13, 14, 15)  # spine, neck, head
    + (13, 17, 18, 19, 20, 21, 20)  # left arm
    + (13, 24, 25, 26, 27, 28, 27)  # right arm
)
# Angstrom; the second to hydrogen. Two hydrogen atoms are never joined.
LONGEST_BONDS = (1.8, 1.3)
ATOMS = {1: "0.75", 6: "0.3", 7: "tab:blue", 8: "tab:red"}
FORCE = 0.3  # Angstrom for 1 eV/Angstrom
BEFORE, AFTER = "tab:blue", "tab:orange"


def edges(x):
    """Pairs of nodes of the first sample that a picture joins by a line."""
    if "joints" in x:
        return [(child, PARENTS[child]) for child in range(1, len(PARENTS))]
    if "atomic_numbers" in x:
        p = x["positions"][0]
        distance = cdist(p, p)
        hydrogen = x["atomic_numbers"][0, :, 0] == 1
        count = hydrogen[:, None].astype(int) + hydrogen
        longest = np.array([*LONGEST_BONDS, 0.0])[count]
        return np.argwhere(np.triu(distance < longest, 1)).tolist()
    return []


def _sizes(x):
    """Areas of the dots of the nodes of the first sample."""
    if "masses" in x:
        return 45 + 14 * np.log10(np.maximum(x["masses"][0, :, 0], 1e-3))
    return np.full(x["positions"].shape[1], 10.0 if "joints" in x else 40.0)


def _colours(x):
    if "charges" in x:
        return np.where(x["charges"][0, :, 0] > 0, "tab:red", "tab:blue")
    if "atomic_numbers" in x:
        return [ATOMS.get(int(n), "0.6") for n in x["atomic_numbers"][0, :, 0]]
    return None


def _draw_motion(axis, x, y, upright):
    """Input and target of the first sample, each node joined with itself."""
    # Matplotlib's third axis is vertical; so is y, where there is gravity.
    order = [2, 0, 1] if upright else [0, 1, 2]
    before, after = x["positions"][0][:, order], y[0][:, order]
    for place, colour in ((before, BEFORE), (after, AFTER)):
        for pair in edges(x):
            axis.plot(*place[list(pair)].T, color=colour, lw=1.5)
    colours = _colours(x)
    many = len(before) > 20
    for i, path in enumerate(np.stack([before, after], axis=1)):
        if not many:
            axis.plot(*path.T, color="0.6", lw=1)
        style = {"s": _sizes(x)[i]}
        colour = BEFORE if colours is None else colours[i]
        axis.scatter(*path[0], color=colour, **style)
        colour = AFTER if colours is None else colours[i]
        axis.scatter(*path[1], facecolors="none", edgecolors=colour, **style)
    axis.set_aspect("equal")
    axis.set(xticklabels=[], yticklabels=[], zticklabels=[])


def _draw_forces(axis, x, forces):
    """The atoms of the first sample and the forces on them, as lines."""
    there = x["atomic_numbers"][0, :, 0] > 0
    x = {key: array[:, there] for key, array in x.items()}
    place = x["positions"][0]
    for pair in edges(x):
        axis.plot(*place[list(pair)].T, color="0.6", lw=1.5)
    axis.scatter(*place.T, color=_colours(x), s=40.0, depthshade=False)
    axis.quiver(*place.T, *(FORCE * forces[there]).T, color=AFTER, lw=1.5)
    axis.set_aspect("equal")
    axis.set(xticklabels=[], yticklabels=[], zticklabels=[])


def _draw_jets(axis, x, chosen, title):
    """Constituents of many jets, each relative to its own axis."""
    p = x["four_momenta"][chosen].astype("float64")
    pt = np.hypot(p[..., 1], p[..., 2])
    there = pt > 0
    safe = np.where(there, pt, 1.0)
    eta = np.arcsinh(p[..., 3] / safe)
    phi = np.arctan2(p[..., 2], p[..., 1])
    total = p.sum(axis=1)
    center = np.arcsinh(total[:, 3] / np.hypot(total[:, 1], total[:, 2]))
    phi = phi - np.arctan2(total[:, 2], total[:, 1])[:, None]
    phi = (phi + np.pi) % (2 * np.pi) - np.pi
    axis.scatter(
        (eta - center[:, None])[there], phi[there], s=pt[there] / 4, alpha=0.4
    )
    axis.set(title=title, xlabel="pseudorapidity", ylabel="azimuth")
    axis.set(xlim=(-1, 1), ylim=(-1, 1), aspect="equal")


def _draw_orbits(axis, x, bodies):
    """Places of all samples seen from above the plane of the planets."""
    tilt = np.radians(23.44)  # of the equator of the Earth to the ecliptic
    p = x["positions"] - x["positions"][:, :1]
    u = p[..., 0]
    v = np.cos(tilt) * p[..., 1] + np.sin(tilt) * p[..., 2]
    for i in bodies:
        axis.plot(u[:, i], v[:, i], ".", ms=1)
    axis.set(xlabel="astronomical units", aspect="equal")


def picture(name, split="test", samples=4, seed=0, **kwargs):
    """A picture of some samples of a data set.

    Dots are inputs and circles are targets; the dot and the circle of the same
    node are joined. Arrows are forces.

    Args:
        name: as for `datasets.load`.
        split: as for `datasets.load`. Defaults to `"test"`.
        samples: number of samples that are drawn. Defaults to 4.
        seed: seed of the random choice of samples. Defaults to 0.
        **kwargs: those of `datasets.load`.

    Returns:
        A matplotlib Figure.
    """
    x, y = loading.load(name, split, **kwargs)
    dataset, _ = registry.split_name(name)
    rng = np.random.default_rng(seed)
    if dataset == "solar_system":
        figure = Figure(figsize=(9, 4.5), layout="constrained")
        inner, outer = figure.subplots(1, 2)
        _draw_orbits(inner, x, range(6))
        _draw_orbits(outer, x, [0, *range(6, 11)])
    elif dataset == "top_jets":
        figure = Figure(figsize=(9, 4.5), layout="constrained")
        for axis, label, title in zip(
            figure.subplots(1, 2), (1, 0), ("top", "light"), strict=True
        ):
            jets = np.flatnonzero(y[:, 0] == label)
            chosen = rng.permutation(jets)[:samples]
            _draw_jets(axis, x, chosen, f"{len(chosen)} {title} jets")
    else:
        figure = Figure(figsize=(3.2 * samples, 3.4), layout="constrained")
        axes = figure.subplots(
            1, samples, subplot_kw={"projection": "3d"}, squeeze=False
        )
        chosen = rng.permutation(len(x["positions"]))[:samples]
        for axis, i in zip(axes[0], chosen, strict=False):
            one = {key: value[i : i + 1] for key, value in x.items()}
            if isinstance(y, dict):
                _draw_forces(axis, one, y["forces"][i])
            else:
                _draw_motion(axis, one, y[i : i + 1], dataset == "cmu_mocap")
    figure.suptitle(f"{name}, {split}", fontsize=10)
    return figure
