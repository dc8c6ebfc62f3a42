"""Transformer over the constituents of a jet, with features of pairs."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from keras_remul.layers import TransformerBlock
from keras_remul.layers.plain import apply, norm
from keras_remul.models.jets import kinematics
from keras_remul.models.jets.base import JetModel, masked_mean
from keras_remul.utils.arguments import RATE, at_least, check_multiples, checked
from keras_remul.utils.typing import Array, Config, Shape

INVARIANCES = (None, "beam", "lorentz")
MASS = (4.6, 2.0)  # shift and scale of ln m of the jet, m in GeV
# The same for the head: half of the jets of tops lie within 10 % of one mass.
SHARP = (5.0, 4.0)
PAIRS = ((-2.0, 0.5), (0.0, 0.5), (-2.0, 0.5), (0.0, 0.3))


@keras.saving.register_keras_serializable(package="keras_remul")
class JetTransformer(JetModel):
    """Logits of jets by attention that is biased by features of pairs.

    `h = Blocks(Dense(features), Dense(gelu(Dense(pairs))))`
    `y = Dense(Norm(mean(h)))`, or with `head_dim`
    `y = Dense(gelu(Dense([Norm(mean(h)), ln m])))`

    Constituents are seen by ln pT, ln E, the logarithms of their shares of the
    pT and E of the jet, their distances from it in rapidity and azimuth, and
    ln m of the jet; pairs by ln Delta R, ln kT, ln z and ln m^2. All are made
    of four-momenta, scaled and clipped. Invariant to permutations (of all that
    are nodes) and to rotations about the beam z.

    Args:
        num_layers: number of blocks.
        hidden_dim: C, the width of the blocks.
        num_heads: K, a divisor of `hidden_dim`.
        mlp_ratio: width of each MLP as a multiple of `hidden_dim`.
        dropout: rate in training, see `layers.TransformerBlock`.
        pair_dim: width of the hidden layer for pairs; 0 for plain attention.
        invariance: `"beam"`: energies are left out, so that boosts along the
            beam change nothing either; `"lorentz"`: only Minkowski products of
            constituents and jet are seen, which no element of the Lorentz
            group changes. Defaults to None. Only then there may be spurions.
        units: number of logits.
        head_dim: width of a hidden layer before the logits, which sees ln m of
            the jet as well; 0 for none.
        constituents: how many of the constituents, the first ones, are nodes;
            the four-momentum of the jet is that of all. The cost grows with
            the square. Defaults to None: all.
        **kwargs: `name` and `dtype`, for `keras.Model`.

    Call arguments:
        inputs: dict of `"four_momenta"` `(B, N, 4)`, (E, px, py, pz) in GeV;
            optional `"mask"` `(B, N)`, true or 1 where a constituent is valid;
            by default where E > 0; optional `"spurions"` `(B, S, 4)`, further
            four-vectors that constituents attend to, but no part of the jet,
            see `with_beam_spurions`.
        training: whether dropout is applied.

    Returns:
        Logits `(B, units)`.

    Raises:
        ValueError: a key is missing or unknown, or a shape is another one.

    Example:
        >>> model = JetTransformer(num_layers=1)
        >>> model({"four_momenta": keras.ops.ones((8, 20, 4))}).shape
        (8, 1)

    Reference:
        Qu, Li and Qian, "Particle transformer for jet tagging",
        arXiv 2202.03772; for the products, Gong et al., LorentzNet,
        arXiv 2201.08187.
    """

    @checked(dropout=RATE, pair_dim=at_least(0), head_dim=at_least(0))
    def __init__(
        self,
        num_layers: int = 3,
        hidden_dim: int = 32,
        num_heads: int = 4,
        mlp_ratio: int = 2,
        dropout: float = 0.0,
        pair_dim: int = 16,
        invariance: str | None = None,
        units: int = 1,
        head_dim: int = 0,
        constituents: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(units, **kwargs)
        if invariance not in INVARIANCES:
            raise ValueError(
                f"Argument `invariance` must be one of {INVARIANCES}. "
                f"Received: invariance={invariance!r}"
            )
        check_multiples("num_heads", num_heads, hidden_dim=hidden_dim)
        self.num_layers = num_layers
        self.hidden_dim = hidden_dim
        self.num_heads = num_heads
        self.mlp_ratio = mlp_ratio
        self.dropout = dropout
        self.pair_dim = pair_dim
        self.invariance = invariance
        self.head_dim = head_dim
        self.constituents = constituents
        dtype = self.dtype_policy
        self.embedding = keras.layers.Dense(
            hidden_dim, dtype=dtype, name="embedding"
        )
        if pair_dim:
            self.pair_hidden = keras.layers.Dense(
                pair_dim, "gelu", dtype=dtype, name="pair_hidden"
            )
            self.pair_bias = keras.layers.Dense(
                num_layers * num_heads, dtype=dtype, name="pair_bias"
            )
        self.blocks = [
            TransformerBlock(
                hidden_dim,
                num_heads,
                mlp_ratio,
                dropout,
                dtype=dtype,
                name=f"block_{i}",
            )
            for i in range(num_layers)
        ]
        self.norm = keras.layers.LayerNormalization(
            epsilon=1e-5, dtype=dtype, name="norm"
        )
        if head_dim:
            self.head_hidden = keras.layers.Dense(
                head_dim, "gelu", dtype=dtype, name="head_hidden"
            )
        self.head = keras.layers.Dense(units, dtype=dtype, name="head")

    @property
    def optional_keys(self) -> dict[str, int]:
        keys = super().optional_keys
        return keys | {"spurions": 3} if self.invariance == "lorentz" else keys

    def build(self, input_shape: dict[str, Shape]) -> None:
        super().build(input_shape)
        width = {None: 8, "beam": 6, "lorentz": 3}[self.invariance]
        self.embedding.build((None, None, width))
        if self.pair_dim:
            width = 2 if self.invariance == "lorentz" else 4
            self.pair_hidden.build((None, None, None, width))
            self.pair_bias.build((None, None, None, self.pair_dim))
        for block in self.blocks:
            block.build((None, None, self.hidden_dim))
        self.norm.build((None, self.hidden_dim))
        if self.head_dim:
            self.head_hidden.build((None, self.hidden_dim + 1))
        self.head.build((None, self.head_dim or self.hidden_dim))

    def call(
        self, inputs: dict[str, Array], training: bool | None = None
    ) -> Array:
        p, valid, jet = self.read(inputs)
        mass = kinematics.jet_square_mass(p, valid, jet)
        log_mass = 0.5 * kinematics.log(mass)  # (B, 1)
        p, valid = p[:, : self.constituents], valid[:, : self.constituents]
        mask, nodes = valid, ops.shape(p)[1]
        if "spurions" in inputs:
            more = ops.cast(inputs["spurions"], p.dtype)
            p = ops.concatenate([p, more], axis=1)
            there = ops.ones(ops.shape(more)[:2], "bool")
            mask = ops.concatenate([mask, there], axis=1)
        h = self.embedding(self._features(p, jet, log_mass))
        biases = self._biases(p, jet)
        for block, bias in zip(self.blocks, biases, strict=True):
            h = apply(
                block,
                TransformerBlock,
                h,
                mask=mask,
                bias=bias,
                training=training,
            )
        h = norm(self.norm, masked_mean(h[:, :nodes], valid))
        if self.head_dim:
            mass = kinematics.scaled([log_mass], [SHARP])[:, 0]
            h = ops.concatenate([h, ops.cast(mass, h.dtype)], axis=-1)
            h = self.head_hidden(h)
        return ops.cast(self.head(h), jet.dtype)

    def _features(self, p, jet, log_mass):
        log_mass = log_mass + ops.zeros_like(p[..., 0])
        if self.invariance == "lorentz":
            # The energy in the rest frame of the jet, and its share.
            along = kinematics.log(kinematics.product(p, jet))
            rest = along - log_mass
            scales = ((0.0, 0.5), (-4.0, 0.5), MASS)
            columns = [rest, rest - log_mass, log_mass]
            return kinematics.scaled(columns, scales)
        polar = kinematics.rapidity(p) - kinematics.rapidity(jet)
        x = kinematics.kinematics(p, jet, polar)
        if self.invariance == "beam":
            x = ops.concatenate([x[..., :1], x[..., 2:3], x[..., 4:]], -1)
        mass = kinematics.scaled([log_mass], [MASS])
        return ops.concatenate([x, mass], axis=-1)

    def _biases(self, p, jet):
        if not self.pair_dim:
            return [None] * self.num_layers
        biases = self.pair_bias(self.pair_hidden(self._pairs(p, jet)))
        biases = ops.transpose(biases, (0, 3, 1, 2))
        return ops.split(biases, self.num_layers, axis=1)

    def _pairs(self, p, jet):
        """Features of pairs `(B, N, N, F)`."""
        log_mass = kinematics.log(kinematics.square_masses(p))
        if self.invariance == "lorentz":
            along = kinematics.log(kinematics.product(p, jet))
            rest = along[:, :, None] + along[:, None]
            rest = rest - kinematics.log(kinematics.square_mass(jet))[:, None]
            product = kinematics.product(p[:, :, None], p[:, None])
            angle = kinematics.log(product) - rest
            return kinematics.scaled([log_mass, angle], [PAIRS[3], (-2.0, 0.5)])
        away = 0.5 * kinematics.log(kinematics.square_distances(p))
        low, share = kinematics.softer(p)
        return kinematics.scaled(
            [away, kinematics.log(low) + away, kinematics.log(share), log_mass],
            PAIRS,
        )

    def get_config(self) -> Config:
        return {
            **super().get_config(),
            "num_layers": self.num_layers,
            "hidden_dim": self.hidden_dim,
            "num_heads": self.num_heads,
            "mlp_ratio": self.mlp_ratio,
            "dropout": self.dropout,
            "pair_dim": self.pair_dim,
            "invariance": self.invariance,
            "head_dim": self.head_dim,
            "constituents": self.constituents,
        }
