"""Trainings that can be repeated: recipes, tables of results, figures."""

from keras_remul.experiments.recipe import Recipe

__all__ = ["Recipe"]
