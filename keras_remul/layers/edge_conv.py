"""Convolution over the edges to the nearest nodes (EdgeConv)."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from keras_remul import backend
from keras_remul.utils.arguments import checked
from keras_remul.utils.typing import Array, Config, Shape


@keras.saving.register_keras_serializable(package="keras_remul")
class EdgeConv(keras.layers.Layer):
    """Mean over the k nearest nodes of a network of each pair.

    `y_i = relu(BN(W x_i) + mean_j MLP([x_i, x_j - x_i]))`

    The MLP is `relu(BN(Dense))`, three times, and the nodes j are the k nearest
    to i by `points`, without i itself. Where fewer than k others are valid,
    x_j = 0 stands for the missing ones, so that the output does not depend on
    how many nodes of padding there are. Batch norms count valid nodes only.

    Args:
        dim: C, the width of the output.
        neighbors: k.
        **kwargs: `name`, `dtype` and the like, for `keras.layers.Layer`.

    Call arguments:
        x: features `(B, N, C')`.
        points: coordinates `(B, N, D)` whose distances count.
        mask: `(B, N)`, boolean, true where a node is valid.
        training: whether batch norms use the statistics of the batch.

    Returns:
        `(B, N, C)`, zeros at padded nodes.

    Example:
        >>> x = keras.random.normal((8, 30, 5))
        >>> valid = keras.ops.ones((8, 30), "bool")
        >>> EdgeConv(dim=16, neighbors=4)(x, x, valid).shape
        (8, 30, 16)

    Reference:
        Wang et al., "Dynamic graph CNN for learning on point clouds",
        arXiv 1801.07829; as in Qu and Gouskos, arXiv 1902.08570.
    """

    @checked()
    def __init__(self, dim: int, neighbors: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dim = dim
        self.neighbors = neighbors
        self.convs = [self._dense(f"conv_{i}") for i in range(3)]
        self.norms = [self._norm(f"norm_{i}") for i in range(3)]
        self.shortcut = self._dense("shortcut")
        self.shortcut_norm = self._norm("shortcut_norm")

    def _dense(self, name):
        return keras.layers.Dense(
            self.dim, use_bias=False, dtype=self.dtype_policy, name=name
        )

    def _norm(self, name):
        return keras.layers.BatchNormalization(
            momentum=0.9, epsilon=1e-5, dtype=self.dtype_policy, name=name
        )

    def build(self, x_shape: Shape, points_shape: Shape | None = None) -> None:
        width = x_shape[-1]
        edges = (None, None, None, self.dim)
        self.convs[0].build((None, None, None, 2 * width))
        for conv in self.convs[1:]:
            conv.build(edges)
        for norm in self.norms:
            norm.build(edges)
        self.shortcut.build((None, None, width))
        self.shortcut_norm.build((None, None, self.dim))

    def call(
        self, x: Array, points: Array, mask: Array, training: bool | None = None
    ) -> Array:
        h = self._edges(x, self._nearest(points, mask))
        valid = ops.broadcast_to(mask[..., None], ops.shape(h)[:3])
        for conv, norm in zip(self.convs, self.norms, strict=True):
            h = ops.relu(norm(conv(h), training=training, mask=valid))
        own = self.shortcut_norm(self.shortcut(x), training=training, mask=mask)
        return ops.where(
            mask[..., None], ops.relu(own + ops.mean(h, axis=2)), 0.0
        )

    def _nearest(self, points, mask):
        """Indices `(B, N, K)`; N where there is no further valid node."""
        square = ops.sum(ops.square(points), axis=-1)
        inner = backend.matmul(points, ops.swapaxes(points, 1, 2))
        square = square[:, :, None] + square[:, None] - 2 * inner
        nodes = ops.shape(points)[1]
        order = ops.arange(nodes, dtype="int32")
        other = order[:, None] != order[None]
        square = ops.where(
            ops.logical_and(mask[:, None], other[None]), square, float("inf")
        )
        square = ops.pad(
            square,
            ((0, 0), (0, 0), (0, self.neighbors)),
            constant_values=float("inf"),
        )
        distances, index = ops.top_k(-square, self.neighbors)
        return ops.where(
            ops.isfinite(distances), ops.cast(index, "int32"), nodes
        )

    def _edges(self, x, nearest):
        """[x_i, x_j - x_i] `(B, N, K, 2 C')`."""
        batch, nodes, width = ops.shape(x)
        index = ops.reshape(nearest, (batch, nodes * self.neighbors, 1))
        padded = ops.pad(x, ((0, 0), (0, 1), (0, 0)))
        others = ops.take_along_axis(padded, index, axis=1)
        others = ops.reshape(others, (batch, nodes, self.neighbors, width))
        own = ops.broadcast_to(x[:, :, None], ops.shape(others))
        return ops.concatenate([own, others - own], axis=-1)

    def compute_output_shape(
        self, x_shape: Shape, points_shape: Shape | None = None
    ) -> Shape:
        return (*x_shape[:-1], self.dim)

    def get_config(self) -> Config:
        return {
            **super().get_config(),
            "dim": self.dim,
            "neighbors": self.neighbors,
        }
