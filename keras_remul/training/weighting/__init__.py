"""How the two losses are weighted."""

from keras_remul.training.weighting.base import LossWeighting, StepMeasures
from keras_remul.training.weighting.constant import Constant
from keras_remul.training.weighting.constrained import Constrained
from keras_remul.training.weighting.gradnorm import GradNorm
from keras_remul.training.weighting.scheduled import Scheduled

__all__ = [
    "Constant",
    "Constrained",
    "GradNorm",
    "LossWeighting",
    "StepMeasures",
    "Scheduled",
]
