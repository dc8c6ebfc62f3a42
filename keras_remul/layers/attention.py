"""Multi-head self-attention over the nodes of a padded batch."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from keras_remul import backend
from keras_remul.layers.attend import softmax
from keras_remul.layers.plain import dense
from keras_remul.utils.arguments import RATE, check_multiples, checked
from keras_remul.utils.typing import Array, Config, Shape


@keras.saving.register_keras_serializable(package="keras_remul")
class MultiHeadSelfAttention(keras.layers.Layer):
    """Self-attention with one fused projection to queries, keys and values.

    `A = softmax(q k^T / sqrt(C / K)),  y = Dense(concat_heads(A v))`

    No position enters, so that a permutation of the nodes permutes the output
    in the same way. One product makes q, k and v: at tens of nodes three
    smaller ones cost more in calls than in arithmetic. The softmax is taken in
    float32 or better whatever the compute dtype; a key of a padded node has
    weight exactly zero, and a sample without any valid node gives finite
    values.

    Args:
        dim: C, the width of queries, keys, values and output.
        num_heads: K, a divisor of `dim`.
        dropout: rate at which attention weights are dropped in training.
        **kwargs: `name`, `dtype` and the like, for `keras.layers.Layer`.

    Call arguments:
        x: `(B, N, C')`.
        mask: optional `(B, N)`, true or nonzero where a node is valid.
        bias: optional `(B, K, N, N)`, added to the logits q k^T: what is known
            of each pair of a query and a key.
        query: optional `(B, M, C')`, nodes that ask in place of those of x;
            there are M rows of the output then.
        training: whether dropout is applied.

    Returns:
        `(B, N, C)`. Rows of padded nodes hold finite numbers without meaning.

    Raises:
        ValueError: `dim` is not a multiple of `num_heads`.

    Example:
        >>> layer = MultiHeadSelfAttention(dim=64, num_heads=4)
        >>> layer(keras.random.normal((100, 5, 64))).shape
        (100, 5, 64)

    Reference:
        Vaswani et al., "Attention is all you need", arXiv 1706.03762.
    """

    @checked(dropout=RATE)
    def __init__(
        self, dim: int, num_heads: int, dropout: float = 0.0, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        check_multiples("num_heads", num_heads, dim=dim)
        self.dim = dim
        self.num_heads = num_heads
        self.dropout = dropout
        self.scale = (dim // num_heads) ** -0.5
        self.supports_masking = True
        self.qkv = keras.layers.Dense(
            3 * dim, dtype=self.dtype_policy, name="qkv"
        )
        self.output_dense = keras.layers.Dense(
            dim, dtype=self.dtype_policy, name="output"
        )
        self.drop = (
            keras.layers.Dropout(dropout, dtype=self.dtype_policy, name="drop")
            if dropout
            else None
        )

    def build(self, input_shape: Shape) -> None:
        self.qkv.build(input_shape)
        self.output_dense.build((*input_shape[:-1], self.dim))
        if self.drop is not None:
            self.drop.build((None, self.num_heads, None, None))

    def call(
        self,
        x: Array,
        mask: Array | None = None,
        bias: Array | None = None,
        query: Array | None = None,
        training: bool | None = None,
    ) -> Array:
        qkv = dense(self.qkv, x)  # (B, N, 3 C), of each head in turn
        if mask is not None:
            mask = ops.cast(mask, "bool")
        if self.drop is None and query is None:
            y = backend.attention(qkv, self.num_heads, mask, bias)
        else:
            q, k, v = self._of_heads(qkv)
            if query is not None:
                q, _, _ = self._of_heads(dense(self.qkv, query))
            y = self._attend(q, k, v, mask, bias, training)
        return dense(self.output_dense, y)

    def _of_heads(self, qkv):
        """Queries, keys and values, each `(B, K, N, C/K)`."""
        num_nodes = ops.shape(qkv)[1]
        qkv = ops.reshape(
            qkv, (-1, num_nodes, self.num_heads, 3 * self.dim // self.num_heads)
        )
        # Split, not sliced: the gradient of a slice is a whole array.
        return ops.split(ops.transpose(qkv, (0, 2, 1, 3)), 3, axis=-1)

    def _attend(self, q, k, v, mask, bias, training):
        logits = ops.matmul(q * self.scale, ops.swapaxes(k, -1, -2))
        if self.compute_dtype in ("float16", "bfloat16"):
            logits = ops.cast(logits, "float32")
        if bias is not None:
            logits = logits + ops.cast(bias, logits.dtype)
        if mask is not None:
            logits = ops.where(mask[:, None, None, :], logits, -1e30)
        weights = softmax(logits)
        weights = ops.cast(weights, self.compute_dtype)
        if self.drop is not None:
            weights = self.drop(weights, training=training)
        y = ops.transpose(ops.matmul(weights, v), (0, 2, 1, 3))
        return ops.reshape(y, (-1, ops.shape(q)[2], self.dim))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (*input_shape[:-1], self.dim)

    def get_config(self) -> Config:
        return {
            **super().get_config(),
            "dim": self.dim,
            "num_heads": self.num_heads,
            "dropout": self.dropout,
        }
