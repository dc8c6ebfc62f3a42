"""How equivariant a model is: over the group, at its identity, by layer."""

from keras_remul.evaluation.equivariance import (
    Moments,
    as_function,
    evaluate_equivariance,
    finite_elements,
    to_numpy,
    walk_orbit,
)

__all__ = [
    "Moments",
    "as_function",
    "evaluate_equivariance",
    "finite_elements",
    "to_numpy",
    "walk_orbit",
]
