"""ParticleNet: a dynamic graph network over the constituents of a jet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_remul.layers.edge_conv import EdgeConv
from keras_remul.models.jets import kinematics
from keras_remul.models.jets.base import JetModel, masked_mean
from keras_remul.utils.arguments import RATE, checked
from keras_remul.utils.typing import Array, Config, Shape


@keras.saving.register_keras_serializable(package="keras_remul")
class ParticleNet(JetModel):
    """Logits of jets by convolutions over nearest constituents.

    `h <- EdgeConv(h)` for each width, then `Dense(relu(Dense(mean(h))))`

    The features of a constituent are ln pT and ln E, the logarithms of its
    shares of the pT and E of the jet, and its distances from the jet: Delta R,
    Delta eta (signed so that the jet flies to positive eta) and Delta phi. The
    first neighbors are nearest in eta and phi, those of the others in the
    features of the layer before. The features are those of the public weights
    that were trained on JetClass; `keras-remul convert particlenet` reads them.

    Invariant by construction to permutations of the constituents and to
    rotations about the beam.

    Args:
        widths: width of each `layers.EdgeConv`.
        neighbors: k, the number of neighbors.
        hidden_dim: width of the hidden layer behind the mean.
        dropout: rate behind that layer, in training.
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
        >>> model = ParticleNet(widths=[16, 32], neighbors=4)
        >>> model({"four_momenta": keras.ops.ones((8, 20, 4))}).shape
        (8, 1)

    Reference:
        Qu and Gouskos, "ParticleNet: jet tagging via particle clouds",
        arXiv 1902.08570; the weights: Qu, Li and Qian, arXiv 2202.03772.
    """

    variants = {"jetclass": dict(units=10)}

    @checked(dropout=RATE)
    def __init__(
        self,
        widths: Sequence[int] = (64, 128, 256),
        neighbors: int = 16,
        hidden_dim: int = 256,
        dropout: float = 0.1,
        units: int = 1,
        **kwargs: Any,
    ) -> None:
        super().__init__(units, **kwargs)
        self.widths = list(widths)
        self.neighbors = neighbors
        self.hidden_dim = hidden_dim
        self.dropout = dropout
        dtype = self.dtype_policy
        self.norm = keras.layers.BatchNormalization(
            momentum=0.9, epsilon=1e-5, dtype=dtype, name="norm"
        )
        self.blocks = [
            EdgeConv(width, neighbors, dtype=dtype, name=f"block_{i}")
            for i, width in enumerate(self.widths)
        ]
        self.hidden = keras.layers.Dense(
            hidden_dim, "relu", dtype=dtype, name="hidden"
        )
        self.drop = keras.layers.Dropout(dropout, dtype=dtype, name="drop")
        self.head = keras.layers.Dense(units, dtype=dtype, name="head")

    def build(self, input_shape: dict[str, Shape]) -> None:
        super().build(input_shape)
        width = len(kinematics.KINEMATICS)
        self.norm.build((None, None, width))
        for block in self.blocks:
            block.build((None, None, width))
            width = block.dim
        self.hidden.build((None, width))
        self.drop.build((None, self.hidden_dim))
        self.head.build((None, self.hidden_dim))

    def call(
        self, inputs: dict[str, Array], training: bool | None = None
    ) -> Array:
        h = self.drop(self.embed(inputs, training), training=training)
        return ops.cast(self.head(h), self.dtype_of_momenta)

    def embed(
        self, inputs: dict[str, Array], training: bool | None = None
    ) -> Array:
        """The features of each jet before the last layer.

        Args:
            inputs: as of the model.
            training: whether batch norms use the statistics of the batch.

        Returns:
            Array `(B, hidden_dim)`.
        """
        p, mask, jet = self.read(inputs)
        polar = kinematics.polar_from(p, jet)
        features = kinematics.kinematics(p, jet, polar)
        features = ops.where(mask[..., None], features, 0.0)
        points = ops.stack([polar, kinematics.azimuth_between(p, jet)], axis=-1)
        h = self.norm(features, training=training, mask=mask)
        h = ops.where(mask[..., None], h, 0.0)
        for i, block in enumerate(self.blocks):
            h = block(h, h if i else points, mask, training=training)
        return self.hidden(masked_mean(h, mask))

    def get_config(self) -> Config:
        return {
            **super().get_config(),
            "widths": self.widths,
            "neighbors": self.neighbors,
            "hidden_dim": self.hidden_dim,
            "dropout": self.dropout,
        }
