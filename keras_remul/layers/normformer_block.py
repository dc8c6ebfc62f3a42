"""A transformer block with norms behind its branches, and class attention."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from keras_remul.layers.attention import MultiHeadSelfAttention
from keras_remul.layers.plain import apply, dense, norm
from keras_remul.layers.transformer_block import TransformerBlock
from keras_remul.utils.arguments import RATE, checked
from keras_remul.utils.typing import Array, Shape


@keras.saving.register_keras_serializable(package="keras_remul")
class NormFormerBlock(TransformerBlock):
    """A `TransformerBlock` with further norms and scales that are learned.

    `x <- x + Norm(c Attention(Norm(x)))`
    `x <- w x + Dense(Norm(gelu(Dense(Norm(x)))))`

    with c a number for each head, and w one for each channel. With a class
    token t, only the token changes: it asks the nodes and itself,

    `t <- t + Norm(c Attention(t, Norm([t, x])))`, and as above.

    Args:
        dim: C, the width of input and output.
        num_heads: K, a divisor of `dim`.
        mlp_ratio: width of the MLP's hidden layer as a multiple of `dim`.
        dropout: rate for attention weights, the hidden layer of the MLP and
            the output of both branches.
        **kwargs: `stochastic_depth`, see `TransformerBlock`; `name`, `dtype`
            and the like, for `keras.layers.Layer`.

    Call arguments:
        x: `(B, N, C)`.
        mask: optional `(B, N)`, true or nonzero where a node is valid.
        bias: optional `(B, K, N, N)`, added to the attention logits; not with
            a token.
        token: optional `(B, 1, C)`, the class token.
        training: whether dropout is applied.

    Returns:
        `(B, N, C)`; with a token, the new one `(B, 1, C)`.

    Raises:
        ValueError: `dim` is not a multiple of `num_heads`, or there is a bias
            beside a token.

    Example:
        >>> block = NormFormerBlock(dim=64, num_heads=4)
        >>> block(keras.random.normal((100, 5, 64))).shape
        (100, 5, 64)

    Reference:
        Shleifer, Weston and Ott, "NormFormer", arXiv 2110.09456; Touvron et
        al., "Going deeper with image transformers", arXiv 2103.17239, the class
        attention; as in Qu, Li and Qian, arXiv 2202.03772.
    """

    @checked(dropout=RATE)
    def __init__(
        self,
        dim: int,
        num_heads: int,
        mlp_ratio: int = 4,
        dropout: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(dim, num_heads, mlp_ratio, dropout, **kwargs)
        dtype = self.dtype_policy
        self.attention_post_norm = keras.layers.LayerNormalization(
            epsilon=1e-5, dtype=dtype, name="attention_post_norm"
        )
        self.mlp_post_norm = keras.layers.LayerNormalization(
            epsilon=1e-5, dtype=dtype, name="mlp_post_norm"
        )
        self.drop_hidden = (
            keras.layers.Dropout(dropout, dtype=dtype, name="drop_hidden")
            if dropout
            else None
        )

    def build(self, input_shape: Shape) -> None:
        super().build(input_shape)
        hidden = (*input_shape[:-1], self.mlp_in.units)
        self.attention_post_norm.build(input_shape)
        self.mlp_post_norm.build(hidden)
        if self.drop_hidden is not None:
            self.drop_hidden.build(hidden)
        self.head_scale = self.add_weight(
            shape=(self.num_heads,), initializer="ones", name="head_scale"
        )
        self.residual_scale = self.add_weight(
            shape=(self.dim,), initializer="ones", name="residual_scale"
        )

    def call(
        self,
        x: Array,
        mask: Array | None = None,
        bias: Array | None = None,
        token: Array | None = None,
        training: bool | None = None,
    ) -> Array:
        if token is not None:
            if bias is not None:
                raise ValueError("Expected no `bias` beside a `token`.")
            nodes = ops.concatenate([token, x], axis=1)
            if mask is not None:
                mask = ops.cast(mask, "bool")
                first = ops.ones((ops.shape(mask)[0], 1), "bool")
                mask = ops.concatenate([first, mask], axis=1)
            x = token
        else:
            nodes = x
        y = apply(
            self.attention,
            MultiHeadSelfAttention,
            norm(self.attention_norm, nodes),
            mask=mask,
            bias=bias,
            query=token,
            training=training,
        )
        # The scale of each head stands before all of its channels.
        y = y * ops.repeat(self.head_scale, self.dim // self.num_heads)
        x = x + self._drop(norm(self.attention_post_norm, y), training)
        y = ops.gelu(dense(self.mlp_in, norm(self.mlp_norm, x)), False)
        if self.drop_hidden is not None:
            y = self.drop_hidden(y, training=training)
        y = dense(self.mlp_out, norm(self.mlp_post_norm, y))
        return x * self.residual_scale + self._drop(y, training)
