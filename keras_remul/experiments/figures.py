"""Pictures of training and of predictions."""

from typing import Any

import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from keras_remul.datasets.nbody_charged.simulator import simulate
from keras_remul.datasets.pictures import edges, vertical
from keras_remul.evaluation.potentials import valid_atoms
from keras_remul.evaluation.visualization.pictures import COLOURS, panels
from keras_remul.evaluation.visualization.scene import Scene, frame
from keras_remul.utils.leaves import to_numpy

_TRUE = "0.55"


def quickstart_figure(curves, models, symmetry, data):
    """Training curves, and predictions before and after a rotation.

    Args:
        curves: name -> history of `fit`, with `val_mse`.
        models: name -> model trained on systems in one orientation.
        symmetry: the `Symmetry` of the data.
        data: (x, y), test systems in that orientation, of whose first 20 the
            one is drawn with the bodies closest to each other.

    Returns:
        A matplotlib Figure. (No pyplot, so no window and no global state.)
    """
    figure = Figure(figsize=(13, 6.5), layout="constrained")
    parts: Any = figure.subfigures(1, 2, width_ratios=[1, 2.1])
    left, right = parts
    _draw_curves(left.subplots(), curves)
    x, _ = data
    # In a box around bodies far from each other, no motion could be seen.
    sample = np.ptp(x["positions"][:20], axis=1).max(axis=1).argmin()
    x = {key: value[sample : sample + 1] for key, value in x.items()}
    path = true_path(x)
    scenes = []
    axes = right.subplots(len(models), 2, squeeze=False)
    for row, (name, model) in zip(axes, models.items(), strict=True):
        for axis, turns, where in (
            (row[0], 0, "orientation seen in training"),
            (row[1], 40, "rotated 40 times, predictions rotated back"),
        ):
            scene = Scene(axis)
            error = _draw_system(scene, model, symmetry, x, path, turns)
            axis.set_title(f"{name}, {where}\nMSE {error:.4f}", fontsize=10)
            scenes.append(scene)
    frame(scenes)
    right.suptitle(
        "Trained on one orientation only. Grey: true motion. Circles: true "
        "end. Crosses: predicted end."
    )
    return figure


def predictions_figure(model, symmetry, x, y, turns=40):
    """Predicted positions of a few systems, each transformed many times.

    Args:
        model: from the inputs to positions `(B, N, 3)`.
        symmetry: the `Symmetry` of the data.
        x: inputs of few systems, with `"positions"`.
        y: true positions `(B, N, 3)`.
        turns: elements g for each system.

    Returns:
        A matplotlib Figure.
    """
    figure, axes = panels([" "] * len(y), 4.0, 4.2)
    for i, axis in enumerate(axes):
        one = {key: value[i : i + 1] for key, value in x.items()}
        path = np.stack([one["positions"][0], y[i]])
        scene = Scene(axis, vertical(x))
        error = _draw_system(scene, model, symmetry, one, path, turns)
        axis.set_title(f"MSE {error:.4f}", fontsize=10)
        frame([scene])
    figure.suptitle(
        f"Each system transformed by {turns} random elements of "
        f"{symmetry.group!r}, predictions transformed back.\n"
        "Circles: true end, joined with the start. Crosses: predicted ends.",
        fontsize=10,
    )
    return figure


