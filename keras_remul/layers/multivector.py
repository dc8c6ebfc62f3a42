"""Equivariant layers on multivectors."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from keras_remul import backend
from keras_remul.layers.geometric_algebra import LINEAR_BASIS
from keras_remul.utils.arguments import POSITIVE, checked
from keras_remul.utils.typing import Array, Config, Shape


@keras.saving.register_keras_serializable(package="keras_remul")
class MultivectorDense(keras.layers.Layer):
    """The general linear map of multivectors that is equivariant to E(3).

    `y_c' = sum_c (sum_k W_kc'c <x_c>_k + sum_k V_kc'c e0 <x_c>_k)`

    with the projections <x>_k to the grades: nine numbers for each pair of
    channels, in one product of matrices for each component. Parities are not
    mixed. Scalars, if given, are added to the scalar component of parity 0.

    Args:
        units: C', channels of the output, of each parity.
        **kwargs: `name`, `dtype` and the like, for `keras.layers.Layer`.

    Call arguments:
        x: multivectors `(8, P, B, N, 2 C)`.
        s: optional scalars `(B, N, S)`, given always or never.

    Returns:
        `(8, P, B, N, 2 C')`.

    Example:
        >>> layer = MultivectorDense(16)
        >>> layer(keras.random.normal((8, 2, 100, 5, 2 * 4))).shape
        (8, 2, 100, 5, 32)

    Reference:
        Brehmer et al., "Geometric Algebra Transformer", arXiv 2305.18415.
    """

    @checked()
    def __init__(self, units: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.units = units
        self.supports_masking = True

    def build(self, x_shape: Shape, s_shape: Shape | None = None) -> None:
        parities, channels = x_shape[1], x_shape[-1] // 2
        self.kernel = self.add_weight(
            shape=(9, parities, channels, self.units),
            initializer=keras.initializers.RandomNormal(
                stddev=(2 * channels) ** -0.5
            ),
            name="kernel",
        )
        if s_shape is not None:
            self.from_scalars = keras.layers.Dense(
                self.units, dtype=self.dtype_policy, name="from_scalars"
            )
            self.from_scalars.build(s_shape)

    def call(self, x: Array, s: Array | None = None) -> Array:
        parities, n, width = x.shape[1], ops.shape(x)[3], x.shape[-1]
        units = self.units
        basis = ops.convert_to_tensor(
            LINEAR_BASIS.reshape(32, 9), self.compute_dtype
        )
        kernel = backend.matmul(basis, ops.reshape(self.kernel, (9, -1)))
        kernel = ops.reshape(kernel, (8, 2, 2, parities, width // 2, units))
        kernel = ops.transpose(kernel, (0, 3, 1, 4, 2, 5))
        kernel = ops.reshape(kernel, (8, parities, width, 2 * units))
        y = backend.matmul(ops.reshape(x, (8, parities, -1, width)), kernel)
        y = ops.reshape(y, (8, parities, -1, n, 2 * units))
        if s is None:
            return y
        s = self.from_scalars(s)[None, None]  # (1, 1, B, N, C')
        s = ops.pad(s, [(0, 0), (0, parities - 1), (0, 0), (0, 0), (0, units)])
        return ops.concatenate([y[:1] + s, y[1:]], axis=0)

    def compute_output_shape(
        self, x_shape: Shape, s_shape: Shape | None = None
    ) -> Shape:
        return (*x_shape[:-1], 2 * self.units)

    def get_config(self) -> Config:
        return {**super().get_config(), "units": self.units}


@keras.saving.register_keras_serializable(package="keras_remul")
class MultivectorNormalization(keras.layers.Layer):
    """Divides the multivectors of a node by their root mean square norm.

    `x <- x / sqrt(mean_c <x_c, x_c> + epsilon)`

    <x, x> is the sum of the squares of the components without e0, the only ones
    that translations do not change.

    Args:
        epsilon: added to the mean square.
        **kwargs: `name`, `dtype` and the like, for `keras.layers.Layer`.

    Call arguments:
        x: multivectors `(8, P, B, N, 2 C)`.

    Returns:
        `(8, P, B, N, 2 C)`.

    Example:
        >>> layer = MultivectorNormalization()
        >>> layer(keras.random.normal((8, 2, 100, 5, 32))).shape
        (8, 2, 100, 5, 32)

    Reference:
        Brehmer et al., "Geometric Algebra Transformer", arXiv 2305.18415.
    """

    @checked(epsilon=POSITIVE)
    def __init__(self, epsilon: float = 1e-2, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.epsilon = epsilon
        self.supports_masking = True
        self.built = True

    def call(self, x: Array) -> Array:
        a = x[..., : x.shape[-1] // 2]
        square = 8.0 * ops.mean(ops.square(a), axis=(0, 1, -1), keepdims=True)
        return x * ops.rsqrt(square + self.epsilon)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def get_config(self) -> Config:
        return {**super().get_config(), "epsilon": self.epsilon}
