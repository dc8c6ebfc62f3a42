"""Forces that conserve energy: minus the gradient of a learned energy."""

import keras
from keras import ops

from keras_remul import backend


@keras.saving.register_keras_serializable(package="keras_remul")
class ConservativeForces(keras.Model):
    """Energy and forces from any model of the energy.

    `F_i = -dE/dx_i`

    The work along a closed path is zero for any weights. An energy that is
    invariant to rotations has equivariant forces, one that is invariant to
    translations forces of zero sum. The loss on forces is trained through the
    second derivative: the wrapped model must be smooth (silu, gelu, tanh; no
    relu, whose second derivative is 0). Where the loss sees the forces alone,
    an additive constant of the energy stays as it is.

    Args:
        model: Keras model from a dict with `"positions"` `(B, N, D)` to an
            energy `(B, 1)`, such as `EGNN(readout="graph")`.
        **kwargs: `name`, for `keras.Model`.

    Call arguments:
        inputs: the inputs of `model`.
        training: passed on.

    Returns:
        Dict of `"energy"` `(B, 1)` and `"forces"` `(B, N, D)`; forces on
        padded nodes are 0.

    Raises:
        ValueError: `model` is no Keras model, or its output has another shape.

    Example:
        >>> model = ConservativeForces(EGNN(readout="graph"))
        >>> model.compile("adam", loss={"energy": "mse", "forces": "mse"},
        ...               loss_weights={"energy": 1.0, "forces": 100.0})
        >>> model.fit(x, {"energy": energies, "forces": forces})

    Reference:
        Chmiela et al., "Machine learning of accurate energy-conserving
        molecular force fields", arXiv 1611.04678.
    """

    def __init__(self, model, **kwargs):
        super().__init__(autocast=False, **kwargs)
        if not isinstance(model, keras.Model):
            raise ValueError(
                f"Argument `model` must be a keras.Model. Received: {model!r}"
            )
        self.model = model
        self.supports_masking = True

    def build(self, input_shape):
        if not self.model.built:
            self.model.build(input_shape)

    def call(self, inputs, training=None):
        dtype = self.model.variable_dtype

        def energy(positions):
            y = self.model(
                {**inputs, "positions": positions}, training=training
            )
            if tuple(y.shape[1:]) != (1,):
                raise ValueError(
                    "Expected a model whose output is an energy of shape "
                    f"(batch, 1). Received: shape {tuple(y.shape)}"
                )
            return ops.cast(y, dtype)

        y, gradient = backend.value_and_gradient(
            energy,
            ops.cast(inputs["positions"], dtype),
            self.model.variables,
        )
        return {"energy": y, "forces": -gradient}

    def compute_mask(self, inputs, previous_mask=None):
        mask = inputs.get("mask")
        if mask is not None:
            mask = ops.cast(mask, "bool")
        return {"energy": None, "forces": mask}

    def compute_output_spec(self, inputs, training=None):
        shape = inputs["positions"].shape
        dtype = self.model.variable_dtype
        return {
            "energy": keras.KerasTensor((shape[0], 1), dtype=dtype),
            "forces": keras.KerasTensor(shape, dtype=dtype),
        }

    def get_config(self):
        return {
            "name": self.name,
            "trainable": self.trainable,
            "dtype": keras.dtype_policies.serialize(self.dtype_policy),
            "model": keras.saving.serialize_keras_object(self.model),
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        model = keras.saving.deserialize_keras_object(
            config["model"], custom_objects=custom_objects
        )
        return cls(**{**config, "model": model})
