"""One layer of EGNN: messages that also move the nodes."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from keras_remul.backend.plain import is_plain
from keras_remul.graphs import displacements
from keras_remul.layers.message_passing import MessagePassing, masked
from keras_remul.layers.plain import dense
from keras_remul.utils.arguments import checked
from keras_remul.utils.typing import Array, Config, Shape


def start_small(layer, fan_in):
    """Draws a kernel as the published code does, within 1 / sqrt(fan_in).

    Keras' own range is up to twice as wide; positions then grow from layer to
    layer until training overflows.
    """
    limit = fan_in**-0.5
    layer.kernel_initializer = keras.initializers.RandomUniform(-limit, limit)


def _pull(m, mask, shift_in, shift_out):
    """How much each pair pulls `(..., 1)`, zero where there is none."""
    return masked(shift_out(shift_in(m)), mask)


@keras.saving.register_keras_serializable(package="keras_remul")
class EGNNLayer(keras.layers.Layer):
    """Message passing on invariants that moves positions equivariantly.

    `m_ij = phi_e(h_i, h_j, |x_i - x_j|^2, e_ij)`
    `x_i <- x_i + mean_j (x_i - x_j) phi_x(m_ij) + phi_v(h_i) v_i`
    `h_i <- h_i + phi_h(h_i, sum_j m_ij)`

    Only distances enter the messages, and only differences of positions and
    velocities, times scalars, the new positions: the layer is equivariant to
    rotations, reflections, translations and permutations for any weights.
    phi_x starts small, so that the first layers do not throw nodes about.
    Positions keep the dtype of the variables under mixed precision.

    Args:
        dim: C, the width of nodes and messages.
        update_nodes: whether h is updated. Not so in the last layer of a model
            that returns positions alone.
        update_positions: whether x is updated. Not so in the last layer of a
            model that returns scalars alone.
        weighted: whether `mask` holds weights that vanish at a cut-off. The
            mean over j is then a sum over one plus the sum of the weights, and
            the kernels of the messages start in the range that is Keras' own.
        **kwargs: `name`, `dtype` and the like, for `keras.layers.Layer`.

    Call arguments:
        h: `(B, N, C)`, invariant.
        x: positions `(B, N, D)`.
        edges: invariant features e_ij of the pairs `(B, N, K, F)`.
        mask: booleans `(B, N, K)` or `(1, N, K)`, see `graphs.pair_mask`; if
            `weighted`, floats of that shape, 0 where there is no pair.
        velocities: optional `(B, N, D)`, the same in each layer.
        neighbors: optional list `(B, N, K)`.
        offsets: optional lattice vectors `(B, N, K, D)` from x_j to its image,
            see `graphs.displacements`.

    Returns:
        h `(B, N, C)` and x `(B, N, D)`.

    Reference:
        Satorras et al., "E(n) equivariant graph neural networks", arXiv
        2102.09844, equations 3 to 7.
    """

    @checked()
    def __init__(
        self,
        dim: int,
        update_nodes: bool = True,
        update_positions: bool = True,
        weighted: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(autocast=False, **kwargs)
        self.dim = dim
        self.update_nodes = update_nodes
        self.update_positions = update_positions
        self.weighted = weighted
        dtype = self.dtype_policy
        self.messages = MessagePassing(
            dim, update_nodes, dtype=dtype, name="messages"
        )
        if update_positions:
            self.shift_in = keras.layers.Dense(
                dim, activation="silu", dtype=dtype, name="shift_in"
            )
            # 1e-3 of Glorot's range.
            self.shift_out = keras.layers.Dense(
                1,
                use_bias=False,
                kernel_initializer=keras.initializers.VarianceScaling(
                    1e-6, "fan_avg", "uniform"
                ),
                dtype=dtype,
                name="shift_out",
            )

    def build(
        self,
        h_shape: Shape,
        x_shape: Shape,
        edges_shape: Shape,
        velocities_shape: Shape | None = None,
    ) -> None:
        pairs_shape = (*edges_shape[:-1], edges_shape[-1] + 1)
        width, messages = h_shape[-1], self.messages
        if not self.weighted:
            # Three parts of one kernel.
            for part in (messages.receiver, messages.sender, messages.pair):
                start_small(part, 2 * width + pairs_shape[-1])
            start_small(messages.message, self.dim)
            if self.update_nodes:
                start_small(messages.update_in, width + self.dim)
                start_small(messages.update_out, self.dim)
        self.messages.build(h_shape, pairs_shape)
        if not self.update_positions:
            return
        messages_shape = (*edges_shape[:-1], self.dim)
        start_small(self.shift_in, self.dim)
        self.shift_in.build(messages_shape)
        self.shift_out.build(messages_shape)
        if velocities_shape is not None:
            dtype = self.dtype_policy
            self.speed_in = keras.layers.Dense(
                self.dim, activation="silu", dtype=dtype, name="speed_in"
            )
            self.speed_out = keras.layers.Dense(
                1, dtype=dtype, name="speed_out"
            )
            start_small(self.speed_in, width)
            start_small(self.speed_out, self.dim)
            self.speed_in.build(h_shape)
            self.speed_out.build((*h_shape[:-1], self.dim))

    def call(
        self,
        h: Array,
        x: Array,
        edges: Array,
        mask: Array,
        velocities: Array | None = None,
        neighbors: Array | None = None,
        offsets: Array | None = None,
    ) -> tuple[Array, Array]:
        away, square = displacements(x, neighbors, offsets)  # (B, N, K, D or 1)
        pairs = ops.concatenate([square, edges], axis=-1)
        read, sublayers = None, []
        if self.update_positions:
            read, sublayers = _pull, [self.shift_in, self.shift_out]
        if is_plain(self.messages, MessagePassing):
            new_h, weight = self.messages.exchange(
                h, pairs, mask, neighbors, read, sublayers
            )
        else:
            new_h, m = self.messages(h, pairs, mask, neighbors)
            weight = read(m, mask, *sublayers) if read else None
        if not self.update_positions:
            return new_h, x
        weight = ops.cast(weight, x.dtype)  # (B, N, K, 1)
        count = ops.sum(ops.cast(mask, x.dtype), axis=2)[..., None]
        # Smooth where a weight vanishes.
        count = 1.0 + count if self.weighted else ops.maximum(count, 1.0)
        shift = ops.sum(away * weight, axis=2) / count
        if velocities is not None:
            speed = dense(self.speed_out, dense(self.speed_in, h))  # (B, N, 1)
            shift = shift + ops.cast(speed, x.dtype) * velocities
        return new_h, x + shift

    def compute_output_shape(
        self, h_shape: Shape, x_shape: Shape, edges_shape: Shape
    ) -> tuple[Shape, Shape]:
        return h_shape, x_shape

    def get_config(self) -> Config:
        return {
            **super().get_config(),
            "dim": self.dim,
            "update_nodes": self.update_nodes,
            "update_positions": self.update_positions,
            "weighted": self.weighted,
        }
