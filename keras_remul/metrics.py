"""Metrics and callbacks that measure how equivariant a model is."""

import keras
from keras import ops

from keras_remul.dtypes import widened


def sample_norms(difference, symmetry, mask=None):
    """The Euclidean norm of each sample's outputs, all leaves together.

    Args:
        difference: arrays `(B, ...)` in the structure of `symmetry.outputs`.
        symmetry: the `Symmetry`.
        mask: mask `(B, N)`; padded nodes of the leaves per node count as 0.

    Returns:
        Array `(B,)`.
    """
    total = 0.0
    for representation, leaf in symmetry.output_leaves(difference):
        square = ops.square(widened(leaf))
        if mask is not None and symmetry.is_per_node(
            representation, square, mask
        ):
            # Not a product: padding may hold anything, NaN too.
            square = ops.where(_of_rank(mask, square), square, 0.0)
        rows = ops.reshape(square, (ops.shape(square)[0], -1))
        total = total + ops.sum(rows, axis=-1)
    return ops.sqrt(total)


def equivariance_norms(moved_output, output_of_moved, symmetry, mask=None):
    """||f(phi(g) x) - rho(g) f(x)|| of each sample, `(B,)`.

    Args:
        moved_output: rho(g) f(x), in the structure of `symmetry.outputs`.
        output_of_moved: f(phi(g) x), the same, with equal shapes.
        symmetry: the `Symmetry`.
        mask: mask `(B, N)` where some nodes are padding.

    Raises:
        ValueError: where the shapes differ.
    """

    def subtract(a, b):
        if tuple(a.shape) != tuple(b.shape):
            raise ValueError(
                "rho(g) f(x) and f(phi(g) x) must have equal shapes. Received: "
                f"{tuple(a.shape)} and {tuple(b.shape)}"
            )
        return widened(a) - widened(b)

    difference = keras.tree.map_structure(
        subtract, moved_output, output_of_moved
    )
    return sample_norms(difference, symmetry, mask)


def _of_rank(mask, leaf):
    """The mask `(B, N)` as booleans that broadcast against `(B, N, ...)`."""
    axes = ops.shape(mask) + (1,) * (len(leaf.shape) - 2)
    return ops.reshape(ops.cast(mask, "bool"), axes)


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
        leaf = widened(leaf)
        if not symmetry.is_per_node(representation, leaf, mask):
            return leaf - ops.mean(leaf, axis=0, keepdims=True)
        if mask is None:
            return leaf - ops.mean(leaf, axis=1, keepdims=True)
        valid = _of_rank(mask, leaf)
        count = ops.sum(ops.cast(valid, leaf.dtype), axis=1, keepdims=True)
        total = ops.sum(ops.where(valid, leaf, 0.0), axis=1, keepdims=True)
        return leaf - total / ops.maximum(count, 1)

    return keras.tree.map_structure(centre, symmetry.outputs, output)


@keras.saving.register_keras_serializable(package="keras_remul")
class EquivarianceError(keras.metrics.Mean):
    """E' = mean over x and g of ||f(phi(g) x) - rho(g) f(x)||.

    The running mean over the batches seen, in the units of the output; the
    norm is over all that one sample outputs. `RemulModel` keeps one and logs
    it as `equivariance_error`, at no further forward pass. For the relative
    error, many g per sample and the orbit variance see
    `keras_remul.evaluate_equivariance`.

    Args:
        symmetry: the `Symmetry` of the outputs.
        name: defaults to `"equivariance_error"`.
        dtype: see `keras.metrics.Metric`.

    Reference: arXiv 2410.17878, the second of its two measures.
    """

    def __init__(self, symmetry, name="equivariance_error", dtype=None):
        super().__init__(name=name, dtype=dtype)
        self.symmetry = symmetry

    def update_state(self, moved_output, output_of_moved, mask=None):
        """Adds a batch.

        Args:
            moved_output: rho(g) f(x), nested structure of arrays `(B, ...)`.
            output_of_moved: f(phi(g) x), the same.
            mask: mask `(B, N)` where some nodes are padding.
        """
        norms = equivariance_norms(
            moved_output, output_of_moved, self.symmetry, mask
        )
        return super().update_state(norms)

    def get_config(self):
        symmetry = keras.saving.serialize_keras_object(self.symmetry)
        return {"symmetry": symmetry, "name": self.name, "dtype": self.dtype}

    @classmethod
    def from_config(cls, config):
        symmetry = keras.saving.deserialize_keras_object(config["symmetry"])
        return cls(**{**config, "symmetry": symmetry})
