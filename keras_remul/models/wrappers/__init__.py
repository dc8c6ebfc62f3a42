"""Models that wrap another model, to make it equivariant or to add to it."""

from keras_remul.models.wrappers.alignment import Alignment
from keras_remul.models.wrappers.correction import Correction
from keras_remul.models.wrappers.ensemble import Ensemble
from keras_remul.models.wrappers.forces import ConservativeForces
from keras_remul.models.wrappers.frames import Canonicalization, FrameAveraging
from keras_remul.models.wrappers.skeleton import OnSkeleton
from keras_remul.models.wrappers.symmetrized import Symmetrized, symmetrize

__all__ = [
    "Alignment",
    "Canonicalization",
    "ConservativeForces",
    "Correction",
    "Ensemble",
    "FrameAveraging",
    "OnSkeleton",
    "Symmetrized",
    "symmetrize",
]