def potential_figure(potential, symmetry, x, y, turns=40):
    """Errors of a potential, and what turning the molecules does to them.

    Args:
        potential: a `Potential`, in eV and Angstrom.
        symmetry: its `Symmetry`.
        x: inputs of some molecules.
        y: their labels, with `"energy"` and `"forces"`.
        turns: elements g for each molecule.

    Returns:
        A matplotlib Figure: predicted forces against the labels; and the errors
        of the energies of each molecule, transformed by each g.
    """
    figure, axes = panels([" "] * 2, 4.2, 4.0)
    found = potential.predict(x, batch_size=32, verbose=0)
    valid = valid_atoms(x)
    true, predicted = y["forces"][valid], found["forces"][valid]
    span = [float(true.min()), float(true.max())]
    axes[0].plot(span, span, color=_TRUE, lw=1)
    axes[0].plot(true.ravel(), predicted.ravel(), ".", ms=1.5, alpha=0.4)
    error = 1000.0 * np.abs(predicted - true).mean()
    axes[0].set(xlabel="force in the data, eV/Angstrom", ylabel="predicted")
    axes[0].set_title(f"forces, MAE {error:.3g} meV/Angstrom", fontsize=10)
    true = potential.targets(x, y)["energy_per_atom"]
    errors = [found["energy_per_atom"] - true]
    for seed in range(turns):
        g = symmetry.sample(len(true), seed=seed)
        moved = to_numpy(symmetry.transform_inputs(g, x))
        found = potential.predict(moved, batch_size=32, verbose=0)
        errors.append(found["energy_per_atom"] - true)
    errors = 1000.0 * np.concatenate(errors, axis=1)  # (molecules, 1 + turns)
    order = np.argsort(errors[:, 0])
    for place, row in enumerate(errors[order]):
        axes[1].plot([place] * len(row), row, "_", color="tab:orange", ms=4)
    axes[1].plot(errors[order, 0], ".", color="tab:blue", ms=3)
    axes[1].axhline(0.0, color=_TRUE, lw=1)
    axes[1].set(xlabel="molecule, by error", ylabel="error, meV/atom")
    axes[1].set_title(
        f"energies, as they are and turned {turns} times", fontsize=10
    )
    return figure


def tagger_figure(model, symmetry, x, y, turns=10):
    """How a tagger rejects background, and what moving jets does to logits.

    Args:
        model: from the inputs to logits `(B, 1)`.
        symmetry: its `Symmetry`.
        x: inputs.
        y: labels 0 or 1 `(B, 1)`.
        turns: elements g for each of the first 100 jets.

    Returns:
        A matplotlib Figure: 1 / the share of background above the score of each
        share of the signal, as it is and moved; and the logits of moved jets
        less those of the jets as they are.
    """
    figure, axes = panels([" "] * 2, 4.2, 4.0)
    moved = symmetry.transform_inputs(symmetry.sample(len(y), seed=0), x)
    for name, inputs, style in (
        ("as they are", x, "-"),
        ("moved by the group", to_numpy(moved), "--"),
    ):
        scores = model.predict(inputs, batch_size=250, verbose=0)[:, 0]
        ones, zeros = scores[y[:, 0] > 0], scores[y[:, 0] == 0]
        kept = np.linspace(0.2, 1.0, 161)
        passing = zeros >= np.quantile(ones, 1.0 - kept)[:, None]
        share = passing.mean(axis=1)
        some = share > 0
        axes[0].plot(kept[some], 1.0 / share[some], style, label=name)
    axes[0].set(xlabel="share of the signal that is kept", yscale="log")
    axes[0].set(ylabel="1 / share of the background that passes")
    axes[0].legend(frameon=False)
    axes[0].grid(alpha=0.3)
    axes[0].set_title(f"{len(y)} jets of the test split", fontsize=10)
    few = {key: a[:100] for key, a in x.items()}
    logits = model.predict(few, verbose=0)[:, 0]
    for seed in range(turns):
        g = symmetry.sample(len(logits), seed=seed)
        moved = to_numpy(symmetry.transform_inputs(g, few))
        change = model.predict(moved, verbose=0)[:, 0] - logits
        axes[1].plot(logits, change, ".", color=COLOURS[1], ms=2, alpha=0.5)
    axes[1].axhline(0.0, color=_TRUE, lw=1)
    axes[1].set(xlabel="logit of a jet", ylabel="change where it is moved")
    axes[1].set_title(f"{len(logits)} jets, moved {turns} times", fontsize=10)
    return figure


