"""Keras models that are as equivariant as you ask, on three backends."""

from keras_remul import groups, representations, weighting
from keras_remul.symmetry import Symmetry
from keras_remul.training import RemulModel
from keras_remul.version import __version__
