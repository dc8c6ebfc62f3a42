"""The error of rollouts against time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from keras_remul.evaluation.visualization.pictures import COLOURS, named
from keras_remul.utils.typing import ArrayLike

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def error_growth(
    paths: ArrayLike | dict[str, ArrayLike],
    truth: ArrayLike,
    times: ArrayLike | None = None,
    label: str = "steps",
) -> Figure:
    """The mean squared error of rollouts, step by step.

    Args:
        paths: positions `(B, T, N, D)`, or a dict of such arrays by name, each
            of which has a curve.
        truth: true positions of the same shape.
        times: `(T,)`. Defaults to 1, 2, ...
        label: what times are in, for the axis.

    Returns:
        A matplotlib Figure.

    Raises:
        ValueError: shapes differ.
    """
    from matplotlib.figure import Figure

    paths = named(paths, 4, "paths")
    truth = np.asarray(truth, "float64")
    shape = next(iter(paths.values())).shape
    times = np.arange(1, shape[1] + 1) if times is None else np.asarray(times)
    if truth.shape != shape or times.shape != shape[1:2]:
        raise ValueError(
            f"Expected truth of the shape {shape} and a time for each step. "
            f"Received: {truth.shape} and times {times.shape}"
        )
    figure = Figure(figsize=(6.0, 3.6), layout="constrained")
    axis = figure.subplots()
    for i, (name, path) in enumerate(paths.items()):
        error = np.mean((path - truth) ** 2, axis=(0, 2, 3))
        colour = COLOURS[i % len(COLOURS)]
        axis.plot(times, error, ".-", color=colour, label=name)
    axis.set(xlabel=label, ylabel="mean squared error", yscale="log")
    axis.grid(alpha=0.3, which="both")
    if set(paths) != {""}:
        axis.legend(frameon=False, fontsize=8)
    return figure
