"""One transformer block on scalars and vectors, equivariant to O(3)."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from keras_remul.layers.attend import attend
from keras_remul.layers.exact import VectorDense
from keras_remul.utils.arguments import POSITIVE, check_multiples, checked
from keras_remul.utils.typing import Array, Config, Shape


@keras.saving.register_keras_serializable(package="keras_remul")
class VectorNormalization(keras.layers.Layer):
    """Divides the vectors of a node by their root mean square length.

    `v <- v / sqrt(mean_c |v_c|^2 + epsilon)`

    No mean is subtracted and no bias is added: both would single out a
    direction.

    Args:
        epsilon: added to the mean square.
        **kwargs: `name`, `dtype` and the like, for `keras.layers.Layer`.

    Call arguments:
        v: `(B, N, 3, C)`.

    Returns:
        `(B, N, 3, C)`.

    Example:
        >>> VectorNormalization()(keras.random.normal((8, 5, 3, 16))).shape
        (8, 5, 3, 16)
    """

    @checked(epsilon=POSITIVE)
    def __init__(self, epsilon: float = 1e-5, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.epsilon = epsilon
        self.supports_masking = True
        self.built = True

    def call(self, v: Array) -> Array:
        square = ops.mean(ops.square(v), axis=(-2, -1), keepdims=True)
        return v * ops.rsqrt(3.0 * square + self.epsilon)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def get_config(self) -> Config:
        return {**super().get_config(), "epsilon": self.epsilon}


@keras.saving.register_keras_serializable(package="keras_remul")
class VectorTransformerBlock(keras.layers.Layer):
    """Pre-norm attention and gated MLP on scalars s and vectors v.

    `A = softmax((q_s k_s^T + sum_xyz q_v k_v^T) / sqrt(F) + b)`
    `s <- s + W A s,  v <- v + W A v`
    `u, w = W v,  [h, g] = Dense([s, u . w])`
    `s <- s + Dense(gelu(h)),  v <- v + W (sigmoid(g) u)`

    with all of s and v normalised first. Rotations and reflections act on the
    axis of x, y and z; the maps W of vectors mix channels only and have no
    bias, which would be a fixed direction. Scalars depend on vectors only
    through scalar products. Each step is one large product for the scalars and
    one for the vectors.

    Args:
        dim: C, the number of scalars.
        vector_dim: V, the number of vectors.
        num_heads: K, a divisor of both.
        mlp_ratio: hidden scalars and vectors of the MLP as a multiple of
            `dim` and `vector_dim`.
        **kwargs: `name`, `dtype` and the like, for `keras.layers.Layer`.

    Call arguments:
        s: `(B, N, C)`.
        v: `(B, N, 3, V)`.
        mask: optional `(B, N)`, true or nonzero where a node is valid.
        bias: optional b `(B, K, N, N)`, invariant.

    Returns:
        s and v.

    Raises:
        ValueError: `dim` or `vector_dim` is not a multiple of `num_heads`.

    Example:
        >>> block = VectorTransformerBlock(32, 16, num_heads=4)
        >>> s, v = keras.random.normal((8, 5, 32)), ops.zeros((8, 5, 3, 16))
        >>> s, v = block(s, v)

    Reference:
        In the manner of the slim Lorentz-equivariant transformer of
        arXiv 2512.17011, for Euclidean vectors.
    """

    @checked()
    def __init__(
        self,
        dim: int,
        vector_dim: int,
        num_heads: int,
        mlp_ratio: int = 2,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_multiples("num_heads", num_heads, dim=dim, vector_dim=vector_dim)
        self.dim = dim
        self.vector_dim = vector_dim
        self.num_heads = num_heads
        self.mlp_ratio = mlp_ratio
        self.scale = ((dim + 3 * vector_dim) // num_heads) ** -0.5
        self.supports_masking = True
        self.mlp_dim = int(mlp_ratio * dim)
        self.mlp_vector_dim = int(mlp_ratio * vector_dim)
        dtype = self.dtype_policy

        def norms(name):
            scalar = keras.layers.LayerNormalization(
                epsilon=1e-5, dtype=dtype, name=f"{name}_norm"
            )
            vector = VectorNormalization(
                dtype=dtype, name=f"{name}_vector_norm"
            )
            return scalar, vector

        def dense(units, name):
            return keras.layers.Dense(units, dtype=dtype, name=name)

        def vector_dense(units, name):
            return VectorDense(units, dtype=dtype, name=name)

        self.attention_norms = norms("attention")
        self.qkv = dense(3 * dim, "qkv")
        self.vector_qkv = vector_dense(3 * vector_dim, "vector_qkv")
        self.output_dense = dense(dim, "output")
        self.vector_output = vector_dense(vector_dim, "vector_output")
        self.mlp_norms = norms("mlp")
        self.mlp_in = dense(self.mlp_dim + self.mlp_vector_dim, "mlp_in")
        self.vector_mlp_in = vector_dense(
            2 * self.mlp_vector_dim, "vector_mlp_in"
        )
        self.mlp_out = dense(dim, "mlp_out")
        self.vector_mlp_out = vector_dense(vector_dim, "vector_mlp_out")

    def build(self, s_shape: Shape, v_shape: Shape) -> None:
        s, v = s_shape, v_shape
        for scalar, vector in (self.attention_norms, self.mlp_norms):
            scalar.build(s)
            vector.build(v)
        self.qkv.build(s)
        self.vector_qkv.build(v)
        self.output_dense.build(s)
        self.vector_output.build(v)
        self.mlp_in.build((*s[:-1], self.dim + self.mlp_vector_dim))
        self.vector_mlp_in.build(v)
        self.mlp_out.build((*s[:-1], self.mlp_dim))
        self.vector_mlp_out.build((*v[:-1], self.mlp_vector_dim))

    def call(
        self,
        s: Array,
        v: Array,
        mask: Array | None = None,
        bias: Array | None = None,
    ) -> tuple[Array, Array]:
        ds, dv = self._attention(s, v, mask, bias)
        s, v = s + ds, v + dv
        ds, dv = self._mlp(s, v)
        return s + ds, v + dv

    def _attention(self, s, v, mask, bias):
        n, heads = ops.shape(s)[1], self.num_heads
        width, vectors = self.dim // heads, self.vector_dim // heads
        scalar_norm, vector_norm = self.attention_norms
        s = ops.reshape(self.qkv(scalar_norm(s)), (-1, n, heads, 3, width))
        v = self.vector_qkv(vector_norm(v))  # (B, N, 3, 3 V)
        v = ops.reshape(v, (-1, n, 3, heads, 3, vectors))
        v = ops.transpose(v, (0, 1, 3, 4, 2, 5))  # (B, N, K, q k v, xyz, V/K)
        v = ops.reshape(v, (-1, n, heads, 3, 3 * vectors))
        qkv = ops.concatenate([s, v], axis=-1)  # (B, N, K, 3, F)
        q, k, values = ops.unstack(qkv, 3, axis=3)
        y = attend(q * self.scale, k, values, mask, bias)  # (B, N, K, F)
        s = ops.reshape(y[..., :width], (-1, n, self.dim))
        v = ops.reshape(y[..., width:], (-1, n, heads, 3, vectors))
        v = ops.reshape(
            ops.transpose(v, (0, 1, 3, 2, 4)), (-1, n, 3, self.vector_dim)
        )
        return self.output_dense(s), self.vector_output(v)

    def _mlp(self, s, v):
        scalar_norm, vector_norm = self.mlp_norms
        u, w = ops.split(self.vector_mlp_in(vector_norm(v)), 2, axis=-1)
        products = ops.sum(u * w, axis=-2)  # (B, N, V')
        h = self.mlp_in(ops.concatenate([scalar_norm(s), products], axis=-1))
        gates = ops.sigmoid(h[..., self.mlp_dim :])[:, :, None, :]
        h = ops.gelu(h[..., : self.mlp_dim], approximate=True)
        return self.mlp_out(h), self.vector_mlp_out(gates * u)

    def compute_output_shape(
        self, s_shape: Shape, v_shape: Shape
    ) -> tuple[Shape, Shape]:
        return s_shape, v_shape

    def get_config(self) -> Config:
        return {
            **super().get_config(),
            "dim": self.dim,
            "vector_dim": self.vector_dim,
            "num_heads": self.num_heads,
            "mlp_ratio": self.mlp_ratio,
        }
