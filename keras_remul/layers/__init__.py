"""Building blocks of the models; each works on its own in any Keras model."""

from keras_remul.layers.attention import MultiHeadSelfAttention
from keras_remul.layers.egnn_layer import EGNNLayer
from keras_remul.layers.message_passing import MessagePassing
from keras_remul.layers.transformer_block import TransformerBlock

__all__ = [
    "EGNNLayer",
    "MessagePassing",
    "MultiHeadSelfAttention",
    "TransformerBlock",
]
