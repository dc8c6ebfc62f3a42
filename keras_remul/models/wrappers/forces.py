"""Forces that conserve energy: minus the gradient of a learned energy."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from keras_remul import backend
from keras_remul.models.wrappers.base import Wrapper
from keras_remul.utils.typing import Array


@keras.saving.register_keras_serializable(package="keras_remul")
class ConservativeForces(Wrapper):
    """Energy and forces from any model of the energy.

    `F_i = -dE/dx_i`

    The work along a closed path is zero for any weights. If the energy is
    invariant to rotations, the forces are equivariant; if it is invariant to
    translations, the forces sum to zero. The loss on forces is trained through
    the second derivative, so the wrapped model must be smooth (silu, gelu,
    tanh; not relu, whose second derivative is 0). If the loss contains only the
    forces, an additive constant of the energy is not trained.

    Args:
        model: Keras model from a dict with `"positions"` `(B, N, D)` to an
            energy `(B, 1)`, such as `EGNN(readout="graph")`.
        **kwargs: `name`, `dtype` and `trainable`, for `keras.Model`.

    Call arguments:
        inputs: the inputs of `model`.
        training: passed on.

    Returns:
        Dict of `"energy"` `(B, 1)` and `"forces"` `(B, N, D)`; forces on
        padded nodes are 0.

    Raises:
        ValueError: `model` is not a Keras model, its output has another shape,
            or the inputs are not a dict with positions.

    Example:
        >>> model = ConservativeForces(EGNN(readout="graph"))
        >>> model.compile("adam", loss={"energy": "mse", "forces": "mse"},
        ...               loss_weights={"energy": 1.0, "forces": 100.0})
        >>> model.fit(x, {"energy": energies, "forces": forces})

    Reference:
        Chmiela et al., "Machine learning of accurate energy-conserving
        molecular force fields", arXiv 1611.04678.
    """

    def __init__(self, model: keras.Model, **kwargs: Any) -> None:
        super().__init__(model, **kwargs)

    def call(
        self, inputs: dict[str, Array], training: bool | None = None
    ) -> dict[str, Array]:
        if not isinstance(inputs, dict) or "positions" not in inputs:
            raise ValueError(
                'Expected `inputs` to be a dict with the key "positions". '
                f"Received: {keras.tree.map_structure(type, inputs)}"
            )
        self.build_parts(inputs)
        dtype = self.model.variable_dtype
        attached = self.read_masks(inputs["positions"])

        def energy(positions):
            positions = self.with_masks(positions, attached)
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
            self.add_loss,
        )
        mask = inputs.get("mask", attached[0])
        return {
            "energy": y,
            "forces": self.with_masks(-gradient, [mask]),
        }

    def compute_output_spec(
        self, inputs: dict[str, Array], training: bool | None = None
    ) -> dict[str, keras.KerasTensor]:
        self.build_parts(inputs)
        shape = inputs["positions"].shape
        dtype = self.model.variable_dtype
        return {
            "energy": keras.KerasTensor((shape[0], 1), dtype=dtype),
            "forces": keras.KerasTensor(shape, dtype=dtype),
        }
