"""Attention on irreducible representations of SO(3)."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_remul import backend
from keras_remul.layers.attend import softmax
from keras_remul.layers.lengths import lengths
from keras_remul.layers.spherical import paths
from keras_remul.utils.arguments import check_multiples, checked
from keras_remul.utils.dtypes import widened
from keras_remul.utils.typing import Array, Config, Shape


@keras.saving.register_keras_serializable(package="keras_remul")
class IrrepDense(keras.layers.Layer):
    """Linear map of the channels, one for each degree, without bias.

    `y_lm = W_l x_lm`

    Args:
        units: C', channels of the output.
        **kwargs: `name`, `dtype` and the like, for `keras.layers.Layer`.

    Call arguments:
        x: `(B, N, L^2, C)`, the 2l + 1 components of each degree l < L.

    Returns:
        `(B, N, L^2, C')`.

    Example:
        >>> IrrepDense(8)(keras.random.normal((100, 5, 16, 4))).shape
        (100, 5, 16, 8)
    """

    @checked()
    def __init__(self, units: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.units = units
        self.supports_masking = True

    def build(self, input_shape: Shape) -> None:
        self.num_degrees = round(input_shape[-2] ** 0.5)
        self.kernel = self.add_weight(
            shape=(self.num_degrees, input_shape[-1], self.units),
            initializer=keras.initializers.RandomNormal(
                stddev=input_shape[-1] ** -0.5
            ),
            name="kernel",
        )

    def call(self, x: Array) -> Array:
        kernel = ops.take(self.kernel, degrees(self.num_degrees), axis=0)
        n, (m, c) = ops.shape(x)[1], x.shape[2:]
        x = ops.reshape(ops.transpose(x, (2, 0, 1, 3)), (m, -1, c))
        x = ops.reshape(backend.matmul(x, kernel), (m, -1, n, self.units))
        return ops.transpose(x, (1, 2, 0, 3))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (*input_shape[:-1], self.units)

    def get_config(self) -> Config:
        return {**super().get_config(), "units": self.units}


@keras.saving.register_keras_serializable(package="keras_remul")
class SE3TransformerBlock(keras.layers.Layer):
    """Attention over all pairs of nodes with steerable keys and values.

    `W_ij^lk = sum_J phi^lkJ(|r_ij|) sum_m Y_Jm(r_ij) Q_Jm^lk`
    `k_ij = sum_k W_ij h_j^k,  v_ij = sum_k W'_ij h_j^k`
    `f_i <- f_i + L sum_j softmax_j(q_i . k_ij) v_ij + L h_i`

    with h = f / |f| gelu(Norm(|f|)), linear maps L and q = L h. The radial
    functions phi are a perceptron of the distance, and act channel by
    channel. The maps L mix channels: for keys in q, before the sum over pairs,
    and for values after it. This costs N times less than the full matrices of
    the paper. Both parities of J are used, so reflections are not symmetries.

    Args:
        num_degrees: L, degrees 0 to L - 1.
        dim: C, channels of each degree.
        num_heads: K, a divisor of `dim`.
        radial_dim: hidden width of the radial perceptron.
        **kwargs: `name`, `dtype` and the like, for `keras.layers.Layer`.

    Call arguments:
        f: `(B, N, L^2, C)`.
        kernels: for each degree k, the sum over m above,
            `(B, N, N, R_k, 2k + 1)`, see `spherical.kernel_basis`.
        distance: `(B, N, N, 1)`.
        pairs: `(B, N, N, 1)`, 1 where j is a neighbor of i, otherwise 0.

    Returns:
        `(B, N, L^2, C)`.

    Raises:
        ValueError: `dim` is not a multiple of `num_heads`.

    Example:
        >>> block = SE3TransformerBlock(num_degrees=2, dim=8, num_heads=2)

    Reference:
        Fuchs et al., "SE(3)-Transformers", arXiv 2006.10503.
    """

    @checked()
    def __init__(
        self,
        num_degrees: int,
        dim: int,
        num_heads: int,
        radial_dim: int = 32,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_multiples("num_heads", num_heads, dim=dim)
        self.num_degrees = num_degrees
        self.dim = dim
        self.num_heads = num_heads
        self.radial_dim = radial_dim
        self.supports_masking = True
        self.paths = [paths(num_degrees, k) for k in range(num_degrees)]
        dtype = self.dtype_policy
        self.norm = keras.layers.LayerNormalization(
            epsilon=1e-5, dtype=dtype, name="norm"
        )
        self.query = IrrepDense(dim, dtype=dtype, name="query")
        self.output_dense = IrrepDense(dim, dtype=dtype, name="output")
        self.skip = IrrepDense(dim, dtype=dtype, name="skip")
        self.radial_in = keras.layers.Dense(
            radial_dim, dtype=dtype, name="radial_in"
        )
        self.radial_out = keras.layers.Dense(
            2 * dim * int(np.sum(self.paths)), dtype=dtype, name="radial_out"
        )

    def build(self, f_shape: Shape, *_: Any, **__: Any) -> None:
        self.norm.build((None, None, self.num_degrees, self.dim))
        for layer in (self.query, self.output_dense, self.skip):
            layer.build((None, None, self.num_degrees**2, self.dim))
        self.radial_in.build((None, None, None, 1))
        self.radial_out.build((None, None, None, self.radial_dim))

    def call(
        self, f: Array, kernels: list[Array], distance: Array, pairs: Array
    ) -> Array:
        h = self._nonlinearity(f)
        # The exact gelu has no counterpart in ONNX's converters.
        radial = ops.gelu(self.radial_in(distance), approximate=True)
        radial = self.radial_out(radial)
        n, c = ops.shape(f)[1], self.dim
        radial = ops.reshape(radial, (-1, n, n, radial.shape[-1] // c, 1, c))
        num_paths = radial.shape[-3] // 2
        k = self._messages(h, kernels, radial[:, :, :, :num_paths])
        v = self._messages(h, kernels, radial[:, :, :, num_paths:])
        y = self._attend(self.query(h), k, v, pairs)
        return f + self.output_dense(y) + self.skip(h)

    def _nonlinearity(self, f):
        parts = _split(f, self.num_degrees)
        norms = ops.stack(
            [lengths(part, 1e-6, axis=2, keepdims=False) for part in parts],
            axis=2,
        )  # (B, N, L, C)
        # The derivative at small norms overflows float16.
        gate = widened(ops.gelu(self.norm(norms))) / widened(norms)
        gate = ops.cast(gate, f.dtype)
        return f * ops.take(gate, degrees(self.num_degrees), axis=2)

    def _messages(self, h, kernels, radial):
        """Keys or values `(B, N, N, L^2, C)`."""
        total, path = [0.0] * self.num_degrees, 0
        for k, part in enumerate(_split(h, self.num_degrees)):
            # (B, N, N, R, C) from kernels of i, j and features of j.
            t, row = backend.matmul(kernels[k], part[:, None]), 0
            shape = ops.shape(t)[:3]
            for degree, count in enumerate(self.paths[k]):
                rows = count * (2 * degree + 1)
                block = ops.reshape(
                    t[:, :, :, row : row + rows],
                    (*shape, count, 2 * degree + 1, self.dim),
                )
                weight = radial[:, :, :, path : path + count]
                total[degree] += ops.sum(block * weight, axis=3)
                row, path = row + rows, path + count
        return ops.concatenate(total, axis=3)

    def _attend(self, q, k, v, pairs):
        n, heads = ops.shape(q)[1], self.num_heads
        c, m = self.dim // heads, self.num_degrees**2
        logits = ops.sum(q[:, :, None] * k, axis=3)  # (B, N, N, C)
        logits = ops.sum(ops.reshape(logits, (-1, n, n, heads, c)), axis=-1)
        logits = logits * (m * c) ** -0.5
        # float32 or better, whatever the compute dtype.
        dtype = keras.backend.standardize_dtype(logits.dtype)
        if dtype in ("float16", "bfloat16"):
            logits = ops.cast(logits, "float32")
        logits = ops.where(pairs > 0, logits, -1e30)
        weights = ops.cast(softmax(logits, axis=2), v.dtype)
        # A node without neighbors receives nothing.
        weights = weights * ops.cast(pairs, v.dtype)
        v = ops.reshape(v, (-1, n, n, m, heads, c))
        y = ops.sum(weights[:, :, :, None, :, None] * v, axis=2)
        return ops.reshape(y, (-1, n, m, self.dim))

    def compute_output_shape(self, f_shape: Shape, *_: Any, **__: Any) -> Shape:
        return f_shape

    def get_config(self) -> Config:
        return {
            **super().get_config(),
            "num_degrees": self.num_degrees,
            "dim": self.dim,
            "num_heads": self.num_heads,
            "radial_dim": self.radial_dim,
        }


def degrees(num_degrees):
    """The degree of each of the L^2 components."""
    return np.repeat(np.arange(num_degrees), 2 * np.arange(num_degrees) + 1)


def _split(f, num_degrees):
    """The components `(B, N, 2l + 1, C)` of each degree l."""
    return [f[:, :, d**2 : (d + 1) ** 2] for d in range(num_degrees)]
