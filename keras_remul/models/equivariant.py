"""The base class of the strictly equivariant models."""

from __future__ import annotations

from keras import ops

from keras_remul.layers.lengths import lengths
from keras_remul.models.base import NodeModel
from keras_remul.utils.typing import Array, Config, Shape


class EquivariantModel(NodeModel):
    """Positions in, positions out, and every layer equivariant to E(3).

    `y = x + s v + displacement(x - mean(x), v, scalars)`

    A subclass gives `build_layers` and `displacement`, and `invariants` if it
    has other `readouts`. The scalars are the features of the nodes, and the
    lengths of x - mean(x) and of v. Padded nodes are set to zero before
    `displacement` sees them.
    """

    readouts = ("positions",)

    def build_layers(self, num_vectors: int, num_scalars: int) -> None:
        """Builds the sublayers.

        Args:
            num_vectors: 2 with velocities, otherwise 1.
            num_scalars: width of `scalars`.
        """
        raise NotImplementedError

    def displacement(
        self,
        vectors: list[Array],
        scalars: Array,
        mask: Array | None,
        training: bool | None,
    ) -> Array:
        """The vector `(B, N, 3)` that is added to the uniform motion.

        Args:
            vectors: centered positions, and velocities if there are any, each
                `(B, N, 3)`.
            scalars: `(B, N, F)`.
            mask: `(B, N)`, boolean, or None.
            training: whether dropout is applied.
        """
        raise NotImplementedError

    def invariants(
        self,
        vectors: list[Array],
        scalars: Array,
        mask: Array | None,
        training: bool | None,
    ) -> Array:
        """What the readout of scalars sees `(B, N, C)`; see `displacement`.

        Args:
            vectors, scalars, mask, training: as for `displacement`.
        """
        raise NotImplementedError

    def build(self, input_shape: dict[str, Shape]) -> None:
        super().build(input_shape)
        if self.node_shapes["positions"] != 3:
            raise ValueError(
                f"{type(self).__name__} needs positions of three dimensions. "
                f"Received: {self.node_shapes['positions']}"
            )
        num_vectors = 1 + ("velocities" in self.node_shapes)
        features = sum(self.node_shapes.values()) - 3 * num_vectors
        self.build_layers(num_vectors, features + num_vectors)
        if self.readout == "positions":
            self.build_velocity_scale()

    def call(
        self, inputs: dict[str, Array], training: bool | None = None
    ) -> Array:
        nodes = self.read(inputs)
        x = dict(nodes.features)
        vectors = [x.pop("positions")]
        if nodes.mask is not None:
            valid = nodes.mask[:, :, None]
            vectors[0] = ops.where(valid, vectors[0], 0.0)
        if "velocities" in x:
            vectors.append(x.pop("velocities"))
        # The epsilon keeps the gradient at rest finite.
        sizes = [lengths(v, 1e-6) for v in vectors]
        scalars = ops.concatenate([*sizes, *x.values()], axis=-1)
        seen = vectors, scalars, nodes.mask, training
        if self.readout == "positions":
            return self.write_positions(nodes, self.displacement(*seen))
        return self.write(nodes, self.invariants(*seen))

    def get_config(self) -> Config:
        config = super().get_config()
        if len(self.readouts) == 1:
            del config["readout"], config["units"]
        return config
