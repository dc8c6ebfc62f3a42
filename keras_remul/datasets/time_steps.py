"""`time_step`: the time from input to target of a data set, for rollouts."""

from __future__ import annotations

from typing import Any

from keras_remul.datasets import loading, registry
from keras_remul.evaluation.motion.time_step import TimeStep


def time_step(name: str, config: Any = None) -> TimeStep:
    """The `TimeStep` of a data set of motion, for `rollout`.

    Args:
        name: name of a data set, as for `load`; nothing is prepared.
        config: as for `load`.

    Returns:
        A `TimeStep`: the time from input to target in units of the velocities,
        and how new velocities are made.

    Raises:
        ValueError: for an unknown name, or data without motion.
        ImportError: without the extra `datasets`.

    Example:

    >>> keras_remul.datasets.time_step("cmu_mocap/walk_35")
    TimeStep(horizon=30.0, velocities='moved', interval=1.0)
    """
    with loading.errors_only():
        horizon = loading.builder_maker(name, config)().horizon
    spec = registry.entry(name)
    if horizon is None or "velocities" not in spec.inputs:
        raise ValueError(
            "Expected a data set of moving nodes, from positions and "
            f"velocities to positions. Received: {name!r}"
        )
    velocities = "moved" if spec.moved else "mean"
    return TimeStep(float(horizon), velocities, spec.interval)
