"""One pre-norm transformer block."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from keras_remul import backend
from keras_remul.backend.plain import is_plain, plain_weights
from keras_remul.layers.attention import MultiHeadSelfAttention
from keras_remul.layers.plain import apply, dense, is_active, norm
from keras_remul.utils.arguments import RATE, checked
from keras_remul.utils.typing import Array, Config, Shape


@keras.saving.register_keras_serializable(package="keras_remul")
class TransformerBlock(keras.layers.Layer):
    """Pre-norm attention and MLP, each added to its input.

    `x <- x + Attention(Norm(x)),  x <- x + Dense(gelu(Dense(Norm(x))))`

    The norm is inside the branch, so that the residual sum passes through the
    network unchanged and training needs no warm-up.

    Args:
        dim: C, the width of input and output.
        num_heads: K, a divisor of `dim`.
        mlp_ratio: width of the MLP's hidden layer as a multiple of `dim`.
        dropout: rate for attention weights and for the output of both
            branches.
        stochastic_depth: rate at which a whole branch of a sample is left out
            in training (Huang et al., arXiv 1603.09382).
        **kwargs: `name`, `dtype` and the like, for `keras.layers.Layer`.

    Call arguments:
        x: `(B, N, C)`.
        mask: optional `(B, N)`, true or nonzero where a node is valid.
        bias: optional `(B, K, N, N)`, added to the attention logits.
        training: whether dropout is applied.

    Returns:
        `(B, N, C)`.

    Raises:
        ValueError: `dim` is not a multiple of `num_heads`.

    Example:
        >>> block = TransformerBlock(dim=64, num_heads=4)
        >>> block(keras.random.normal((100, 5, 64))).shape
        (100, 5, 64)

    Reference:
        Xiong et al., "On layer normalization in the transformer architecture",
        arXiv 2002.04745.
    """

    @checked(dropout=RATE, stochastic_depth=RATE)
    def __init__(
        self,
        dim: int,
        num_heads: int,
        mlp_ratio: int = 4,
        dropout: float = 0.0,
        stochastic_depth: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.dim = dim
        self.num_heads = num_heads
        self.mlp_ratio = mlp_ratio
        self.dropout = dropout
        self.stochastic_depth = stochastic_depth
        self.supports_masking = True
        dtype = self.dtype_policy
        self.attention_norm = keras.layers.LayerNormalization(
            epsilon=1e-5, dtype=dtype, name="attention_norm"
        )
        self.attention = MultiHeadSelfAttention(
            dim, num_heads, dropout, dtype=dtype, name="attention"
        )
        self.mlp_norm = keras.layers.LayerNormalization(
            epsilon=1e-5, dtype=dtype, name="mlp_norm"
        )
        self.mlp_in = keras.layers.Dense(
            int(mlp_ratio * dim), dtype=dtype, name="mlp_in"
        )
        self.mlp_out = keras.layers.Dense(dim, dtype=dtype, name="mlp_out")
        self.drops = []
        if dropout:
            self.drops.append(
                keras.layers.Dropout(dropout, dtype=dtype, name="drop")
            )
        if stochastic_depth:  # whole branches, sample by sample
            self.drops.append(
                keras.layers.Dropout(
                    stochastic_depth,
                    noise_shape=(None, 1, 1),
                    dtype=dtype,
                    name="drop_branch",
                )
            )

    def build(self, input_shape: Shape) -> None:
        self.attention_norm.build(input_shape)
        self.attention.build(input_shape)
        self.mlp_norm.build(input_shape)
        self.mlp_in.build(input_shape)
        self.mlp_out.build((*input_shape[:-1], self.mlp_in.units))
        for drop in self.drops:
            drop.build(input_shape)

    def call(
        self,
        x: Array,
        mask: Array | None = None,
        bias: Array | None = None,
        training: bool | None = None,
    ) -> Array:
        y = self._call_plain(x, mask, bias)
        if y is not None:
            return y
        y = apply(
            self.attention,
            MultiHeadSelfAttention,
            norm(self.attention_norm, x),
            mask=mask,
            bias=bias,
            training=training,
        )
        x = x + self._drop(y, training)
        y = dense(self.mlp_in, norm(self.mlp_norm, x))
        y = dense(self.mlp_out, backend.gelu(y))
        return x + self._drop(y, training)

    def _call_plain(self, x, mask, bias):
        """The same, with one check for all sublayers; None if one is not plain.

        On PyTorch, with few nodes, a check of each takes as long as the
        arithmetic.
        """
        attention = self.attention
        if self.drops or not is_plain(attention, MultiHeadSelfAttention):
            return None
        dense = attention.qkv, attention.output_dense, self.mlp_in, self.mlp_out
        norms = self.attention_norm, self.mlp_norm
        weights = plain_weights(dense, norms, x.dtype)
        if weights is None or attention.drop or any(map(is_active, dense)):
            return None
        qkv, output, mlp_in, mlp_out, attention_norm, mlp_norm = weights
        if mask is not None:
            mask = ops.cast(mask, "bool")
        y = backend.layer_norm(x, *attention_norm, epsilon=norms[0].epsilon)
        y = backend.linear(y, *qkv)
        y = backend.attention(y, attention.num_heads, mask, bias)
        x = x + backend.linear(y, *output)
        y = backend.layer_norm(x, *mlp_norm, epsilon=norms[1].epsilon)
        return x + backend.mlp(y, mlp_in, mlp_out)

    def _drop(self, y, training):
        for drop in self.drops:
            y = drop(y, training=training)
        return y

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def get_config(self) -> Config:
        return {
            **super().get_config(),
            "dim": self.dim,
            "num_heads": self.num_heads,
            "mlp_ratio": self.mlp_ratio,
            "dropout": self.dropout,
            "stochastic_depth": self.stochastic_depth,
        }
