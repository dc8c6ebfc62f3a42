"""How the two losses are weighted."""

from keras_remul.weighting.base import LossWeighting
from keras_remul.weighting.constant import Constant

__all__ = ["Constant", "LossWeighting"]
