"""A model that corrects another one."""

import keras
from keras import ops

from keras_remul.masking import AttachMask
from keras_remul.presets import PresetMethods

START = "start"


@keras.saving.register_keras_serializable(package="keras_remul")
class Correction(PresetMethods, keras.Model):
    """What a first model says, and what a second one adds to it.

    `y = f_0(x) + s (f(x, f_0(x) - x) - x)`

    for models of moving nodes. f_0 is fixed: a law, or a regression. Where it
    is good, what is left for f is small, and so is what f can get wrong under a
    symmetry that f_0 has: the equivariance error is that of the correction
    alone. s, which `adapt` sets, is the size of what is left, so that f learns
    numbers near one.

    Args:
        start: f_0, a Keras model from the inputs to positions `(B, N, D)`; it
            is set to be not trainable.
        model: f, a `NodeModel` of positions, such as `Transformer`.
        shows_start: whether f also sees the step f_0(x) - x, in units of its
            `length_unit`, as the feature `"start"` `(B, N, D)`. For models
            whose features are scalars, such as `EGNN`, False. Defaults to True.
        **kwargs: `name`, for `keras.Model`.

    Call arguments:
        inputs: the inputs of both models, a dict with `"positions"`.
        training: passed on to f.

    Returns:
        Positions `(B, N, D)`.

    Example:
        >>> start = ridge.make(symmetry, time_unit=50.0)
        >>> model = Correction(start, Transformer(time_unit=50.0))
        >>> ridge.fit(start, train, validation)
        >>> model.adapt(*train)
    """

    def __init__(self, start, model, shows_start=True, **kwargs):
        super().__init__(autocast=False, **kwargs)
        self.start = start
        self.model = model
        self.shows_start = shows_start
        self.supports_masking = True
        self.attach_mask = AttachMask(name="attach_mask")

    def build(self, input_shape):
        if not self.start.built:
            self.start.build(input_shape)
        self.start.trainable = False  # of all that has been built
        self.scale = self.add_weight(
            shape=(), initializer="ones", trainable=False, name="scale"
        )
        if self.shows_start:
            input_shape = {**input_shape, START: input_shape["positions"]}
        if not self.model.built:
            # x + s v, from which the model would start, is left to f_0.
            self.model.velocity_initializer = "zeros"
            self.model.build(input_shape)

    def call(self, inputs, training=None):
        x = ops.cast(inputs["positions"], self.variable_dtype)
        step = self.start(inputs, training=False) - x
        seen = inputs
        if self.shows_start:
            seen = {**inputs, START: step / self.model.length_unit}
        y = x + step + self.scale * (self.model(seen, training=training) - x)
        mask = self.compute_mask(inputs)
        return y if mask is None else self.attach_mask([y, mask])

    def adapt(self, x, y):
        """Sets s to the root of the mean square of y - f_0(x).

        Args:
            x, y: inputs without padding, and what they should become.
        """
        if not self.built:
            self(keras.tree.map_structure(lambda a: a[:1], x))
        error = ops.convert_to_numpy(y) - self.start.predict(x, verbose=0)
        self.scale.assign((error**2).mean() ** 0.5)

    def compute_mask(self, inputs, previous_mask=None):
        return self.model.compute_mask(inputs, previous_mask)

    def get_config(self):
        serialize = keras.saving.serialize_keras_object
        return {
            "name": self.name,
            "trainable": self.trainable,
            "start": serialize(self.start),
            "model": serialize(self.model),
            "shows_start": self.shows_start,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        models = {
            key: keras.saving.deserialize_keras_object(
                config[key], custom_objects
            )
            for key in ("start", "model")
        }
        return cls(**{**config, **models})
