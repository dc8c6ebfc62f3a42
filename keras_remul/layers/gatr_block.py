"""One block of the geometric algebra transformer."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from keras_remul.layers.attend import attend
from keras_remul.layers.geometric_algebra import geometric_product, join
from keras_remul.layers.multivector import (
    MultivectorDense,
    MultivectorNormalization,
)
from keras_remul.utils.arguments import check_multiples, checked
from keras_remul.utils.dtypes import widened
from keras_remul.utils.typing import Array, Config, Shape


@keras.saving.register_keras_serializable(package="keras_remul")
class GATrBlock(keras.layers.Layer):
    """Attention and MLP on multivectors x and scalars s, E(3)-equivariant.

    `A = softmax((<q, k> + phi(q) . psi(k) + q_s k_s^T) / sqrt(F))`
    `x <- x + L A L x,  x <- x + L(gelu(h_0) h),  h = L [l r, l v r]`

    with L equivariant linear maps, l, r = L x, the geometric product l r, the
    join l v r and the scalar component h_0; x and s are normalised first. The
    product phi(q) . psi(k) is minus the squared distance of two points, times
    a weight: the inner product <q, k> does not see positions.

    Half of the channels have the parity 0: u x u^-1 under an element u of
    Pin(3, 0, 1), with a sign for odd grades where u reflects. The other half
    have the parity 1: that times -1 where u reflects, as do points (e123 is
    the origin, before and after). Products add parities, and the join adds
    one more. The paper has one parity, multiplies the join by the
    pseudoscalar of a reference, the mean of the inputs, and lets a point
    change sign under reflections; for points that keep theirs the reference
    is 1, and the parities make the block equivariant to all of E(3).

    Args:
        dim: S, the number of scalars.
        multivector_dim: 2 C, the number of multivectors of both parities.
        num_heads: K, a divisor of `dim` and of C.
        mlp_ratio: hidden scalars of the MLP as a multiple of `dim`; there are
            4 C hidden multivectors.
        **kwargs: `name`, `dtype` and the like, for `keras.layers.Layer`.

    Call arguments:
        x: multivectors `(8, 2, B, N, 2 C)`, see `geometric_algebra`.
        s: scalars `(B, N, S)`.
        mask: optional `(B, N)`, boolean, true where a node is valid.

    Returns:
        x and s.

    Raises:
        ValueError: a width is not a multiple of `num_heads`.

    Example:
        >>> block = GATrBlock(32, 16, num_heads=4)
        >>> x = keras.random.normal((8, 2, 100, 5, 16))
        >>> x, s = block(x, keras.random.normal((100, 5, 32)))

    Reference:
        Brehmer et al., "Geometric Algebra Transformer", arXiv 2305.18415.
    """

    @checked()
    def __init__(
        self,
        dim: int,
        multivector_dim: int,
        num_heads: int,
        mlp_ratio: int = 2,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_multiples("num_heads", num_heads, dim=dim)
        check_multiples(
            "2 * num_heads", 2 * num_heads, multivector_dim=multivector_dim
        )
        self.dim = dim
        self.multivector_dim = multivector_dim
        self.num_heads = num_heads
        self.mlp_ratio = mlp_ratio
        self.channels = multivector_dim // 2
        self.supports_masking = True
        features = dim // num_heads + 26 * self.channels // num_heads
        self.scale = features**-0.5
        dtype = self.dtype_policy

        def norm(name):
            return keras.layers.LayerNormalization(
                epsilon=1e-5, dtype=dtype, name=name
            )

        def dense(units, name):
            return keras.layers.Dense(units, dtype=dtype, name=name)

        def linear(units, name):
            return MultivectorDense(units, dtype=dtype, name=name)

        channels = self.channels
        self.attention_norm = norm("attention_norm")
        self.multivector_attention_norm = MultivectorNormalization(
            dtype=dtype, name="multivector_attention_norm"
        )
        self.qkv = dense(3 * dim, "qkv")
        self.multivector_qkv = linear(3 * channels, "multivector_qkv")
        self.output_dense = dense(dim, "output")
        self.multivector_output = linear(channels, "multivector_output")
        self.mlp_norm = norm("mlp_norm")
        self.multivector_mlp_norm = MultivectorNormalization(
            dtype=dtype, name="multivector_mlp_norm"
        )
        self.left = linear(2 * channels, "left")
        self.right = linear(2 * channels, "right")
        self.mlp_in = dense(int(mlp_ratio * dim), "mlp_in")
        self.multivector_mlp_in = linear(2 * channels, "multivector_mlp_in")
        self.mlp_out = dense(dim, "mlp_out")
        self.multivector_mlp_out = linear(channels, "multivector_mlp_out")

    def build(self, x_shape: Shape, s_shape: Shape) -> None:
        def multivectors(channels, parities=2):
            return (8, parities, None, None, 2 * channels)

        def scalars(width):
            return (None, None, width)

        channels, dim, hidden = self.channels, self.dim, self.mlp_in.units
        x, s = multivectors(channels), scalars(dim)
        self.attention_norm.build(s)
        self.multivector_attention_norm.build(x)
        self.qkv.build(scalars(dim + channels))
        self.multivector_qkv.build(x)
        self.output_dense.build(scalars(dim + channels))
        self.multivector_output.build(x, s)
        self.mlp_norm.build(s)
        self.multivector_mlp_norm.build(x)
        self.left.build(multivectors(channels, parities=1))
        self.right.build(x)
        self.mlp_in.build(scalars(dim + channels))
        self.multivector_mlp_in.build(multivectors(2 * channels), s)
        self.mlp_out.build(scalars(hidden + 2 * channels))
        self.multivector_mlp_out.build(multivectors(2 * channels))

    def call(
        self, x: Array, s: Array, mask: Array | None = None
    ) -> tuple[Array, Array]:
        dx, ds = self._attention(
            self.multivector_attention_norm(x), self.attention_norm(s), mask
        )
        x, s = x + dx, s + ds
        dx, ds = self._mlp(self.multivector_mlp_norm(x), self.mlp_norm(s))
        return x + dx, s + ds

    def _attention(self, x, s, mask):
        n, heads, channels = ops.shape(s)[1], self.num_heads, self.channels
        width, c = self.dim // heads, channels // heads
        s = self.qkv(_with_scalar_part(s, x))
        q_s, k_s, v_s = ops.unstack(
            ops.reshape(s, (-1, n, 3, heads, width)), 3, axis=2
        )
        x = self.multivector_qkv(x)  # (8, P, B, N, 2 * 3 C)
        x = ops.reshape(x, (8, 2, -1, n, 2, 3, heads, c))
        x = ops.transpose(x, (5, 2, 3, 6, 1, 7, 4, 0))
        x = ops.reshape(x, (3, -1, n, heads, 2 * c, 2, 8))  # ... P c, a b, 8
        q, k, v = ops.unstack(x, 3, axis=0)
        phi, psi = _distance_features(q, k)

        def flat(x):
            return ops.reshape(x, (-1, n, heads, x.shape[-1] * 2 * c))

        q = ops.concatenate([q_s, flat(q[..., 0, :]), flat(phi)], axis=-1)
        k = ops.concatenate([k_s, flat(k[..., 0, :]), flat(psi)], axis=-1)
        v = ops.reshape(v, (-1, n, heads, 32 * c))
        v = ops.concatenate([v_s, v], axis=-1)
        y = attend(q * self.scale, k, v, mask)  # (B, N, K, F)
        s = ops.reshape(y[..., :width], (-1, n, self.dim))
        x = ops.reshape(y[..., width:], (-1, n, heads, 2, c, 2, 8))
        x = ops.transpose(x, (6, 3, 0, 1, 5, 2, 4))
        x = ops.reshape(x, (8, 2, -1, n, 2 * channels))
        ds = self.output_dense(_with_scalar_part(s, x))
        return self.multivector_output(x, s), ds

    def _mlp(self, x, s):
        # Left factors have parity 1, that of points.
        l_product, l_join = _split_channels(self.left(x[:, 1:]))
        r_product, r_join = _split_channels(self.right(x))
        product = geometric_product(l_product, r_product)
        product = ops.flip(product, axis=1)  # parity 1 + p
        h = _concatenate_channels(product, join(l_join, r_join))
        h = self.multivector_mlp_in(h, s)
        gate = ops.gelu(_scalar_part(h), approximate=True)
        dx = self.multivector_mlp_out(
            h * ops.concatenate([gate, gate], axis=-1)
        )
        s = ops.gelu(self.mlp_in(_with_scalar_part(s, x)), approximate=True)
        return dx, self.mlp_out(_with_scalar_part(s, h))

    def compute_output_shape(
        self, x_shape: Shape, s_shape: Shape
    ) -> tuple[Shape, Shape]:
        return x_shape, s_shape

    def get_config(self) -> Config:
        return {
            **super().get_config(),
            "dim": self.dim,
            "multivector_dim": self.multivector_dim,
            "num_heads": self.num_heads,
            "mlp_ratio": self.mlp_ratio,
        }


def _scalar_part(x):
    """The true scalar of each channel `(B, N, C)`."""
    return x[0, 0, :, :, : x.shape[-1] // 2]


def _with_scalar_part(s, x):
    return ops.concatenate([s, _scalar_part(x)], axis=-1)


def _split_channels(x):
    """Two multivectors of half the channels."""
    a, c, b, d = ops.split(x, 4, axis=-1)
    return (
        ops.concatenate([a, b], axis=-1),
        ops.concatenate([c, d], axis=-1),
    )


def _concatenate_channels(x, y):
    (a, b), (c, d) = ops.split(x, 2, axis=-1), ops.split(y, 2, axis=-1)
    return ops.concatenate([a, c, b, d], axis=-1)


def _distance_features(q, k):
    """phi(q) and psi(k) with phi . psi = -w(q) w(k) |k_0 q - q_0 k|^2.

    q_0 is the weight e123 of a trivector, and q its three components e0ij;
    w(q) = q_0 / (q_0^2 + 0.001).

    Args:
        q, k: `(..., 2, 8)`, last the halves a and b and their components.

    Returns:
        Two arrays `(..., 5)`.
    """

    def parts(x):
        weight = x[..., 0, 7:]
        point = ops.stack([x[..., 1, i] for i in (3, 5, 6)], axis=-1)
        square = ops.sum(ops.square(point), axis=-1, keepdims=True)
        wide = widened(weight)  # the derivative at 0 overflows float16
        scale = ops.cast(wide / (ops.square(wide) + 1e-3), weight.dtype)
        return weight, point, square, scale

    weight, point, square, scale = parts(q)
    phi = scale * ops.concatenate(
        [ops.square(weight), square, weight * point], axis=-1
    )
    weight, point, square, scale = parts(k)
    psi = scale * ops.concatenate(
        [-square, -ops.square(weight), 2.0 * weight * point], axis=-1
    )
    return phi, psi
