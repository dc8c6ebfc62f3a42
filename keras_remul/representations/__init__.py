"""Representations: how one feature changes under a group."""

from keras_remul.representations.base import Representation, act
from keras_remul.representations.cartesian import (
    FourVector,
    MirrorPermutation,
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
    Odd,
    OnFactor,
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
    "MirrorPermutation",
    "Odd",
    "OnFactor",
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
