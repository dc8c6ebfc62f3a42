"""How equivariant a model is: over the group, at its identity, by layer."""

from keras_remul.evaluation.equivariance import evaluate_equivariance
from keras_remul.evaluation.landscape import loss_landscape
from keras_remul.evaluation.leaves import (
    NotFiniteError,
    count_samples,
    shaped_like,
    to_numpy,
)
from keras_remul.evaluation.lie import lie_derivative
from keras_remul.evaluation.orbit import (
    Moments,
    as_function,
    finite_elements,
    walk_orbit,
)
from keras_remul.evaluation.profile import equivariance_profile

__all__ = [
    "Moments",
    "NotFiniteError",
    "as_function",
    "count_samples",
    "equivariance_profile",
    "evaluate_equivariance",
    "finite_elements",
    "lie_derivative",
    "loss_landscape",
    "shaped_like",
    "to_numpy",
    "walk_orbit",
]
