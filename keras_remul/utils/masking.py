"""Keras masks, with which losses and metrics leave out padded nodes."""

import keras
from keras import ops


class AttachMask(keras.layers.Layer):
    """Returns the first input with the second as its Keras mask.

    Keras losses and metrics average over the nodes where the mask of the
    predictions is True. A mask is lost by slicing and, on JAX, at the boundary
    of a differentiated function, so it must be attached again.

    Call arguments:
        inputs: `[y, mask]`, y `(B, N, ...)` and mask `(B, N)`.

    Returns:
        y.
    """

    def __init__(self, **kwargs):
        super().__init__(autocast=False, **kwargs)
        self.supports_masking = True
        # Keras builds the whole model anew at each train_on_batch as long as
        # one layer of it is not built.
        self.built = True

    def call(self, inputs):
        return inputs[0]

    def compute_mask(self, inputs, mask=None):
        y, mask = inputs
        # Losses of y (B, N, T, D) are (B, N, T): Keras wants masks of that
        # rank.
        missing = max(len(y.shape) - 1 - len(mask.shape), 0)
        mask = ops.reshape(mask, (*ops.shape(mask), *[1] * missing))
        return ops.cast(mask, "bool")


class ReadMasks(keras.layers.Layer):
    """The Keras masks on the leaves of its input, or None, in a list.

    Call arguments:
        inputs: arrays, nested.
    """

    def __init__(self, **kwargs):
        super().__init__(autocast=False, **kwargs)
        self.supports_masking = True
        self.built = True  # as AttachMask

    def call(self, inputs, mask=None):
        if mask is None:
            return [None] * len(keras.tree.flatten(inputs))
        return keras.tree.flatten(mask)

    def compute_mask(self, inputs, mask=None):
        return None
