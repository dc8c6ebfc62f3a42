"""Building blocks of the models; each works on its own in any Keras model."""

from keras_remul.layers.attention import MultiHeadSelfAttention
from keras_remul.layers.edge_conv import EdgeConv
from keras_remul.layers.egnn_layer import EGNNLayer
from keras_remul.layers.gatr_block import GATrBlock
from keras_remul.layers.message_passing import MessagePassing
from keras_remul.layers.multivector import (
    MultivectorDense,
    MultivectorNormalization,
)
from keras_remul.layers.normformer_block import NormFormerBlock
from keras_remul.layers.pair_bias import PairBias
from keras_remul.layers.point_edge_block import PointEdgeBlock
from keras_remul.layers.radial import RadialBasis
from keras_remul.layers.reference_energies import ReferenceEnergies
from keras_remul.layers.se3_block import IrrepDense, SE3TransformerBlock
from keras_remul.layers.transformer_block import TransformerBlock
from keras_remul.layers.vector_block import (
    VectorNormalization,
    VectorTransformerBlock,
)

__all__ = [
    "EGNNLayer",
    "EdgeConv",
    "GATrBlock",
    "IrrepDense",
    "MessagePassing",
    "MultiHeadSelfAttention",
    "MultivectorDense",
    "MultivectorNormalization",
    "NormFormerBlock",
    "PairBias",
    "PointEdgeBlock",
    "RadialBasis",
    "ReferenceEnergies",
    "SE3TransformerBlock",
    "TransformerBlock",
    "VectorNormalization",
    "VectorTransformerBlock",
]
