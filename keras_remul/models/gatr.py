"""The geometric algebra transformer."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_remul.layers.exact import exact_product
from keras_remul.layers.gatr_block import GATrBlock
from keras_remul.layers.geometric_algebra import POINT_ROWS, POINT_SIGNS
from keras_remul.layers.multivector import (
    MultivectorDense,
    MultivectorNormalization,
)
from keras_remul.models.equivariant import EquivariantModel
from keras_remul.utils.arguments import check_multiples, checked
from keras_remul.utils.typing import Array, Config


@keras.saving.register_keras_serializable(package="keras_remul")
class GATr(EquivariantModel):
    """Geometric algebra transformer, exactly equivariant to E(3).

    `x, s = Blocks(L [points, velocities], Dense(scalars))`
    `y = x + s_0 v + sum_c Dense(Norm(s))_c (p_c - w_c x)`

    Positions are points, trivectors e123 + x; velocities are translations
    1 + e0 v, points at infinity, and planes through the node with the normal
    v. The last layer reads trivectors, with weights w_c and moments p_c; the
    difference p_c - w_c x is a vector that does not depend on the origin. Masks
    and dtypes as in `Transformer`.

    Args:
        num_layers: number of blocks.
        hidden_dim: scalars per node.
        multivector_dim: multivectors per node, half of each parity (see
            `layers.GATrBlock`).
        num_heads: a divisor of `hidden_dim` and of half of `multivector_dim`.
        mlp_ratio: hidden scalars of each MLP as a multiple of `hidden_dim`.
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
        >>> model = GATr(num_layers=2)
        >>> x = {"positions": keras.random.normal((8, 5, 3)),
        ...      "velocities": keras.random.normal((8, 5, 3))}
        >>> model(x).shape
        (8, 5, 3)

    Reference:
        Brehmer et al., "Geometric Algebra Transformer", arXiv 2305.18415.
    """

    # "nbody_gravity" is that of arXiv 2305.18415.
    variants = {
        "nbody_gravity": dict(
            num_layers=10, hidden_dim=128, multivector_dim=16, num_heads=8
        )
    }

    # --- Layers ---

    @checked()
    def __init__(
        self,
        num_layers: int = 4,
        hidden_dim: int = 48,
        multivector_dim: int = 16,
        num_heads: int = 4,
        mlp_ratio: int = 2,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_multiples("num_heads", num_heads, hidden_dim=hidden_dim)
        check_multiples(
            "2 * num_heads", 2 * num_heads, multivector_dim=multivector_dim
        )
        self.num_layers = num_layers
        self.hidden_dim = hidden_dim
        self.multivector_dim = multivector_dim
        self.num_heads = num_heads
        self.mlp_ratio = mlp_ratio
        dtype = self.dtype_policy
        self.embedding = keras.layers.Dense(
            hidden_dim, dtype=dtype, name="embedding"
        )
        self.multivector_embedding = MultivectorDense(
            multivector_dim // 2, dtype=dtype, name="multivector_embedding"
        )
        self.blocks = [
            GATrBlock(
                hidden_dim,
                multivector_dim,
                num_heads,
                mlp_ratio,
                dtype=dtype,
                name=f"block_{i}",
            )
            for i in range(num_layers)
        ]
        self.norm = keras.layers.LayerNormalization(
            epsilon=1e-5, dtype=dtype, name="norm"
        )
        self.multivector_norm = MultivectorNormalization(
            dtype=dtype, name="multivector_norm"
        )
        self.head = keras.layers.Dense(
            multivector_dim // 2,
            kernel_initializer=keras.initializers.VarianceScaling(1e-2),
            dtype=dtype,
            name="head",
        )

    def build_layers(self, num_vectors: int, num_scalars: int) -> None:
        scalars = (None, None, self.hidden_dim)
        multivectors = (8, 2, None, None, self.multivector_dim)
        self.embedding.build((None, None, num_scalars))
        self.multivector_embedding.build((8, 2, None, None, 2 * num_vectors))
        for block in self.blocks:
            block.build(multivectors, scalars)
        self.norm.build(scalars)
        self.multivector_norm.build(multivectors)
        self.head.build(scalars)

    # --- Forward pass ---

    def displacement(
        self,
        vectors: list[Array],
        scalars: Array,
        mask: Array | None,
        training: bool | None,
    ) -> Array:
        s = self.embedding(scalars)  # (B, N, S)
        x = self.multivector_embedding(embed(*vectors))  # (8, 2, B, N, 2 C)
        for block in self.blocks:
            x, s = block(x, s, mask=mask)
        # Trivectors of parity 1, those of points.
        x = self.multivector_norm(x)[:, 1]  # (8, B, N, 2 C)
        weights = self.head(self.norm(s))  # (B, N, C)
        dtype = vectors[0].dtype
        x, weights = ops.cast(x, dtype), ops.cast(weights, dtype)
        a, b = ops.split(x, 2, axis=-1)
        weight = ops.sum(weights * a[7], axis=-1, keepdims=True)
        moment = ops.stack(
            [
                sign * ops.sum(weights * b[row], axis=-1)
                for row, sign in zip(POINT_ROWS, POINT_SIGNS, strict=True)
            ],
            axis=-1,
        )
        return moment - weight * vectors[0]  # (B, N, 3)

    # --- Config ---

    def get_config(self) -> Config:
        return {
            **super().get_config(),
            "num_layers": self.num_layers,
            "hidden_dim": self.hidden_dim,
            "multivector_dim": self.multivector_dim,
            "num_heads": self.num_heads,
            "mlp_ratio": self.mlp_ratio,
        }


def embed(positions, velocities=None):
    """Points, and translations, directions and planes, as multivectors.

    Args:
        positions: `(B, N, 3)`.
        velocities: `(B, N, 3)`, or None.

    Returns:
        `(8, 2, B, N, 2 C)` with C = 2, or 1 without velocities. Parity 0: the
        translation 1 + e0 v, and the plane with the normal v through x.
        Parity 1: the point e123 + x, and the point at infinity v.
    """
    columns = [ops.ones_like(positions[..., :1]), positions]
    channels = 1
    if velocities is not None:
        product = ops.sum(positions * velocities, axis=-1, keepdims=True)
        columns += [velocities, product]
        channels = 2
    table = _embedding_table()[: 4 * channels]
    table = table[..., :channels].reshape(4 * channels, -1)
    x = exact_product(
        ops.concatenate(columns, axis=-1),
        ops.convert_to_tensor(table, positions.dtype),
    )
    n = ops.shape(positions)[1]
    x = ops.reshape(x, (-1, n, 8, 2, 2 * channels))
    return ops.transpose(x, (2, 3, 0, 1, 4))


def _embedding_table():
    """From 1, x, v, x . v to `(component, parity, half, channel)`."""
    table = np.zeros((8, 8, 2, 2, 2), "float32")
    table[0, 0, 0, 0, 0] = 1.0  # 1, of the translation
    table[0, 7, 1, 0, 0] = 1.0  # e123, of the point
    table[7, 0, 0, 1, 1] = 1.0  # distance of the plane from the origin
    for i, (row, sign) in enumerate(zip(POINT_ROWS, POINT_SIGNS, strict=True)):
        table[1 + i, row, 1, 1, 0] = sign
        table[4 + i, 1 << i, 0, 1, 0] = 1.0
        table[4 + i, 1 << i, 0, 0, 1] = 1.0
        table[4 + i, row, 1, 1, 1] = sign
    return table
