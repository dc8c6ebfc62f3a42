"""The SE(3)-Transformer."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from keras_remul.graphs import displacements
from keras_remul.layers.exact import VectorDense, exact_product
from keras_remul.layers.lengths import lengths
from keras_remul.layers.se3_block import IrrepDense, SE3TransformerBlock
from keras_remul.layers.spherical import kernel_basis, spherical_harmonics
from keras_remul.models.equivariant import EquivariantModel
from keras_remul.utils.arguments import between, check_multiples, checked
from keras_remul.utils.dtypes import widened
from keras_remul.utils.typing import Array, Config


@keras.saving.register_keras_serializable(package="keras_remul")
class SE3Transformer(EquivariantModel):
    """SE(3)-Transformer over all pairs of nodes, exactly equivariant to SE(3).

    `f = Blocks(Dense(scalars), L [x - mean(x), v])`
    `y = x + s_0 v + sum_c Dense(f_0)_c f_1c`

    Features are irreducible representations of SO(3) of the degrees 0 to
    L - 1; keys and values are made from those of the neighbors by kernels of
    spherical harmonics. The paper's kernels hold a full matrix of radial
    functions for each pair of channels, ours one function for each channel
    (see `layers.SE3TransformerBlock`). Memory grows with the square of the
    number of nodes. Masks and dtypes as in `Transformer`.

    Args:
        num_layers: number of blocks.
        num_degrees: L, from 2 to 4.
        hidden_dim: C, channels of each degree.
        num_heads: a divisor of `hidden_dim`.
        radial_dim: hidden width of the radial perceptrons.
        **kwargs: `name` and `dtype`, for `keras.Model`.

    Call arguments:
        inputs: dict of `"positions"` `(B, N, 3)`; optional `"velocities"`
            `(B, N, 3)`; optional `"mask"` `(B, N)`; each other key is an
            invariant feature of the nodes `(B, N, F)`.

    Returns:
        Positions `(B, N, 3)`. Those of padded nodes are finite numbers without
        meaning.

    Raises:
        ValueError: a key is missing or unknown, or an axis has another length.

    Example:
        >>> model = SE3Transformer(num_layers=2, num_degrees=3)
        >>> x = {"positions": keras.random.normal((8, 5, 3)),
        ...      "velocities": keras.random.normal((8, 5, 3))}
        >>> model(x).shape
        (8, 5, 3)

    Reference:
        Fuchs et al., "SE(3)-Transformers", arXiv 2006.10503.
    """

    # "nbody_charged" is that of arXiv 2006.10503.
    variants = {
        "nbody_charged": dict(
            num_layers=4, num_degrees=4, hidden_dim=8, num_heads=1
        )
    }

    # --- Layers ---

    @checked(num_degrees=between(2, 4))
    def __init__(
        self,
        num_layers: int = 4,
        num_degrees: int = 4,
        hidden_dim: int = 16,
        num_heads: int = 4,
        radial_dim: int = 32,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_multiples("num_heads", num_heads, hidden_dim=hidden_dim)
        self.num_layers = num_layers
        self.num_degrees = num_degrees
        self.hidden_dim = hidden_dim
        self.num_heads = num_heads
        self.radial_dim = radial_dim
        dtype = self.dtype_policy
        self.embedding = keras.layers.Dense(
            hidden_dim, dtype=dtype, name="embedding"
        )
        self.vector_embedding = VectorDense(
            hidden_dim, dtype=dtype, name="vector_embedding"
        )
        self.blocks = [
            SE3TransformerBlock(
                num_degrees,
                hidden_dim,
                num_heads,
                radial_dim,
                dtype=dtype,
                name=f"block_{i}",
            )
            for i in range(num_layers)
        ]
        self.output_dense = IrrepDense(hidden_dim, dtype=dtype, name="output")
        self.head = keras.layers.Dense(
            hidden_dim,
            kernel_initializer=keras.initializers.VarianceScaling(1e-2),
            dtype=dtype,
            name="head",
        )

    def build_layers(self, num_vectors: int, num_scalars: int) -> None:
        shape = (None, None, self.num_degrees**2, self.hidden_dim)
        self.embedding.build((None, None, num_scalars))
        self.vector_embedding.build((None, None, 3, num_vectors))
        for block in self.blocks:
            block.build(shape)
        self.output_dense.build(shape)
        self.head.build((None, None, self.hidden_dim))

    # --- Forward pass ---

    def displacement(
        self,
        vectors: list[Array],
        scalars: Array,
        mask: Array | None,
        training: bool | None,
    ) -> Array:
        s = self.embedding(scalars)[:, :, None]  # (B, N, 1, C)
        v = self.vector_embedding(ops.stack(vectors, axis=-1))  # (B, N, 3, C)
        higher = self.num_degrees**2 - 4
        f = ops.pad(
            ops.concatenate([s, v], axis=2),
            [(0, 0), (0, 0), (0, higher), (0, 0)],
        )
        geometry = self._geometry(vectors[0], mask, f.dtype)
        for block in self.blocks:
            f = block(f, *geometry)  # (B, N, L^2, C)
        f = self.output_dense(f)
        weights = self.head(f[:, :, 0])[:, :, None]
        return ops.sum(weights * f[:, :, 1:4], axis=-1)  # (B, N, 3)

    def _geometry(self, x, mask, dtype):
        """Kernels, distances and neighbors, the same in all blocks."""
        n, degrees = ops.shape(x)[1], self.num_degrees
        x = widened(x)  # derivatives at r = 0 overflow float16
        r = -displacements(x)[0]  # (B, N, N, 3), from i to j
        distance = lengths(r, 1e-6)
        y = spherical_harmonics(2 * degrees - 2, r / distance)
        y, distance = ops.cast(y, dtype), ops.cast(distance, dtype)
        kernels = []
        for k in range(degrees):
            table = kernel_basis(degrees, k)
            shape, table = table.shape, table.reshape(len(table), -1)
            kernel = exact_product(y, ops.convert_to_tensor(table, dtype))
            kernels.append(ops.reshape(kernel, (-1, n, n, *shape[1:])))
        pairs = (1.0 - ops.eye(n, dtype=dtype))[None]  # no node its neighbor
        if mask is not None:
            pairs = pairs * ops.cast(mask[:, None, :], dtype)
        pairs = pairs + ops.zeros_like(distance[..., 0])
        return kernels, distance, pairs[..., None]

    # --- Config ---

    def get_config(self) -> Config:
        return {
            **super().get_config(),
            "num_layers": self.num_layers,
            "num_degrees": self.num_degrees,
            "hidden_dim": self.hidden_dim,
            "num_heads": self.num_heads,
            "radial_dim": self.radial_dim,
        }
