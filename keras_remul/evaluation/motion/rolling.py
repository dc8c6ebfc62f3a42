"""Rollouts: a model of motion applied to its own predictions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_remul import backend
from keras_remul.evaluation.motion.bones import Bones
from keras_remul.evaluation.motion.time_step import TimeStep
from keras_remul.training import RemulModel
from keras_remul.utils.dtypes import at_least_float32, floating
from keras_remul.utils.leaves import count_samples, to_numpy
from keras_remul.utils.typing import Array, ArrayLike
from keras_remul.utils.validation import check_count, check_finite

# Which nodes are near changes on the way; these would stay as they are.
OF_PLACE = ("neighbors", "shifts")
MOVING = ("positions", "velocities")


def rollout(
    model: keras.Model | Callable[..., Any],
    x: dict[str, Array],
    steps: int,
    time_step: TimeStep | None = None,
    bones: ArrayLike | None = None,
) -> np.ndarray:
    """Applies a model of moving nodes to its own predictions.

    One step, with the velocities that the next one starts from, is compiled
    once on JAX and TensorFlow. All inputs except positions and velocities stay
    as they are.

    Args:
        model: a Keras model, or a function of a dict of arrays: from the inputs
            to positions `(B, N, D)`, or to a dict of `"positions"` and
            `"velocities"`.
        x: the states at the start, dict of arrays: `"positions"` `(B, N, D)`,
            `"velocities"` where the model reads them, and its other inputs. The
            nodes that a `"mask"` leaves out stay where they are.
        steps: number of steps, each as long as the model predicts ahead.
        time_step: a `TimeStep`, such as `datasets.time_step("cmu_mocap")`.
            Needed where velocities are inputs and no outputs.
        bones: pairs of nodes `(K, 2)` that keep the distances of the start, and
            form trees, such as `visualization.CMU_BONES`. Defaults to None.

    Returns:
        Positions `(B, steps, N, D)`, float32 or float64: those after each step,
        without the start.

    Raises:
        ValueError: the model gives no positions, or no velocities and there is
            no `time_step`; x has a list of neighbors, NaN, or padding together
            with bones; the bones form no trees; or the motion diverges.

    Example:
        >>> time_step = kr.datasets.time_step("nbody_charged")
        >>> kr.rollout(model, x, 10, time_step).shape
        (2000, 10, 5, 3)
    """
    check_count("steps", steps)
    state = _checked(x, time_step)
    num_nodes = state["positions"].shape[1]
    lengths = {}
    if bones is not None:
        if "mask" in state:
            raise ValueError(
                'Bones of samples with a "mask" are not supported. Roll out '
                "samples of one size without it."
            )
        bones = Bones(bones, num_nodes)
        found = bones.lengths(state["positions"])
        lengths = {"lengths": found.astype(state["positions"].dtype)}
    if isinstance(model, RemulModel):
        model = model.model
    if isinstance(model, keras.Model) and not model.built:
        model({key: value[:1] for key, value in state.items()})
    step = _stepper(model, time_step, bones)
    path = []
    for number in range(1, steps + 1):
        state |= to_numpy(step({"state": state, **lengths}))
        _check_step(state, number)
        path.append(state["positions"])
    return np.stack(path, axis=1)


def _checked(x, time_step):
    """A dict of the arrays of x, after a look at them."""
    if not isinstance(x, dict) or np.ndim(x.get("positions", ())) != 3:
        raise ValueError(
            'Expected x as a dict of arrays with "positions" (B, N, D). '
            f"Received: {keras.tree.map_structure(np.shape, x)}"
        )
    listed = [key for key in OF_PLACE if key in x]
    if listed:
        raise ValueError(
            f"x has {listed}, which change as nodes move. Expected a model "
            "that reads all pairs, without a list of neighbors."
        )
    if not isinstance(time_step, (TimeStep, type(None))):
        raise ValueError(
            "Expected `time_step` as a TimeStep, such as TimeStep(30.0). "
            f"Received: {time_step!r}"
        )
    x = to_numpy(x)
    count_samples(x)
    check_finite(x, "x")
    shapes = {np.shape(x[k]) for k in MOVING if k in x}
    if len(shapes) > 1:
        raise ValueError(
            "Expected positions and velocities of one shape. Received: "
            f"{sorted(shapes)}"
        )
    dtype = at_least_float32(floating(x["positions"].dtype))
    moving = {k: x[k].astype(dtype) for k in MOVING if k in x}
    return {**x, **moving}


def _stepper(model, time_step, bones):
    """A function of the state, compiled where the backend does so."""
    step = Step(model, time_step, bones)
    if not isinstance(model, keras.Model):
        return lambda inputs: step.call(
            keras.tree.map_structure(ops.convert_to_tensor, inputs)
        )

    def run(inputs):
        with backend.kept_generators():
            return step.predict_on_batch(inputs)

    return run


def _check_step(state, number):
    if not np.isfinite(state["positions"]).all():
        bad = ~np.isfinite(state["positions"]).all(axis=(1, 2))
        raise ValueError(
            f"The motion diverges: NaN or infinite positions in step {number}, "
            f"first in sample {np.flatnonzero(bad)[0]}. Take fewer steps, or a "
            "model that was trained on such states."
        )


class Step(keras.Model):
    """One step of a rollout: the next positions and velocities.

    Args:
        model: a Keras model or a function.
        time_step: a `TimeStep`, or None.
        bones: `Bones`, or None.

    Call arguments:
        inputs: dict of `"state"`, the inputs of the model, and with bones
            `"lengths"`.
    """

    def __init__(self, model, time_step, bones):
        super().__init__(autocast=False)
        self.model, self.time_step, self.bones = model, time_step, bones
        self.built = True  # else Keras tries to trace it once more

    def call(self, inputs, training=None):
        state = inputs["state"]
        found = self._predict(inputs, state)
        moved = {"positions": found["positions"]}
        if "velocities" in state:
            moved["velocities"] = self._velocities(inputs, found)
        if "mask" in state:
            there = ops.cast(state["mask"], "bool")[:, :, None]
            moved = {
                key: ops.where(there, value, state[key])
                for key, value in moved.items()
            }
        return moved

    def _velocities(self, inputs, found):
        """The velocities at the predicted positions, see `TimeStep`."""
        if "velocities" in found:
            return found["velocities"]
        if self.time_step is None:
            raise ValueError(
                "The model reads velocities and predicts positions only. Pass "
                'time_step=datasets.time_step("...") of its data set, or '
                "time_step=TimeStep(horizon), the time from its input to its "
                "output."
            )
        state, y = inputs["state"], found["positions"]
        if not self.time_step.moves:
            return (y - state["positions"]) / self.time_step.horizon
        x, v, h = self.time_step.later(
            state["positions"], state["velocities"], y
        )
        later = {**state, "positions": x, "velocities": v}
        return (self._predict(inputs, later)["positions"] - y) / h

    def _predict(self, inputs, state):
        """What the model predicts, as a dict, with the lengths of the bones."""
        is_model = isinstance(self.model, keras.Model)
        y = self.model(state if is_model else to_numpy(state))
        y = y if isinstance(y, dict) else {"positions": y}
        shape = tuple(state["positions"].shape)
        for key in MOVING:
            received = tuple(getattr(y.get(key), "shape", ()))
            if received != shape and (key in y or key == "positions"):
                raise ValueError(
                    f"Expected a model that returns {key} of the shape of "
                    f"those of its input, {shape}. Received: "
                    f"{received or sorted(y)}"
                )
        y = {
            key: ops.cast(y[key], state[key].dtype) for key in y if key in state
        }
        if self.bones is not None:
            y["positions"] = self.bones.keep(y["positions"], inputs["lengths"])
        return y
