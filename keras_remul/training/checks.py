"""Checks of data before the first step, which consume no stream."""

import types

import keras
import numpy as np
from keras import ops

from keras_remul.symmetry import Symmetry
from keras_remul.training import partly_labeled
from keras_remul.training.weighting import LossWeighting
from keras_remul.utils.structures import per_output
from keras_remul.utils.validation import check_finite

TARGETS = ("labels", "predictions")


def check_arguments(model, symmetry, weighting, target):
    """Raises ValueError unless a `RemulModel` can be made of these."""
    if not isinstance(model, keras.Model):
        raise ValueError(
            "Argument `model` must be a keras.Model. Received: "
            f"model={model!r} of type {type(model).__name__}"
        )
    if not isinstance(symmetry, Symmetry):
        raise ValueError(
            "Argument `symmetry` must be a keras_remul.Symmetry. "
            f"Received: symmetry={symmetry!r}"
        )
    if target not in TARGETS:
        raise ValueError(
            f"Argument `target` must be one of {TARGETS}. Received: "
            f"target={target!r}"
        )
    if not isinstance(weighting, LossWeighting):
        raise ValueError(
            "Argument `weighting` must be a keras_remul.weighting."
            "LossWeighting, such as Constant(beta=1.0). Received: "
            f"weighting={weighting!r}"
        )


def check_unlabeled(remul, x, unlabeled, training=True):
    """Raises ValueError unless inputs without labels can be trained on.

    Args:
        remul: the `RemulModel`.
        x: inputs with labels.
        unlabeled: inputs without.
        training: whether this is for training.
    """
    if not training:
        raise ValueError(
            "Inputs without labels are for training. Give `evaluate` and "
            "`validation_data` x and y, not a PartlyLabeled."
        )
    if remul.target != "predictions" or not remul.pairs:
        raise ValueError(
            "Inputs without labels have a part in the equivariance task of "
            'predictions only: RemulModel(..., target="predictions"), with a '
            f"beta. Received: target={remul.target!r}, "
            f"weighting={remul.weighting!r}"
        )
    try:
        remul.symmetry.check_inputs(unlabeled)
    except ValueError as error:
        raise ValueError(f"Inputs without labels: {error}") from None
    shapes = [
        keras.tree.map_structure(lambda a: tuple(a.shape[1:]), data)
        for data in (x, unlabeled)
    ]
    if shapes[0] != shapes[1]:
        raise ValueError(
            "Inputs without labels must have the shapes of those with labels, "
            "beyond the samples; pad to as many nodes, with a mask. Received: "
            f"{shapes[1]} for {shapes[0]}"
        )


class DataChecks:
    """Checks of the data that a `RemulModel` is given.

    Structure, shapes and numbers of arrays are checked completely. No batch is
    taken from a stream, and no random generator advances: each traced step
    checks structure and shapes, and the first batch of a generator is checked
    when it is used.

    Args:
        remul: the `RemulModel`.
    """

    def __init__(self, remul):
        self.remul = remul
        self._structures = {}  # of the last arrays, by step

    def is_new(self, step, data):
        """Whether arrays have another structure than at the last call.

        If so, Keras on TensorFlow would still run the step that it traced
        before.
        """
        if not _is_array(data[0]):
            return False
        structure = str(keras.tree.map_structure(_rank, data))
        last = self._structures.get(step, structure)
        self._structures[step] = structure
        return structure != last

    def checked(self, x, y=None, sample_weight=None):
        """Returns x after the checks.

        Raises:
            ValueError: arrays do not fit the symmetry or hold NaN.
        """
        if isinstance(x, types.GeneratorType):
            return self._check_first(x)
        if _is_array(x):
            self._check((x, y, sample_weight))
        return x

    def _check_first(self, batches):
        for i, batch in enumerate(batches):
            if i == 0:
                self._check(batch)
            yield batch

    def _check(self, batch):
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(batch)
        x, unlabeled = partly_labeled.split(x)
        if unlabeled is not None:
            check_unlabeled(self.remul, x, unlabeled)
            check_finite(unlabeled, "unlabeled")
        symmetry = self.remul.symmetry
        symmetry.check_inputs(x)
        check_finite(x, "x")
        if y is not None:
            names = getattr(self.remul, "output_names", None)
            labels = per_output(y, symmetry.outputs, names, argument="y")
            symmetry.check_outputs(labels, mask=symmetry.get_mask(x))
            check_finite(y, "y", kinds="biuf")
        check_finite(sample_weight, "sample_weight")
        # Callbacks that restore weights want them before the first step.
        x = keras.tree.map_structure(ops.convert_to_tensor, x)
        build_for(self.remul, x)


def build_for(remul, x):
    """Builds the wrapped model for inputs of these shapes and dtypes."""
    if not remul.model.built:
        remul.model(
            keras.tree.map_structure(
                lambda a: keras.KerasTensor(
                    (None, *a.shape[1:]),
                    keras.backend.standardize_dtype(a.dtype),
                ),
                x,
            )
        )
    remul.built = True


def _is_array(x):
    """Whether x is in memory, as one array or several."""
    return isinstance(x, (dict, list, tuple)) or hasattr(x, "shape")


def _rank(a):
    return None if a is None else np.ndim(a)
