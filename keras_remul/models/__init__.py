"""Models; none of them knows how it is trained."""

from keras_remul.models.transformer import Transformer

__all__ = ["Transformer"]
