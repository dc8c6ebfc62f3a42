"""Which of several symmetries a model or a data set has."""

from keras_remul.evaluation.search.find import find_symmetry
from keras_remul.evaluation.search.relation import quadratic_ridge, ridge
from keras_remul.evaluation.search.report import Evidence, SymmetryReport

__all__ = [
    "Evidence",
    "SymmetryReport",
    "find_symmetry",
    "quadratic_ridge",
    "ridge",
]
