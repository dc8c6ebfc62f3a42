"""Attention biases from the features of pairs of nodes."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from keras_remul.utils.arguments import checked
from keras_remul.utils.typing import Array, Config, Shape


@keras.saving.register_keras_serializable(package="keras_remul")
class PairBias(keras.layers.Layer):
    """Biases of attention logits from the features of pairs.

    `b_ij = Dense(silu(Dense([d_ij, log d_ij, e_ij])))`

    with d_ij the distance and e_ij any other features, one number for each
    head of each block. It is computed once for all blocks.

    Args:
        num_layers: L, the number of blocks.
        num_heads: K, the number of heads of each.
        hidden_dim: width of the hidden layer.
        **kwargs: `name`, `dtype` and the like, for `keras.layers.Layer`.

    Call arguments:
        pairs: `(B, N, N, F)`; the first feature is the squared distance.

    Returns:
        List of L arrays `(B, K, N, N)`.

    Example:
        >>> layer = PairBias(num_layers=4, num_heads=8)
        >>> len(layer(ops.square(keras.random.normal((8, 5, 5, 1)))))
        4

    Reference:
        Ying et al., "Do transformers really perform bad for graph
        representation?", arXiv 2106.05234, the spatial encoding.
    """

    @checked()
    def __init__(
        self,
        num_layers: int,
        num_heads: int,
        hidden_dim: int = 32,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.num_layers = num_layers
        self.num_heads = num_heads
        self.hidden_dim = hidden_dim
        dtype = self.dtype_policy
        self.hidden = keras.layers.Dense(hidden_dim, dtype=dtype, name="hidden")
        self.output_dense = keras.layers.Dense(
            num_layers * num_heads, dtype=dtype, name="output"
        )

    def build(self, input_shape: Shape) -> None:
        self.hidden.build((*input_shape[:-1], input_shape[-1] + 1))
        self.output_dense.build((*input_shape[:-1], self.hidden_dim))

    def call(self, pairs: Array) -> list[Array]:
        # The square is 0 on the diagonal, where root and log have no slope.
        square = pairs[..., :1] + 1e-4
        features = [ops.sqrt(square), 0.5 * ops.log(square), pairs[..., 1:]]
        h = ops.silu(self.hidden(ops.concatenate(features, axis=-1)))
        b = ops.transpose(self.output_dense(h), (0, 3, 1, 2))
        return ops.split(b, self.num_layers, axis=1)

    def compute_output_shape(self, input_shape: Shape) -> list[Shape]:
        batch, n, m, _ = input_shape
        return [(batch, self.num_heads, n, m)] * self.num_layers

    def get_config(self) -> Config:
        return {
            **super().get_config(),
            "num_layers": self.num_layers,
            "num_heads": self.num_heads,
            "hidden_dim": self.hidden_dim,
        }
