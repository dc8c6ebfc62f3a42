"""How the two losses are weighted."""

from keras_remul.weighting.base import LossWeighting, Measured
from keras_remul.weighting.constant import Constant
from keras_remul.weighting.constrained import Constrained
from keras_remul.weighting.gradnorm import GradNorm
from keras_remul.weighting.scheduled import Scheduled

__all__ = [
    "Constant",
    "Constrained",
    "GradNorm",
    "LossWeighting",
    "Measured",
    "Scheduled",
]
