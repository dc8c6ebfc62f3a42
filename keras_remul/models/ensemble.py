"""Weighted mean of models."""

import keras

from keras_remul.masking import AttachMask
from keras_remul.presets import PresetMethods


@keras.saving.register_keras_serializable(package="keras_remul")
class Ensemble(PresetMethods, keras.Model):
    """The weighted mean of what several models predict.

    `y = sum_k w_k f_k(x)`

    Args:
        models: list of Keras models with the same inputs and outputs.
        weights: list of floats w_k. Defaults to equal ones of sum 1.
        **kwargs: `name`, for `keras.Model`.

    Call arguments:
        inputs: the inputs of the models.
        training: passed on.

    Returns:
        The outputs, in the structure of the first model's.

    Raises:
        ValueError: no models, or another number of weights.

    Example:
        >>> model = Ensemble([first, second], weights=[0.7, 0.3])
        >>> model.save_to_preset("folder", x=x)
    """

    def __init__(self, models, weights=None, **kwargs):
        super().__init__(autocast=False, **kwargs)
        models = list(models)
        if weights is None:
            weights = [1.0 / max(len(models), 1)] * len(models)
        if not models or len(weights) != len(models):
            raise ValueError(
                "Expected `models` and as many `weights`. Received: "
                f"{len(models)} models, weights={weights}"
            )
        self.models = models
        self.shares = [float(w) for w in weights]
        self.supports_masking = True
        self.attach_mask = AttachMask(name="attach_mask")

    def build(self, input_shape):
        for model in self.models:
            if not model.built:
                model.build(input_shape)

    def call(self, inputs, training=None):
        outputs = [model(inputs, training=training) for model in self.models]
        y = keras.tree.map_structure(self._mean, *outputs)
        mask = self.compute_mask(inputs)
        return y if mask is None else self.attach_mask([y, mask])

    def _mean(self, *values):
        terms = zip(self.shares, values, strict=True)
        return sum(share * value for share, value in terms)

    def compute_mask(self, inputs, previous_mask=None):
        return self.models[0].compute_mask(inputs, previous_mask)

    def get_config(self):
        serialize = keras.saving.serialize_keras_object
        return {
            "name": self.name,
            "trainable": self.trainable,
            "models": [serialize(model) for model in self.models],
            "weights": self.shares,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        models = [
            keras.saving.deserialize_keras_object(model, custom_objects)
            for model in config["models"]
        ]
        return cls(**{**config, "models": models})
