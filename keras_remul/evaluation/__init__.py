"""How equivariant a model is: over the group, at its identity, by layer."""

from keras_remul.evaluation.equivariance import (
    Moments,
    as_function,
    evaluate_equivariance,
    finite_elements,
    to_numpy,
    walk_orbit,
)
from keras_remul.evaluation.landscape import loss_landscape
from keras_remul.evaluation.lie import lie_derivative
from keras_remul.evaluation.profile import equivariance_profile

__all__ = [
    "Moments",
    "as_function",
    "equivariance_profile",
    "evaluate_equivariance",
    "finite_elements",
    "lie_derivative",
    "loss_landscape",
    "to_numpy",
    "walk_orbit",
]
