"""A model that corrects another one."""

from __future__ import annotations

import copy
from typing import Any, Self

import keras
import numpy as np
from keras import ops

from keras_remul.models.base import NodeModel
from keras_remul.models.wrappers.base import Wrapper, has_build
from keras_remul.utils.arguments import checked
from keras_remul.utils.shapes import check_same_shape
from keras_remul.utils.typing import Array, Config, Shapes

START = "start"


@keras.saving.register_keras_serializable(package="keras_remul")
class Correction(Wrapper):
    """The prediction of a first model, plus the correction by a second one.

    `y = f_0(x) + s (f(x, f_0(x) - x) - x)`

    for models of moving nodes. f_0 is fixed: a law, or a regression. If f_0 is
    accurate, its residual is small. If f_0 also has the symmetry, the
    equivariance error is that of the correction only, and so is small as well.
    `adapt` sets s to the size of the residual, so that f learns numbers near
    one.

    Models that are not built yet become part of the correction; f_0 is not
    trained. Built models are copied, and the originals do not change: f_0 is
    copied with its weights, f gets new weights, since its inputs and outputs
    differ. The uniform motion x + s v, from which a `NodeModel` would start, is
    not added to f.

    Args:
        start: f_0, a Keras model from the inputs to positions `(B, N, D)`.
        model: f, a `NodeModel` of positions, such as `Transformer`, or another
            Keras model from these inputs to positions.
        shows_start: whether f also sees the step f_0(x) - x, in units of its
            `length_unit`, as the feature `"start"` `(B, N, D)`. For models
            whose features are scalars, such as `EGNN`, False. Defaults to True.
        **kwargs: `name`, `dtype` and `trainable`, for `keras.Model`.

    Call arguments:
        inputs: the inputs of both models, a dict with `"positions"`.
        training: passed on to f.

    Returns:
        Positions `(B, N, D)`.

    Raises:
        ValueError: the arguments are not Keras models, or their outputs are not
            such positions.

    Example:
        >>> start = ridge.make(symmetry, time_unit=50.0)
        >>> ridge.fit(start, train, validation)
        >>> model = Correction(start, Transformer(time_unit=50.0))
        >>> model.adapt(*train)
    """

    parts = ("start", "model")

    @checked()
    def __init__(
        self,
        start: keras.Model,
        model: keras.Model,
        shows_start: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            _copied(start), _copied(model, weights=False), **kwargs
        )
        self.shows_start = shows_start

    def build(self, input_shape: Shapes) -> None:
        if not self.start.built and has_build(self.start):
            self.start.build(input_shape)
        self.start.trainable = False  # of all that has been built
        self.scale = self.add_weight(
            shape=(), initializer="ones", trainable=False, name="scale"
        )
        if self.shows_start:
            input_shape = {**input_shape, START: input_shape["positions"]}
        if not self.model.built and has_build(self.model):
            if isinstance(self.model, NodeModel):
                self.model.velocity_initializer = "zeros"
            self.model.build(input_shape)
            if isinstance(self.model, NodeModel):
                del self.model.velocity_initializer  # the class has its own

    def call(
        self, inputs: dict[str, Array], training: bool | None = None
    ) -> Array:
        x = ops.cast(inputs["positions"], self.variable_dtype)
        first = self.start(inputs, training=False)
        step = self._checked(first, x, "start") - x
        seen = inputs
        if self.shows_start:
            unit = getattr(self.model, "length_unit", 1.0)
            seen = {**inputs, START: step / unit}
        second = self.model(seen, training=training)
        y = x + step + self.scale * (self._checked(second, x, "model") - x)
        masks = [m for m in self.read_masks([second, first]) if m is not None]
        return self.with_masks(y, masks[:1] or [None])

    def _checked(self, y, x, name):
        shape = getattr(y, "shape", None)
        if shape is None or len(shape) != 3 or shape[2] != x.shape[2]:
            raise ValueError(
                f"Expected `{name}` to give positions of the shape "
                f"{tuple(x.shape)}. Received: {shape}"
            )
        return ops.cast(y, x.dtype)

    def adapt(self, x: dict[str, np.ndarray], y: np.ndarray) -> None:
        """Sets s to the root of the mean square of y - f_0(x).

        Args:
            x, y: inputs without padding, and labels.

        Raises:
            ValueError: x has a mask, y has another shape than f_0(x), or the
                residual is zero or not finite.
        """
        if "mask" in x:
            raise ValueError("`adapt` needs samples without padding: no mask.")
        if not self.built:
            self(keras.tree.map_structure(lambda a: a[:1], x))
        y, first = ops.convert_to_numpy(y), self.start.predict(x, verbose=0)
        check_same_shape("y", y, "start(x)", first)
        scale = float(np.mean((y.astype("float64") - first) ** 2) ** 0.5)
        if not (np.isfinite(scale) and scale > 0):
            raise ValueError(
                "Expected labels that are finite and differ from those of "
                f"`start`. Received: a residual of root mean square {scale}"
            )
        self.scale.assign(scale)

    def get_config(self) -> Config:
        return {**super().get_config(), "shows_start": self.shows_start}

    @classmethod
    def from_config(
        cls, config: Config, custom_objects: dict[str, Any] | None = None
    ) -> Self:
        # `build` builds the parts, and knows how.
        config = copy.deepcopy(config)
        for name in cls.parts:
            config[name].pop("build_config", None)
        return super().from_config(config, custom_objects)


def _copied(model, weights=True):
    """The model itself or, if it is built, a copy."""
    if not getattr(model, "built", False):
        return model
    config = keras.saving.serialize_keras_object(model)["config"]
    result = type(model).from_config(config)
    if weights:
        if not result.built:
            result.build_from_config(model.get_build_config())
        result.set_weights(model.get_weights())
    return result
