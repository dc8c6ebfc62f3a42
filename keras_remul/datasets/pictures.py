"""Pictures of data sets: trajectories, skeletons, molecules, jets."""

import numpy as np
from matplotlib.figure import Figure
from scipy.spatial.distance import cdist

from keras_remul.datasets import loading, registry
from keras_remul.evaluation.visualization.pictures import (
    draw_jets,
    draw_molecule,
    panels,
)
from keras_remul.evaluation.visualization.scene import Scene, frame
from keras_remul.evaluation.visualization.skeletons import CMU_BONES

# Angstrom; the second to hydrogen. Two hydrogen atoms are never joined.
LONGEST_BONDS = (1.8, 1.3)
ATOMS = {1: "0.75", 6: "0.3", 7: "tab:blue", 8: "tab:red"}
BEFORE, AFTER = "tab:blue", "tab:orange"


def edges(x):
    """Pairs of nodes of the first sample that a picture joins by a line."""
    if "joints" in x:
        return list(CMU_BONES)
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


def vertical(x):
    """The axis that points up in pictures: y where there is gravity.

    Args:
        x: dict of inputs.
    """
    return "y" if "joints" in x else "z"


def _draw_motion(scene, x, y):
    """Input and target of the first sample, each node joined with itself."""
    before, after = x["positions"][0], y[0]
    bones, sizes = edges(x), _sizes(x)
    for place, colour in ((before, BEFORE), (after, AFTER)):
        scene.bones(place, bones, colors=colour, lw=1.5)
    if len(before) <= 20:
        ways = np.stack([before, after], axis=1)
        scene.lines(ways, colors="0.6", lw=1.0)
    colours = _colours(x)
    scene.nodes(before, BEFORE if colours is None else colours, sizes)
    after_is = AFTER if colours is None else colours
    scene.nodes(after, after_is, sizes, filled=False)


def _draw_forces(scene, x, forces):
    """The atoms of the first sample and the forces on them, as lines."""
    there = x["atomic_numbers"][0, :, 0] > 0
    x = {key: array[:, there] for key, array in x.items()}
    draw_molecule(
        scene, x["positions"][0], edges(x), _colours(x), 60.0, forces[there]
    )


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
            draw_jets(axis, x["four_momenta"][chosen].astype("float64"))
            axis.set_title(f"{len(chosen)} {title} jets")
    else:
        figure, axes = panels([""] * samples, 3.0, 3.0)
        chosen = rng.permutation(len(x["positions"]))[:samples]
        for axis, i in zip(axes, chosen, strict=False):
            one = {key: value[i : i + 1] for key, value in x.items()}
            scene = Scene(axis, vertical(x))
            if isinstance(y, dict):
                _draw_forces(scene, one, y["forces"][i])
            else:
                _draw_motion(scene, one, y[i : i + 1])
            frame([scene])
    figure.suptitle(f"{name}, {split}", fontsize=10)
    return figure
