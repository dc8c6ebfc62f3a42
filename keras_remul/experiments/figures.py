"""Pictures of training and of predictions."""

import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from keras_remul.datasets.nbody_charged.simulator import simulate
from keras_remul.utils.leaves import to_numpy

_TRUE = "0.55"
_COLOURS = ["tab:red", "tab:blue", "tab:green", "tab:orange", "tab:purple"]


def quickstart_figure(curves, models, symmetry, data, sample=0):
    """Training curves, and predictions before and after a rotation.

    Args:
        curves: name -> history of `fit`, with `val_mse`.
        models: name -> model trained on systems in one orientation.
        symmetry: the `Symmetry` of the data.
        data: (x, y), test systems in that orientation.
        sample: which of the systems to draw.

    Returns:
        A matplotlib Figure. (No pyplot, so no window and no global state.)
    """
    figure = Figure(figsize=(13, 6.5), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=[1, 2.1])
    _draw_curves(left.subplots(), curves)
    x, _ = data
    x = {key: value[sample : sample + 1] for key, value in x.items()}
    path = true_path(x)
    axes = right.subplots(
        len(models), 2, subplot_kw={"projection": "3d"}, squeeze=False
    )
    for row, (name, model) in zip(axes, models.items(), strict=True):
        _draw_system(row[0], model, symmetry, x, path, turns=0)
        row[0].set_title(f"{name}\norientation seen in training", fontsize=10)
        _draw_system(row[1], model, symmetry, x, path, turns=40)
        row[1].set_title(
            f"{name}\nrotated 40 times, predictions rotated back", fontsize=10
        )
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
    n = len(y)
    figure = Figure(figsize=(4 * n, 4.2), layout="constrained")
    axes = figure.subplots(1, n, subplot_kw={"projection": "3d"}, squeeze=False)
    for i, axis in enumerate(axes[0]):
        one = {key: value[i : i + 1] for key, value in x.items()}
        path = np.stack([one["positions"][0], y[i]])
        _draw_system(axis, model, symmetry, one, path, turns)
    figure.suptitle(
        f"Each system transformed by {turns} random elements of "
        f"{symmetry.group!r}, predictions transformed back.\n"
        "Circles: true end, joined with the start. Crosses: predicted ends.",
        fontsize=10,
    )
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
    scale = LogNorm(*np.quantile(values, [0.01, 0.8]))
    levels = np.geomspace(scale.vmin, scale.vmax, 16)
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


def _draw_system(axis, model, symmetry, x, path, turns):
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
    for i in range(path.shape[1]):
        colour = _COLOURS[i % len(_COLOURS)]
        axis.plot(*path[:, i].T, color=_TRUE, lw=1.5)
        axis.scatter(
            *path[-1, i], s=60, facecolors="none", edgecolors=colour, lw=1.5
        )
        axis.scatter(
            *predicted[:, i].T, color=colour, s=25, marker="x", lw=1, alpha=0.7
        )
    axis.set_aspect("equal")
    axis.set(xticklabels=[], yticklabels=[], zticklabels=[])
    error = np.mean((predicted - path[-1]) ** 2)
    axis.text2D(
        0.5, 0.0, f"MSE {error:.4f}", transform=axis.transAxes, ha="center"
    )
