"""Groups: sample, compose, inverse, identity."""

from keras_remul.groups.base import Group
from keras_remul.groups.euclidean import E3, SE3, Translations
from keras_remul.groups.orthogonal import O3, SO2, SO3

__all__ = ["E3", "Group", "O3", "SE3", "SO2", "SO3", "Translations"]
