"""Writes the outputs of models of moving nodes: positions or scalars."""

from __future__ import annotations

import keras
from keras import ops

from keras_remul.backend.mixins import ModelMixin
from keras_remul.layers.plain import dense
from keras_remul.models.reading import Nodes
from keras_remul.utils.typing import Array, Tree

READOUTS = ("positions", "nodes", "graph")


class NodeWriter(ModelMixin):
    """The part of a `NodeModel` that makes its output."""

    def build_readout(self, width: int) -> None:
        """Builds the last layer. Call it at the end of `build`.

        Args:
            width: C, the number of channels of each node before that layer.

        Raises:
            ValueError: `num_times` is set and `readout` is not `"positions"`.
        """
        moves = self.readout == "positions"
        if self.num_times and not moves:
            raise ValueError(
                'Argument `num_times` needs readout="positions". Received: '
                f"num_times={self.num_times}, readout={self.readout!r}"
            )
        width_of_steps = self.node_shapes["positions"] * (self.num_times or 1)
        self.head = keras.layers.Dense(
            width_of_steps if moves else self.units,
            kernel_initializer=keras.initializers.VarianceScaling(
                1e-2 if moves else 1.0
            ),
            dtype=self.dtype_policy,
            name="head",
        )
        self.head.build((None, None, width))
        if moves:
            self.build_velocity_scale()

    def build_velocity_scale(self) -> None:
        """Adds the weight s of x + s v, where velocities are inputs."""
        if "velocities" in self.node_shapes:
            self.velocity_scale = self.add_weight(
                shape=(self.num_times, 1) if self.num_times else (),
                initializer=self.velocity_initializer,
                name="velocity_scale",
            )

    def write(self, nodes: Nodes, h: Array) -> Array:
        """Makes the output of the model.

        Args:
            nodes: the `Nodes` of the inputs.
            h: what the layers made of them `(B, N, C)`.

        Returns:
            The output in the shape that `readout` says, see `NodeModel`.
        """
        h = dense(self.head, h)
        if self.readout == "positions":
            return self.write_positions(nodes, h)
        return self.finish(nodes, ops.cast(h, self.geometry_dtype))

    def write_positions(self, nodes: Nodes, step: Array) -> Array:
        """x + s v + step: new positions, in the units of the data.

        Args:
            nodes: the `Nodes` of the inputs.
            step: vectors `(B, N, D)`, or `(B, N, T D)` with `num_times`, in
                units of `length_unit`.

        Returns:
            Array `(B, N, D)`, or `(B, N, T, D)` with `num_times`.
        """
        y, v = nodes.positions, nodes.features.get("velocities")
        step = ops.cast(step, self.geometry_dtype)
        if self.num_times:
            shape = (*ops.shape(y)[:2], self.num_times, y.shape[-1])
            step = ops.reshape(step, shape)
            y = ops.expand_dims(y, 2)
            v = None if v is None else ops.expand_dims(v, 2)
        if v is not None:
            scale = ops.cast(self.velocity_scale, v.dtype)
            step = scale * v + step
        return self.finish(nodes, y + self.length_unit * step)

    def finish(self, nodes: Nodes, y: Array) -> Array:
        """Puts the mask on the output; for a graph, sums over the nodes.

        Args:
            nodes: the `Nodes` of the inputs.
            y: array `(B, N, ...)`.

        Returns:
            y with its mask; `(B, ...)` with `readout="graph"`.
        """
        if self.readout == "graph":
            if nodes.mask is not None:
                y = ops.where(nodes.mask[:, :, None], y, 0.0)
            return ops.sum(y, axis=1)
        return y if nodes.mask is None else self.attach_mask([y, nodes.mask])

    def compute_mask(
        self, inputs: Tree, previous_mask: Tree | None = None
    ) -> Array | None:
        mask = inputs.get("mask")
        if mask is None or self.readout == "graph":
            return None
        mask = ops.cast(mask, "bool")
        return ops.expand_dims(mask, 2) if self.num_times else mask

    def compute_output_spec(
        self, inputs: dict[str, Array], training: bool | None = None
    ) -> keras.KerasTensor:
        batch, num_nodes, dim = inputs["positions"].shape
        shape = {
            "positions": (batch, num_nodes, self.num_times, dim)
            if self.num_times
            else (batch, num_nodes, dim),
            "nodes": (batch, num_nodes, self.units),
            "graph": (batch, self.units),
        }[self.readout]
        return keras.KerasTensor(shape, dtype=self.geometry_dtype)
