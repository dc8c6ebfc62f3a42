"""Trainings that can be repeated: recipes, tables of results, figures."""

from keras_remul.experiments.recipe import Recipe
from keras_remul.experiments.tasks import (
    EnergiesAndForces,
    NextState,
    Tagging,
)

__all__ = ["EnergiesAndForces", "NextState", "Recipe", "Tagging"]
