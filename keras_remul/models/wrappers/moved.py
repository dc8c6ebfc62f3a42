"""A model that is called on its inputs, transformed by group elements."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from keras_remul import backend
from keras_remul.models.wrappers.base import Wrapper
from keras_remul.symmetry import Symmetry
from keras_remul.utils.typing import Array, Elements, Tree


class MovedModel(Wrapper):
    """Base: the mean of a model over elements g_m that may depend on the input.

    `sum_m w_m rho(g_m) f(phi(g_m)^-1 x)`,  g_1, ..., g_M from x

    is equivariant where g x has the elements g g_m and the same weights. The
    copies go through the model as one batch. A subclass gives `frames`.

    Args:
        model: any Keras model with the inputs and outputs of `symmetry`.
        symmetry: a `Symmetry`.
        **kwargs: `name`, `dtype` and `trainable`, for `keras.Model`.

    Raises:
        ValueError: `model` or `symmetry` is of another kind.
    """

    objects = ("symmetry",)

    def __init__(
        self, model: keras.Model, symmetry: Symmetry, **kwargs: Any
    ) -> None:
        super().__init__(model, **kwargs)
        self.check_symmetry(symmetry)
        self.symmetry = symmetry

    @staticmethod
    def check_symmetry(symmetry: Symmetry) -> None:
        """Checks that the wrapper has frames for this symmetry.

        Args:
            symmetry: the `Symmetry` of the model.

        Raises:
            ValueError: it has none.
        """
        if not isinstance(symmetry, Symmetry):
            raise ValueError(
                "Argument `symmetry` must be a Symmetry. Received: "
                f"symmetry={symmetry!r}"
            )

    def frames(
        self, x: Tree, mask: Array | None = None
    ) -> tuple[list[Elements], list[Array] | None]:
        """The elements g_m for inputs x.

        Args:
            x: inputs.
            mask: `(B, N)`, true where a node is valid, or None.

        Returns:
            A list of batches of elements, and their weights: a list of arrays
            `(B,)` of sum 1, or None for equal weights. Where the weights of
            all other elements are 0, only the first element is used.
        """
        raise NotImplementedError

    def mask_of(self, inputs: Tree) -> Array | None:
        """The mask `(B, N)` among the inputs, or None.

        Args:
            inputs: inputs of the model.
        """
        return self.symmetry.get_mask(inputs)

    def call(self, inputs: Tree, training: bool | None = None) -> Tree:
        self.build_parts(inputs)
        frames, weights = self.frames(inputs, self.mask_of(inputs))
        found = {}

        def mean(frames, weights):
            y, masks = self._mean(inputs, frames, weights, training)
            found.update(y=y, masks=masks)
            return [
                *keras.tree.flatten(y),
                *(mask for mask in masks if mask is not None),
            ]

        if weights is None:
            result = mean(frames, None)
        else:
            several = [ops.any(weight > 0) for weight in weights[1:]]
            result = backend.cond(
                ops.any(ops.stack(several)),
                lambda: mean(frames, weights),
                lambda: mean(frames[:1], None),
                self.model.variables,
                self.add_loss,
            )
        # What a branch returns has lost its structure and its masks.
        leaves = result[: len(found["masks"])]
        masks = iter(result[len(leaves) :])
        return self.with_masks(
            keras.tree.pack_sequence_as(found["y"], leaves),
            [None if m is None else next(masks) for m in found["masks"]],
        )

    def _mean(self, inputs, frames, weights, training):
        """The mean over the frames, and a mask or None for each leaf."""
        symmetry, count = self.symmetry, len(frames)

        def repeat(a):
            return ops.concatenate([a] * count, axis=0)

        def split(a):
            return ops.reshape(a, (count, -1, *ops.shape(a)[1:]))

        def average(a):
            if weights is None:
                return ops.mean(split(a), axis=0)
            parts = split(a)
            return sum(
                parts[m]
                * ops.reshape(
                    ops.cast(weights[m], a.dtype),
                    (-1,) + (1,) * (len(a.shape) - 1),
                )
                for m in range(count)
            )

        g = keras.tree.map_structure(  # (M B, ...)
            lambda *parts: ops.concatenate(parts, axis=0), *frames
        )
        moved = symmetry.transform_inputs(
            symmetry.group.inverse(g), keras.tree.map_structure(repeat, inputs)
        )
        moved = self.with_masks(
            moved,
            [None if m is None else repeat(m) for m in self.read_masks(inputs)],
        )
        y = self.model(moved, training=training)
        masks = [
            None if m is None else ops.all(split(m), axis=0)
            for m in self.read_masks(y)
        ]
        mask = symmetry.get_mask(inputs)
        many = None if mask is None else repeat(mask)
        y = symmetry.transform_outputs(g, y, many)
        if mask is not None:
            covered = keras.tree.flatten(
                keras.tree.map_structure(
                    symmetry.is_per_node, symmetry.outputs, y
                )
            )
            masks = [
                mask if m is None and per_node else m
                for m, per_node in zip(masks, covered, strict=True)
            ]
        return keras.tree.map_structure(average, y), masks


def for_each_sample(elements, x):
    """Repeats each of M elements for all samples: a list of batches.

    Args:
        elements: a batch of M elements.
        x: inputs.
    """
    batch = ops.shape(keras.tree.flatten(x)[0])[0]
    count = keras.tree.flatten(elements)[0].shape[0]

    def element(m, e):
        e = ops.convert_to_tensor(e)
        return ops.broadcast_to(e[m : m + 1], (batch, *e.shape[1:]))

    return [
        keras.tree.map_structure(lambda e, m=m: element(m, e), elements)
        for m in range(count)
    ]
