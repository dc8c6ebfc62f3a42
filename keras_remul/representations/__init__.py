"""Representations: how one feature changes under a group."""

from keras_remul.representations.base import Representation, act
from keras_remul.representations.cartesian import (
    FourVector,
    Mirrored,
    Point,
    Pseudoscalar,
    Pseudovector,
    Scalar,
    SymmetricMatrix,
    Tensor,
    Vector,
)
from keras_remul.representations.compound import (
    DirectSum,
    Grid,
    Homogeneous,
    Of,
    PerNode,
    PerSample,
    get,
)
from keras_remul.representations.irreps import Irrep

__all__ = [
    "DirectSum",
    "FourVector",
    "Grid",
    "Homogeneous",
    "Irrep",
    "Mirrored",
    "Of",
    "PerNode",
    "PerSample",
    "Point",
    "Pseudoscalar",
    "Pseudovector",
    "Representation",
    "Scalar",
    "SymmetricMatrix",
    "Tensor",
    "Vector",
    "act",
    "get",
]
