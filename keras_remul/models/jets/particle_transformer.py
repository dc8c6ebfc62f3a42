"""Particle Transformer (ParT): attention with learned features of pairs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_remul.layers.normformer_block import NormFormerBlock
from keras_remul.layers.plain import apply, norm
from keras_remul.models.jets import kinematics
from keras_remul.models.jets.base import JetModel
from keras_remul.utils.arguments import RATE, check_multiples, checked
from keras_remul.utils.typing import Array, Config, Shape

LEAST = math.log(1e-8)  # of the logarithms of pairs


@keras.saving.register_keras_serializable(package="keras_remul")
class ParticleTransformer(JetModel):
    """Logits of jets by attention of constituents, and of a class token.

    `h = Blocks(MLP(features), bias=MLP(pairs))`
    `y = Dense(Norm(ClassBlocks(token, h)))`

    The features of a constituent are those of `ParticleNet`; those of a pair
    are ln kT, ln z, ln Delta R and ln m^2. The MLP of pairs makes a bias for
    each head, the same for all blocks. The features are those of the public
    weights `ParT_kin`, trained on JetClass; `keras-remul convert part` reads
    them.

    Invariant by construction to permutations of the constituents and to
    rotations about the beam.

    Args:
        embed_dims: widths of the MLP of constituents; the last one is C.
        pair_dims: widths of the hidden layers of the MLP of pairs.
        num_layers: number of blocks of constituents.
        num_class_layers: number of blocks of the class token.
        num_heads: K, a divisor of C.
        mlp_ratio: width of the MLP of each block as a multiple of C.
        dropout: rate in the blocks of constituents, in training.
        units: number of logits.
        **kwargs: `name` and `dtype`, for `keras.Model`.

    Call arguments:
        inputs: dict of `"four_momenta"` `(B, N, 4)`, (E, px, py, pz) in GeV;
            optional `"mask"` `(B, N)`, true or 1 where a constituent is valid;
            by default where E > 0.
        training: whether dropout is applied, and batch norms use the
            statistics of the batch.

    Returns:
        Logits `(B, units)`.

    Raises:
        ValueError: a key is missing or unknown, or a shape is another one.

    Example:
        >>> model = ParticleTransformer([16], [8], num_layers=1, num_heads=2)
        >>> model({"four_momenta": keras.ops.ones((8, 20, 4))}).shape
        (8, 1)

    Reference:
        Qu, Li and Qian, "Particle transformer for jet tagging",
        arXiv 2202.03772.
    """

    variants = {"jetclass": dict(units=10)}

    @checked(dropout=RATE)
    def __init__(
        self,
        embed_dims: Sequence[int] = (128, 512, 128),
        pair_dims: Sequence[int] = (64, 64, 64),
        num_layers: int = 8,
        num_class_layers: int = 2,
        num_heads: int = 8,
        mlp_ratio: int = 4,
        dropout: float = 0.1,
        units: int = 1,
        **kwargs: Any,
    ) -> None:
        super().__init__(units, **kwargs)
        if not embed_dims:
            raise ValueError(
                "Argument `embed_dims` must hold one width or more. Received: "
                f"embed_dims={embed_dims!r}"
            )
        check_multiples(
            "num_heads", num_heads, **{"embed_dims[-1]": embed_dims[-1]}
        )
        self.embed_dims = list(embed_dims)
        self.pair_dims = list(pair_dims)
        self.num_layers = num_layers
        self.num_class_layers = num_class_layers
        self.num_heads = num_heads
        self.mlp_ratio = mlp_ratio
        self.dropout = dropout
        self.norm = self._batch_norm("norm")
        self.embed_norms = [
            self._layer_norm(f"embed_norm_{i}")
            for i, _ in enumerate(self.embed_dims)
        ]
        self.embed_denses = [
            self._dense(width, f"embed_{i}", "gelu")
            for i, width in enumerate(self.embed_dims)
        ]
        widths = [*self.pair_dims, num_heads]
        self.pair_norm = self._batch_norm("pair_norm")
        self.pair_denses = [
            self._dense(width, f"pair_{i}") for i, width in enumerate(widths)
        ]
        self.pair_norms = [
            self._batch_norm(f"pair_norm_{i}") for i, _ in enumerate(widths)
        ]
        self.blocks = [
            self._block(f"block_{i}", dropout) for i in range(num_layers)
        ]
        self.class_blocks = [
            self._block(f"class_block_{i}") for i in range(num_class_layers)
        ]
        self.class_norm = self._layer_norm("class_norm")
        self.head = self._dense(units, "head")

    def _dense(self, width, name, activation=None):
        return keras.layers.Dense(
            width, activation, dtype=self.dtype_policy, name=name
        )

    def _batch_norm(self, name):
        return keras.layers.BatchNormalization(
            momentum=0.9, epsilon=1e-5, dtype=self.dtype_policy, name=name
        )

    def _layer_norm(self, name):
        return keras.layers.LayerNormalization(
            epsilon=1e-5, dtype=self.dtype_policy, name=name
        )

    def _block(self, name, dropout=0.0):
        return NormFormerBlock(
            self.embed_dims[-1],
            self.num_heads,
            self.mlp_ratio,
            dropout,
            dtype=self.dtype_policy,
            name=name,
        )

    def build(self, input_shape: dict[str, Shape]) -> None:
        super().build(input_shape)
        width = len(kinematics.KINEMATICS)
        self.norm.build((None, None, width))
        for layer, dense in zip(
            self.embed_norms, self.embed_denses, strict=True
        ):
            layer.build((None, None, width))
            dense.build((None, None, width))
            width = dense.units
        for block in [*self.blocks, *self.class_blocks]:
            block.build((None, None, width))
        self.class_norm.build((None, width))
        self.head.build((None, width))
        self.token = self.add_weight(
            shape=(1, 1, width),
            initializer=keras.initializers.TruncatedNormal(stddev=0.02),
            name="token",
        )
        width = 4
        self.pair_norm.build((None, None, None, width))
        for dense, layer in zip(self.pair_denses, self.pair_norms, strict=True):
            dense.build((None, None, None, width))
            width = dense.units
            layer.build((None, None, None, width))

    def call(
        self, inputs: dict[str, Array], training: bool | None = None
    ) -> Array:
        y = self.head(self.embed(inputs, training))
        return ops.cast(y, self.dtype_of_momenta)

    def embed(
        self, inputs: dict[str, Array], training: bool | None = None
    ) -> Array:
        """The features of each jet before the last layer.

        Args:
            inputs: as of the model.
            training: whether dropout is applied, and batch norms use the
                statistics of the batch.

        Returns:
            Array `(B, C)`.
        """
        p, mask, jet = self.read(inputs)
        h = self._constituents(p, mask, jet, training)
        bias = self._biases(p, mask, training)
        for block in self.blocks:
            h = apply(
                block,
                NormFormerBlock,
                h,
                mask=mask,
                bias=bias,
                training=training,
            )
        token = ops.cast(ops.convert_to_tensor(self.token), h.dtype)
        token = ops.broadcast_to(token, (ops.shape(h)[0], *token.shape[1:]))
        for block in self.class_blocks:
            token = apply(
                block,
                NormFormerBlock,
                h,
                mask=mask,
                token=token,
                training=training,
            )
        return norm(self.class_norm, token[:, 0])

    def _constituents(self, p, mask, jet, training):
        """What the first block is given, `(B, N, C)`."""
        polar = kinematics.polar_from(p, jet)
        h = kinematics.kinematics(p, jet, polar)
        h = self.norm(h, training=training, mask=mask)
        for layer, dense in zip(
            self.embed_norms, self.embed_denses, strict=True
        ):
            h = dense(norm(layer, h))
        return ops.where(mask[..., None], h, 0.0)

    def _biases(self, p, mask, training):
        """Biases of the attention logits `(B, K, N, N)`."""
        # A batch norm counts each pair once.
        nodes = ops.arange(ops.shape(p)[1])
        valid = ops.logical_and(mask[:, :, None], mask[:, None])
        valid = ops.logical_and(valid, nodes[:, None] >= nodes[None])
        h = self.pair_norm(pair_features(p), training=training, mask=valid)
        for dense, layer in zip(self.pair_denses, self.pair_norms, strict=True):
            h = layer(dense(h), training=training, mask=valid)
            h = ops.gelu(h, False)
        return ops.transpose(h, (0, 3, 1, 2))

    def get_config(self) -> Config:
        return {
            **super().get_config(),
            "embed_dims": self.embed_dims,
            "pair_dims": self.pair_dims,
            "num_layers": self.num_layers,
            "num_class_layers": self.num_class_layers,
            "num_heads": self.num_heads,
            "mlp_ratio": self.mlp_ratio,
            "dropout": self.dropout,
        }


def pair_features(p):
    """ln kT, ln z, ln Delta R and ln m^2 of pairs, the arguments >= 1e-8.

    Args:
        p: four-momenta `(B, N, 4)`, padding `kinematics.filled`.

    Returns:
        Array `(B, N, N, 4)`.
    """
    # Of the square, smaller than the bounds: its root has no slope at 0.
    away = ops.maximum(kinematics.square_distances(p), 1e-30)
    away = 0.5 * ops.log(away)
    low, share = kinematics.softer(p)
    return ops.stack(
        [
            ops.maximum(kinematics.log(low) + away, LEAST),
            kinematics.log(share),
            ops.maximum(away, LEAST),
            kinematics.log(kinematics.square_masses(p)),
        ],
        axis=-1,
    )
