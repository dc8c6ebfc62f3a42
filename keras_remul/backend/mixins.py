"""What type checkers take mixins of models for."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras

    ModelMixin = keras.Model
else:
    ModelMixin = object  # the class that inherits the mixin is a model
