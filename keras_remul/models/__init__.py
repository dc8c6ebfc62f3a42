"""Models; none of them knows how it is trained."""

from keras_remul.models.gatr import GATr
from keras_remul.models.se3_transformer import SE3Transformer
from keras_remul.models.transformer import Transformer
from keras_remul.models.vector_transformer import VectorTransformer

__all__ = ["GATr", "SE3Transformer", "Transformer", "VectorTransformer"]
