"""Building blocks of the models; each works on its own in any Keras model."""

from keras_remul.layers.attention import MultiHeadSelfAttention
from keras_remul.layers.transformer_block import TransformerBlock
from keras_remul.layers.vector_block import (
    VectorNormalization,
    VectorTransformerBlock,
)

__all__ = [
    "MultiHeadSelfAttention",
    "TransformerBlock",
    "VectorNormalization",
    "VectorTransformerBlock",
]
