"""Masks and sample weights in the shape of each loss.

Keras multiplies the losses of an output `(B, N, C)`, an array `(B, N)`, by
weights and mask. Both must already have that rank: otherwise Keras broadcasts
weights `(B,)` along the nodes, and a mask along any axis that fits. Each loss
gets a copy of the weights, since Keras on PyTorch multiplies them by the mask
in place.
"""

import keras
from keras import ops

from keras_remul.utils.structures import leafwise, per_output


def full_precision(y):
    """y in floatx, also for a model with mixed precision."""
    floatx = keras.config.floatx()
    return keras.tree.map_structure(lambda a: ops.cast(a, floatx), y)


def output_masks(symmetry, x, y, own):
    """The mask of each output, or None.

    Args:
        symmetry: the `Symmetry`.
        x: inputs; a mask among them covers the outputs that have nodes.
        y: outputs of the model.
        own: the masks that Keras attached to the outputs; these take
            precedence.
    """
    mask = symmetry.get_mask(x)

    def choose(leaf, own, representation):
        if own is not None or mask is None:
            return own
        covered = symmetry.is_per_node(representation, leaf, mask)
        return mask if covered else None

    return leafwise(choose, y, own, symmetry.outputs)


class Leaves:
    """The arguments of the losses and metrics of one prediction.

    Args:
        y_pred: predictions, nested.
        masks: their masks, see `output_masks`.
        attach: an `AttachMask`.
        names: names of the outputs where these are in a list.
    """

    def __init__(self, y_pred, masks, attach, names=None):
        self._predictions, self._masks = y_pred, masks
        self._names = names
        self._attach = attach

    @property
    def y_pred(self):
        """The predictions, with their masks attached."""

        def attach(leaf, mask):
            leaf = self._with_channels(leaf, leaf, mask)
            return leaf if mask is None else self._attach([leaf, mask])

        return leafwise(attach, self._predictions, self._masks)

    def y_true(self, y):
        """Labels in the structure of the predictions, None for missing ones."""
        y = per_output(y, self._predictions, self._names, argument="y")
        return leafwise(self._with_channels, y, self._predictions, self._masks)

    def sample_weight(self, weights):
        """Weights for each output, separate tensors; None without weights."""
        if weights is None:
            return None
        weights = per_output(
            weights, self._predictions, self._names, argument="sample_weight"
        )

        def expand(weight, leaf):
            if weight is None:
                return None
            # Keras writes to them on PyTorch.
            weight = ops.copy(ops.cast(weight, keras.config.floatx()))
            if len(weight.shape) != 1 or len(leaf.shape) < 3:
                return weight
            shape = ops.shape(leaf)[:-1]
            axes = (-1,) + (1,) * (len(shape) - 1)
            return ops.ones(shape, weight.dtype) * ops.reshape(weight, axes)

        return leafwise(expand, weights, self._predictions)

    def without_masked(self, data):
        """Data like the predictions, with zeros where they are masked."""

        def zero(leaf, mask):
            if mask is None:
                return leaf
            missing = (1,) * (len(leaf.shape) - len(mask.shape))
            valid = ops.cast(mask, "bool")
            valid = ops.reshape(valid, ops.shape(mask) + missing)
            return ops.where(valid, leaf, ops.zeros_like(leaf))

        return leafwise(zero, data, self._masks)

    @staticmethod
    def _with_channels(value, leaf, mask):
        """Numbers `(B, N)` with a mask `(B, N)` as `(B, N, 1)`.

        A loss takes the mean over the last axis, which must not be the nodes.
        """
        if mask is None or value is None:
            return value
        if len(leaf.shape) == len(mask.shape) == len(value.shape):
            return ops.expand_dims(value, axis=-1)
        return value
