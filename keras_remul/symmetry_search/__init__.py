"""Which of several symmetries a model or a data set keeps."""

from keras_remul.symmetry_search.find import find_symmetry
from keras_remul.symmetry_search.relation import quadratic_ridge, ridge
from keras_remul.symmetry_search.report import Evidence, SymmetryReport

__all__ = [
    "Evidence",
    "SymmetryReport",
    "find_symmetry",
    "quadratic_ridge",
    "ridge",
]
