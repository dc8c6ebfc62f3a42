"""Linear map of all nodes: a baseline for networks."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from keras_remul.graphs import in_order
from keras_remul.layers.exact import exact_product
from keras_remul.models.base import NodeModel
from keras_remul.utils.arguments import POSITIVE, checked
from keras_remul.utils.typing import Array, Config, Shape


@keras.saving.register_keras_serializable(package="keras_remul")
class LinearNodes(NodeModel):
    """Linear regression on the coordinates of all nodes at once.

    `y = x + s v + W [x - mean(x), v] + b`

    For systems whose nodes are always the same ones, in the same order: joints
    of a body, atoms of one molecule. Equivariant to translations only.
    `ridge.fit` fits it in closed form; before, it predicts uniform motion over
    one `time_unit`.

    Args:
        identity: key of a one-hot feature `(B, N, N)` that identifies the
            nodes. Defaults to None: the order is fixed.
        length_unit, time_unit: see `Transformer`.
        **kwargs: `name`, `dtype` and `trainable`, for `keras.Model`.

    Call arguments:
        inputs: dict of `"positions"` and `"velocities"` `(B, N, D)`; other
            features are not used.

    Returns:
        Positions `(B, N, D)`.

    Raises:
        ValueError: there are no velocities, the number of nodes differs from
            the first call, or an argument is one of other models.
    """

    @checked(length_unit=POSITIVE, time_unit=POSITIVE)
    def __init__(
        self,
        identity: str | None = None,
        length_unit: float = 1.0,
        time_unit: float = 1.0,
        **kwargs: Any,
    ) -> None:
        unknown = sorted(set(kwargs) - {"name", "dtype", "trainable"})
        if unknown:
            raise ValueError(
                "LinearNodes takes no arguments of other models, such as "
                f"`{unknown[0]}`: it predicts positions of nodes in a fixed "
                f"order. Received: {unknown[0]}={kwargs[unknown[0]]!r}"
            )
        super().__init__(length_unit=length_unit, time_unit=time_unit, **kwargs)
        self.identity = identity

    def build(self, input_shape: dict[str, Shape]) -> None:
        super().build(input_shape)
        if "velocities" not in self.node_shapes:
            raise ValueError('Expected `inputs` to have the key "velocities".')
        if self.identity not in (None, *self.node_shapes):
            raise ValueError(
                f"Expected `inputs` to have the key {self.identity!r}, the "
                "argument `identity`. Its keys: "
                f"{sorted(self.node_shapes)}."
            )
        _, num_nodes, dim = input_shape["positions"]
        if num_nodes is None:
            raise ValueError("LinearNodes needs a fixed number of nodes.")
        self.linear = keras.layers.Dense(
            num_nodes * dim,
            kernel_initializer="zeros",
            dtype=self.dtype_policy,
            name="linear",
        )
        self.linear.build((None, 2 * num_nodes * dim))
        self.build_velocity_scale()

    def call(
        self, inputs: dict[str, Array], training: bool | None = None
    ) -> Array:
        nodes = self.read(inputs)
        shape = ops.shape(nodes.positions)
        coordinates = shape[1] * shape[2]
        if isinstance(coordinates, int) and coordinates != self.linear.units:
            raise ValueError(
                "LinearNodes needs the number of nodes of its first call, "
                f"{self.linear.units // shape[2]}. Received: "
                f"{shape[1]} nodes"
            )
        parts = [nodes.features[key] for key in ("positions", "velocities")]
        if self.identity is not None:
            order = nodes.features[self.identity]
            parts = [in_order(part, order) for part in parts]
        flat = [ops.reshape(x, (shape[0], coordinates)) for x in parts]
        # Not by the layer itself, whose products a GPU rounds.
        flat = ops.concatenate(flat, axis=-1)
        kernel = ops.cast(self.linear.kernel, flat.dtype)
        step = exact_product(flat, kernel) + ops.cast(
            self.linear.bias, flat.dtype
        )
        step = ops.reshape(step, shape)
        if self.identity is not None:
            step = in_order(step, ops.swapaxes(order, 1, 2))
        return self.write_positions(nodes, step)

    def get_config(self) -> Config:
        config = super().get_config()
        for key in ("readout", "units", "node_identity"):
            del config[key]
        return {**config, "identity": self.identity}