def landscape_figure(surfaces, span):
    """Loss landscapes beside each other, on one logarithmic scale.

    Args:
        surfaces: name -> array `(P, P)` of `evaluation.loss_landscape`.
        span: half the length of their sides.

    Returns:
        A matplotlib Figure.
    """
    n = len(surfaces)
    figure = Figure(figsize=(3.6 * n + 0.6, 3.8), layout="constrained")
    axes = figure.subplots(1, n, sharey=True, squeeze=False)[0]
    values = np.concatenate([s[np.isfinite(s)] for s in surfaces.values()])
    # A few cells of one model may be decades above all others.
    low, high = np.quantile(values, [0.01, 0.8])
    scale = LogNorm(low, high)
    levels = np.geomspace(low, high, 16)
    for axis, (name, surface) in zip(axes, surfaces.items(), strict=True):
        steps = np.linspace(-span, span, len(surface))
        found = axis.contourf(
            steps, steps, surface.T, levels, norm=scale, extend="both"
        )
        axis.contour(found, colors="white", linewidths=0.4)
        axis.plot(0, 0, "r+")
        axis.set(xlabel="along d, in norms of filters", aspect="equal")
        axis.set_title(name, fontsize=9)
    axes[0].set_ylabel("along e")
    figure.colorbar(found, ax=axes, label="loss", format="%.2g")
    return figure


def true_path(x, frames=10):
    """The simulated motion `(frames + 1, N, 3)` of one system."""
    positions, _ = simulate(
        x["charges"][..., 0],
        x["positions"],
        x["velocities"],
        frames=range(frames),
        verbose=0,
    )
    return np.concatenate([x["positions"], positions[0]])


def _draw_curves(axis, curves):
    for (name, history), colour in zip(
        curves.items(),
        ("0.3", "tab:orange", "tab:blue", "tab:green"),
        strict=True,
    ):
        epochs = np.arange(1, len(history["val_mse"]) + 1)
        axis.plot(epochs, history["val_mse"], color=colour, label=name)
        axis.plot(epochs, history["mse"], color=colour, ls=":", lw=1)
    axis.set(xlabel="epoch", ylabel="MSE (full: validation, dotted: training)")
    axis.set(yscale="log", title="Trained on all orientations")
    axis.legend(frameon=False)
    axis.grid(alpha=0.3, which="both")


def _draw_system(scene, model, symmetry, x, path, turns):
    if turns:
        x = {key: np.repeat(value, turns, axis=0) for key, value in x.items()}
        g = symmetry.sample(turns, seed=3)
        predicted = model.predict(
            to_numpy(symmetry.transform_inputs(g, x)), verbose=0
        )
        predicted = symmetry.transform_outputs(
            symmetry.group.inverse(g), predicted
        )
        predicted = to_numpy(predicted)
    else:
        predicted = model.predict(x, verbose=0)
    nodes, bones = path.shape[1], edges(x)
    colours = [COLOURS[i % len(COLOURS)] for i in range(nodes)]
    if bones:  # the body, at the start and at the end
        scene.bones(path[0], bones, colors="0.85", lw=2.0)
        scene.bones(path[-1], bones, colors=_TRUE, lw=2.0)
        size = 18.0
    else:
        scene.lines(np.swapaxes(path, 0, 1), colors=_TRUE, lw=1.5)
        size = 60.0
    for pose in predicted:
        style = {"marker": "x", "linewidths": 1.0, "alpha": 0.6}
        scene.nodes(pose, colours, 0.4 * size, **style)
    scene.nodes(path[-1], colours, size, filled=False)
    return np.mean((predicted - path[-1]) ** 2)


def few_ticks(axis):
    """Labels at few plain numbers, on a logarithmic axis."""
    low, high = axis.get_view_interval()
    decades = np.log10(high / low)
    subs = (1, 1.2, 1.5, 2, 2.5, 3, 4, 6, 8)
    if decades > 0.8:
        subs = (1, 2, 5) if decades < 2.5 else (1,)
    axis.set_major_locator(LogLocator(subs=subs))
    axis.set_major_formatter("{x:.4g}")
    axis.set_minor_formatter(NullFormatter())
