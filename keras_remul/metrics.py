"""Metrics and callbacks that measure how equivariant a model is."""

import keras
from keras import ops


def sample_norms(difference, mask=None):
    """The Euclidean norm of each sample's outputs, all leaves together.

    Args:
        difference: nested structure of arrays `(B, ...)`.
        mask: mask `(B, N)`; padded nodes of leaves `(B, N, ...)` count as 0.

    Returns:
        Array `(B,)`.
    """
    total = 0.0
    for leaf in keras.tree.flatten(difference):
        square = ops.square(leaf)
        if mask is not None and len(leaf.shape) >= 3:
            axes = ops.shape(mask) + (1,) * (len(leaf.shape) - 2)
            valid = ops.reshape(ops.cast(mask, square.dtype), axes)
            square = square * valid
        rows = ops.reshape(square, (ops.shape(leaf)[0], -1))
        total = total + ops.sum(rows, axis=-1)
    return ops.sqrt(total)


def equivariance_norms(moved_output, output_of_moved, mask=None):
    """||f(phi(g) x) - rho(g) f(x)|| of each sample, `(B,)`."""
    floatx = keras.config.floatx()
    difference = keras.tree.map_structure(
        lambda a, b: ops.cast(a, floatx) - ops.cast(b, floatx),
        moved_output,
        output_of_moved,
    )
    return sample_norms(difference, mask)


def centred(output, symmetry, mask=None):
    """Outputs with positions relative to the centre of their nodes.

    The origin is arbitrary; distance from it would flatter a relative error.

    Args:
        output: outputs in the structure of `symmetry.outputs`.
        symmetry: the `Symmetry`.
        mask: mask `(B, N)` where some nodes are padding.

    Returns:
        The structure of the outputs. A point per sample, without nodes, is
        taken relative to the mean of the batch.
    """

    def centre(representation, leaf):
        if not representation.moves_origin:
            return leaf
        leaf = ops.convert_to_tensor(leaf)
        if not symmetry.is_per_node(representation, leaf):
            return leaf - ops.mean(leaf, axis=0, keepdims=True)
        if mask is None:
            return leaf - ops.mean(leaf, axis=1, keepdims=True)
        axes = ops.shape(mask) + (1,) * (len(leaf.shape) - 2)
        valid = ops.reshape(ops.cast(mask, leaf.dtype), axes)
        count = ops.maximum(ops.sum(valid, axis=1, keepdims=True), 1)
        return leaf - ops.sum(leaf * valid, axis=1, keepdims=True) / count

    return keras.tree.map_structure(centre, symmetry.outputs, output)


@keras.saving.register_keras_serializable(package="keras_remul")
class EquivarianceError(keras.metrics.Mean):
    """E' = mean over x and g of ||f(phi(g) x) - rho(g) f(x)||.

    The running mean over the batches seen, in the units of the output; the
    norm is over all that one sample outputs. `RemulModel` keeps one and logs
    it as `equivariance_error`, at no further forward pass. For the relative
    error, many g per sample and the orbit variance see
    `keras_remul.evaluate_equivariance`.

    Reference: arXiv 2410.17878, the second of its two measures.
    """

    def __init__(self, name="equivariance_error", dtype=None):
        super().__init__(name=name, dtype=dtype)

    def update_state(self, moved_output, output_of_moved, mask=None):
        """Adds a batch.

        Args:
            moved_output: rho(g) f(x), nested structure of arrays `(B, ...)`.
            output_of_moved: f(phi(g) x), the same.
            mask: mask `(B, N)` where some nodes are padding.
        """
        norms = equivariance_norms(moved_output, output_of_moved, mask)
        return super().update_state(norms)

    def get_config(self):
        return {"name": self.name, "dtype": self.dtype}
