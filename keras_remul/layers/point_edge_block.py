"""Transformer over the edges of an atom's neighborhood."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from keras_remul import backend
from keras_remul.graphs import take_edges
from keras_remul.layers.plain import apply, dense, norm
from keras_remul.layers.transformer_block import TransformerBlock
from keras_remul.utils.arguments import at_least, checked
from keras_remul.utils.typing import Array, Config, Shape


@keras.saving.register_keras_serializable(package="keras_remul")
class PointEdgeBlock(keras.layers.Layer):
    """Messages turned round along edges, then attention around each node.

    `t_ij <- t_ij + Dense(silu(Dense([Norm(t_ij), Norm(t_ji)])))`
    `t_ij <- Blocks(t_ij, over all j of i)`

    A token t_ij belongs to the edge from node j to node i; t_ii is that of the
    node itself. The first line brings what node j knows of node i, the second
    mixes the tokens of one node, each with the weight of its edge. Attention
    also sees the angles between edges: to the logits of tokens j and k
    `sum_p a_jp b_kp cos(j, k)` is added, with learned a and b of each.

    Args:
        dim: C, the width of tokens.
        num_heads: heads of attention, a divisor of `dim`.
        num_blocks: transformer blocks after each exchange.
        mlp_ratio: width of the MLPs as a multiple of `dim`.
        num_angles: number of products a_p b_p of each head; 0 for none.
        **kwargs: `name`, `dtype` and the like, for `keras.layers.Layer`.

    Call arguments:
        tokens: `(B, N, K, C)`.
        directions: unit vectors of the edges `(B, N, K, D)`; 0 for t_ii.
        log_weights: logarithms of the weights of the edges `(B, N, K)`.
        reverse: where t_ji stands, `(B, N, K)`, for `graphs.take_edges`.
            Defaults to None: tokens of all pairs `(B, N, N, C)`, where it is
            the transpose.

    Returns:
        `(B, N, K, C)`.

    Reference:
        Pozdnyakov and Ceriotti, "Smooth, exact rotational symmetrization for
        deep learning on point clouds", arXiv 2305.19302.
    """

    @checked(num_angles=at_least(0))
    def __init__(
        self,
        dim: int,
        num_heads: int,
        num_blocks: int = 1,
        mlp_ratio: int = 2,
        num_angles: int = 4,
        **kwargs: Any,
    ) -> None:
        super().__init__(autocast=False, **kwargs)
        self.dim = dim
        self.num_heads = num_heads
        self.num_blocks = num_blocks
        self.mlp_ratio = mlp_ratio
        self.num_angles = num_angles
        dtype = self.dtype_policy
        self.exchange_norm = keras.layers.LayerNormalization(
            epsilon=1e-5, dtype=dtype, name="exchange_norm"
        )
        self.exchange_in = keras.layers.Dense(
            dim, activation="silu", dtype=dtype, name="exchange_in"
        )
        self.exchange_out = keras.layers.Dense(
            dim, dtype=dtype, name="exchange_out"
        )
        if num_angles:  # of each head, queries and then keys
            self.angles = keras.layers.Dense(
                2 * num_heads * num_angles, dtype=dtype, name="angles"
            )
        self.blocks = [
            TransformerBlock(
                dim, num_heads, mlp_ratio, dtype=dtype, name=f"block_{i}"
            )
            for i in range(num_blocks)
        ]

    def build(self, tokens_shape: Shape, *_: Any) -> None:
        self.exchange_norm.build(tokens_shape)
        self.exchange_in.build((*tokens_shape[:-1], 2 * self.dim))
        self.exchange_out.build(tokens_shape)
        if self.num_angles:
            self.angles.build(tokens_shape)
        for block in self.blocks:
            block.build((None, None, self.dim))

    def call(
        self,
        tokens: Array,
        directions: Array,
        log_weights: Array,
        reverse: Array | None = None,
    ) -> Array:
        t = norm(self.exchange_norm, tokens)
        turned = (
            ops.swapaxes(t, 1, 2) if reverse is None else take_edges(t, reverse)
        )
        t = ops.concatenate([t, turned], axis=-1)
        t = dense(self.exchange_out, dense(self.exchange_in, t))
        shape = ops.shape(tokens)
        t = _of_nodes(tokens + t)
        bias = _of_nodes(log_weights[..., None])[:, None, None, :, 0]
        if self.num_angles:
            bias = bias + ops.cast(self._angles(t, directions), bias.dtype)
        for block in self.blocks:
            t = apply(block, TransformerBlock, t, bias=bias)
        return ops.reshape(t, shape)

    def _angles(self, t, directions):
        """`sum_p a_jp b_kp cos(j, k)` of each head `(B N, H, K, K)`."""
        rows, width, _ = ops.shape(t)
        t = ops.reshape(
            dense(self.angles, t),
            (rows, width, 2 * self.num_heads, self.num_angles),
        )
        dim = directions.shape[-1]
        u = ops.cast(_of_nodes(directions), t.dtype)[:, :, None, None]
        t = ops.reshape(
            t[..., None] * u,
            (rows, width, 2 * self.num_heads, dim * self.num_angles),
        )
        t = ops.transpose(t, (0, 2, 1, 3))
        queries, keys = ops.split(t, 2, axis=1)
        return backend.matmul(queries, ops.swapaxes(keys, 2, 3))

    def compute_output_shape(self, tokens_shape: Shape, *_: Any) -> Shape:
        return tokens_shape

    def get_config(self) -> Config:
        return {
            **super().get_config(),
            "dim": self.dim,
            "num_heads": self.num_heads,
            "num_blocks": self.num_blocks,
            "mlp_ratio": self.mlp_ratio,
            "num_angles": self.num_angles,
        }


def _of_nodes(values):
    """Values of edges `(B, N, K, C)` as those of nodes `(B N, K, C)`."""
    batch, nodes, width, channels = ops.shape(values)
    # By a detour: PyTorch cannot export that B and N become one axis where N
    # and K are the same free number.
    values = ops.reshape(values, (batch, nodes * width * channels))
    return ops.reshape(values, (batch * nodes, width, channels))
