"""Training with equivariance as a second task."""

from keras_remul.training.partly_labeled import PartlyLabeled
from keras_remul.training.remul_model import RemulModel

__all__ = ["PartlyLabeled", "RemulModel"]
