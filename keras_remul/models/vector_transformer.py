"""Transformer on scalars and vectors: the lean strictly equivariant model."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from keras_remul.graphs import displacements
from keras_remul.layers.exact import VectorDense
from keras_remul.layers.pair_bias import PairBias
from keras_remul.layers.radial import RadialBasis, log_envelope
from keras_remul.layers.vector_block import (
    VectorNormalization,
    VectorTransformerBlock,
)
from keras_remul.models.equivariant import EquivariantModel
from keras_remul.models.writing import READOUTS
from keras_remul.utils.arguments import (
    POSITIVE,
    at_least,
    check_multiples,
    checked,
)
from keras_remul.utils.typing import Array, Config


@keras.saving.register_keras_serializable(package="keras_remul")
class VectorTransformer(EquivariantModel):
    """E(3)-equivariant transformer with scalar and vector channels only.

    `s, v = Blocks(Dense(scalars), W [x - mean(x), v])`
    `y = x + s_0 v + sum_c Dense(Norm(s))_c Norm(v)_c`, or scalars of the nodes
    `y = Dense([Norm(s), |Norm(v)|^2])`

    Exactly equivariant to translations (the mean is subtracted), to rotations
    and reflections (maps of vectors have no bias, and scalars depend on vectors
    only through scalar products), and to permutations of the nodes. It costs
    about two and a half times as much as an unconstrained transformer of the
    same size. Compare approximately equivariant models with it. Masks and
    dtypes as in `Transformer`.

    All nodes attend to all, with or without a cut-off: the output is smooth
    wherever the nodes are, and the cost grows with N^2. Positions are relative
    to the mean, so that a sample is one molecule, without a periodic cell.

    Args:
        num_layers: number of blocks.
        hidden_dim: C, scalars per node.
        vector_dim: V, vectors per node.
        num_heads: K, a divisor of `hidden_dim` and of `vector_dim`.
        mlp_ratio: hidden width of each MLP as a multiple of both widths.
        cutoff: c, in the units of the positions: attention sees Gaussians of
            the distances, see `layers.PairBias`, and falls smoothly to 0 at c.
            A `Potential` needs it, as scalar products of positions hardly tell
            bonds. Defaults to None: none.
        num_basis: number of Gaussians, with a `cutoff`.
        readout: `"positions"`; or `"nodes"`, invariants of each node, as a
            `Potential` needs them; or `"graph"`, invariants of the sample, each
            the sum over its nodes.
        units: number of invariants, where the readout is not `"positions"`.
        **kwargs: other arguments of `NodeModel`, `name` and `dtype`.

    Call arguments:
        inputs: dict of `"positions"` `(B, N, 3)`; optional `"velocities"`
            `(B, N, 3)`; optional `"mask"` `(B, N)`; each other key is an
            invariant feature of the nodes `(B, N, F)`.

    Returns:
        Positions `(B, N, 3)`, or invariants `(B, N, units)` or `(B, units)`.
        Those of padded nodes are finite numbers without meaning.

    Raises:
        ValueError: a key is missing or unknown, or an axis has another length.

    Example:
        >>> model = VectorTransformer(num_layers=2)
        >>> x = {"positions": keras.random.normal((8, 5, 3)),
        ...      "velocities": keras.random.normal((8, 5, 3))}
        >>> model(x).shape
        (8, 5, 3)

    Reference:
        In the manner of the slim Lorentz-equivariant transformer of
        arXiv 2512.17011, for Euclidean vectors.
    """

    readouts = READOUTS

    # --- Layers ---

    @checked(cutoff=POSITIVE, num_basis=at_least(2))
    def __init__(
        self,
        num_layers: int = 4,
        hidden_dim: int = 64,
        vector_dim: int = 16,
        num_heads: int = 4,
        mlp_ratio: int = 2,
        cutoff: float | None = None,
        num_basis: int = 32,
        readout: str = "positions",
        units: int = 1,
        **kwargs: Any,
    ) -> None:
        super().__init__(readout=readout, units=units, **kwargs)
        check_multiples(
            "num_heads", num_heads, hidden_dim=hidden_dim, vector_dim=vector_dim
        )
        self.num_layers = num_layers
        self.hidden_dim = hidden_dim
        self.vector_dim = vector_dim
        self.num_heads = num_heads
        self.mlp_ratio = mlp_ratio
        self.cutoff = None if cutoff is None else float(cutoff)
        self.num_basis = num_basis
        dtype = self.dtype_policy
        self.embedding = keras.layers.Dense(
            hidden_dim, dtype=dtype, name="embedding"
        )
        self.vector_embedding = VectorDense(
            vector_dim, dtype=dtype, name="vector_embedding"
        )
        self.blocks = [
            VectorTransformerBlock(
                hidden_dim,
                vector_dim,
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
        self.vector_norm = VectorNormalization(dtype=dtype, name="vector_norm")
        if cutoff is not None:
            self.basis = RadialBasis(
                num_basis, cutoff, dtype=dtype, name="basis"
            )
            self.bias = PairBias(
                num_layers, num_heads, hidden_dim, dtype=dtype, name="pair_bias"
            )
        if readout == "positions":
            self.head = keras.layers.Dense(
                vector_dim,
                kernel_initializer=keras.initializers.VarianceScaling(1e-2),
                dtype=dtype,
                name="head",
            )

    def build_layers(self, num_vectors: int, num_scalars: int) -> None:
        scalars = (None, None, self.hidden_dim)
        vectors = (None, None, 3, self.vector_dim)
        self.embedding.build((None, None, num_scalars))
        self.vector_embedding.build((None, None, 3, num_vectors))
        for block in self.blocks:
            block.build(scalars, vectors)
        if self.cutoff is not None:
            self.bias.build((None, None, None, 1 + self.num_basis))
        self.norm.build(scalars)
        self.vector_norm.build(vectors)
        if self.readout == "positions":
            self.head.build(scalars)
        else:
            self.build_readout(self.hidden_dim + self.vector_dim)

    # --- Forward pass ---

    def displacement(
        self,
        vectors: list[Array],
        scalars: Array,
        mask: Array | None,
        training: bool | None,
    ) -> Array:
        s, v = self._channels(vectors, scalars, mask)
        return ops.sum(self.head(s)[:, :, None, :] * v, axis=-1)  # (B, N, 3)

    def invariants(
        self,
        vectors: list[Array],
        scalars: Array,
        mask: Array | None,
        training: bool | None,
    ) -> Array:
        s, v = self._channels(vectors, scalars, mask)
        return ops.concatenate([s, ops.sum(ops.square(v), axis=-2)], axis=-1)

    def _channels(self, vectors, scalars, mask):
        """Scalars `(B, N, C)` and vectors `(B, N, 3, V)`, normalised."""
        s = self.embedding(scalars)
        v = self.vector_embedding(ops.stack(vectors, axis=-1))
        biases = self._biases(vectors[0])
        for block, bias in zip(self.blocks, biases, strict=True):
            s, v = block(s, v, mask=mask, bias=bias)
        return self.norm(s), self.vector_norm(v)

    def _biases(self, positions):
        """Of the logits, for each block: `(B, K, N, N)` or None."""
        if self.cutoff is None:
            return [None] * self.num_layers
        square = displacements(positions)[1]
        distances = self.length_unit * ops.sqrt(square + 1e-12)
        pairs = ops.concatenate([square, self.basis(distances)], axis=-1)
        weights = log_envelope(square[..., 0], self.cutoff / self.length_unit)
        return [ops.add(b, weights[:, None]) for b in self.bias(pairs)]

    # --- Config ---

    def get_config(self) -> Config:
        return {
            **super().get_config(),
            "num_layers": self.num_layers,
            "hidden_dim": self.hidden_dim,
            "vector_dim": self.vector_dim,
            "num_heads": self.num_heads,
            "mlp_ratio": self.mlp_ratio,
            "cutoff": self.cutoff,
            "num_basis": self.num_basis,
        }
