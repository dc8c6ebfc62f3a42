"""The base class of models that are made of other models."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, Self

import keras

from keras_remul.utils.kept_variables import KeepsVariables
from keras_remul.utils.masking import AttachMask, ReadMasks
from keras_remul.utils.typing import Array, Config, Shapes, Tree


class Wrapper(KeepsVariables, keras.Model):
    """Base of models that are made of other models.

    A subclass names the arguments that hold models in `parts`, hands these
    models to `super().__init__` in that order, and adds its other arguments to
    `get_config`. This class checks, builds, configures and saves the models.

    Args:
        *models: a Keras model, or a list of Keras models, for each of `parts`.
        **kwargs: `name`, `dtype` and `trainable`, for `keras.Model`.

    Raises:
        ValueError: an argument is not a Keras model.

    Attributes:
        parts: names of the arguments, and of the attributes, that hold models.
        objects: names of other arguments that are Keras serializable objects.
    """

    parts = ("model",)
    objects = ()

    def __init__(
        self, *models: keras.Model | Sequence[keras.Model], **kwargs: Any
    ) -> None:
        # Without autocast: float16 would round positions before they are moved.
        super().__init__(autocast=False, **kwargs)
        for name, value in zip(self.parts, models, strict=True):
            if not value or not all(
                isinstance(model, keras.Model) for model in _as_list(value)
            ):
                expected = (
                    "a list of keras.Model, one or more"
                    if isinstance(value, list)
                    else "a keras.Model"
                )
                raise ValueError(
                    f"Argument `{name}` must be {expected}. Received: {value!r}"
                )
            setattr(self, name, value)
        self.supports_masking = True
        self.attach_mask = AttachMask(name="attach_mask")
        self.read_masks = ReadMasks(name="read_masks")

    def wrapped(self) -> list[keras.Model]:
        """The models, in a list."""
        return [m for name in self.parts for m in _as_list(getattr(self, name))]

    def build(self, input_shape: Shapes) -> None:
        for model in self.wrapped():
            # Others are built by `build_parts`, which knows the dtypes too.
            if not model.built and has_build(model):
                model.build(input_shape)

    def build_parts(self, inputs: Tree) -> None:
        """Builds the models that only a call can build.

        Args:
            inputs: inputs of the wrapper, arrays or `keras.KerasTensor`.
        """
        for model in self.wrapped():
            if not model.built:
                model(inputs)

    def compute_mask(
        self, inputs: Tree, previous_mask: Tree | None = None
    ) -> Tree:
        return None  # `call` puts the masks on

    def compute_output_spec(
        self, inputs: Tree, training: bool | None = None
    ) -> Tree:
        self.build_parts(inputs)
        spec = self.wrapped()[0].compute_output_spec(inputs)
        return keras.tree.map_structure(
            lambda leaf: keras.KerasTensor(leaf.shape, dtype=leaf.dtype), spec
        )

    def with_masks(self, data: Tree, masks: Sequence[Array | None]) -> Tree:
        """The leaves of `data` with these Keras masks on them.

        Args:
            data: arrays, nested.
            masks: a mask or None for each leaf, in a list.
        """
        leaves = [
            leaf if mask is None else self.attach_mask([leaf, mask])
            for leaf, mask in zip(keras.tree.flatten(data), masks, strict=True)
        ]
        return keras.tree.pack_sequence_as(data, leaves)

    # --- Config ---

    def get_config(self) -> Config:
        serialize = keras.saving.serialize_keras_object
        names = (*self.parts, *self.objects)
        values = [getattr(self, name) for name in names]
        return {
            "name": self.name,
            "trainable": self.trainable,
            "dtype": keras.dtype_policies.serialize(self.dtype_policy),
            **{
                name: [serialize(v) for v in value]
                if isinstance(value, list)
                else serialize(value)
                for name, value in zip(names, values, strict=True)
            },
        }

    @classmethod
    def from_config(
        cls, config: Config, custom_objects: dict[str, Any] | None = None
    ) -> Self:
        # Keras takes keys out of the configurations of models.
        config = copy.deepcopy(config)
        for name in (*cls.parts, *cls.objects):
            config[name] = keras.saving.deserialize_keras_object(
                config[name], custom_objects=custom_objects
            )
        return cls(**config)


def has_build(layer):
    """Whether a layer can be built from shapes, without a call."""
    return type(layer).build not in (keras.Layer.build, keras.Model.build)


def _as_list(value):
    return list(value) if isinstance(value, (list, tuple)) else [value]
