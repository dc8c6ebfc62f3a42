"""What one prediction of a model of motion means, and what follows from it."""

from __future__ import annotations

import dataclasses
import math

from keras_remul.utils.typing import Array

# Of the time from input to output: far enough that the difference of two
# predictions is no noise, near enough that it is a velocity. Chosen on the
# validation walks of `cmu_mocap/walkers`.
SHARE = 1 / 3
RULES = ("mean", "moved")


@dataclasses.dataclass(frozen=True)
class TimeStep:
    """The time from the input of a model to its output, and its velocities.

    A model that predicts positions x' only says nothing of the velocities v'
    there, which are inputs of its next prediction. With `velocities="mean"`
    they are (x' - x) / T, which lags behind by half a step. With `"moved"` they
    are the change of the prediction while the input moves on, for a second
    prediction in each step:

        a  = 2 (x' - x - T v) / (T^2 - T d),                     h = T / 3
        v' = (f(x + h v + a (h^2 - h d) / 2, v + h a) - x') / h

    with the acceleration a of the parabola through x, v and x'. For smooth
    motion, as of joints, that is far better; where the motion is not smooth
    over the time T, as of charges that pass each other, it is far worse.

    Args:
        horizon: T, from input to output, in units of the velocities: 30 for
            velocities per frame and predictions 30 frames ahead.
        velocities: `"mean"` or `"moved"`. Defaults to `"mean"`.
        interval: d, where velocities of inputs are differences
            (x(t + d) - x(t)) / d. Defaults to 0.0: they are those at the time
            of the positions. Used for `"moved"`.

    Raises:
        ValueError: a time is not a finite number, the horizon is not positive,
            the interval is not between 0 and half of it, or `velocities` is
            unknown.
    """

    horizon: float
    velocities: str = "mean"
    interval: float = 0.0

    def __post_init__(self):
        times = self.horizon, self.interval
        numbers = all(
            isinstance(t, (int, float)) and math.isfinite(t) for t in times
        )
        if not numbers or not 0 <= 2 * self.interval <= self.horizon > 0:
            raise ValueError(
                "Expected a horizon above 0 and an interval of the velocities "
                "from 0 to half of it. Received: "
                f"horizon={self.horizon!r}, interval={self.interval!r}"
            )
        if self.velocities not in RULES:
            raise ValueError(
                f"Argument `velocities` must be one of {RULES}. Received: "
                f"{self.velocities!r}"
            )

    @property
    def moves(self) -> bool:
        """Whether new velocities take a second prediction."""
        return self.velocities == "moved"

    def later(self, x: Array, v: Array, y: Array) -> tuple[Array, Array, float]:
        """The state a little later than the input, and how much later.

        Args:
            x, v: positions and velocities of the input `(B, N, D)`.
            y: predicted positions.

        Returns:
            `(positions, velocities, h)`.
        """
        t, d = self.horizon, self.interval
        h = SHARE * t
        a = (y - x - t * v) * (2.0 / (t * t - t * d))
        return x + h * v + (0.5 * (h * h - h * d)) * a, v + h * a, h
