"""Prepares the batch of a step, before the forward pass."""

import keras
from keras import ops

from keras_remul.backend import devices
from keras_remul.training import pair, partly_labeled
from keras_remul.training.checks import build_for, check_unlabeled
from keras_remul.training.pair import Pair
from keras_remul.training.partly_labeled import PartlyLabeled


class Batches:
    """Makes the batches of a `RemulModel`; runs inside its compiled steps.

    Each method takes a batch as Keras hands it to a step, and returns
    (x, y, sample_weight).

    Args:
        remul: the `RemulModel`.
    """

    def __init__(self, remul):
        self.remul = remul

    def alone(self, data):
        """The batch unchanged, with x in a `Pair` without g."""
        x, _, y, sample_weight = self._unpack(data)
        return Pair(x), y, sample_weight

    def pair(self, data):
        """x with a g for each sample of the equivariance task."""
        remul = self.remul
        x, unlabeled, y, sample_weight = self._unpack(data)
        n, index = pair.select(
            pair.batch_size(x), remul.fraction, remul.num_samples
        )
        g = self._draw(n, remul.num_samples)
        if unlabeled is not None:
            more = self._draw(pair.batch_size(unlabeled), 1)
            g = pair.concatenate(g, more)
        return Pair(x, g, index, unlabeled), y, sample_weight

    def pair_by_place(self, data):
        """x with the g that evaluation uses at this place in the data."""
        x, _, y, sample_weight = self._unpack(data, training=False)
        g = pair.draw_by_place(
            self.remul.symmetry,
            pair.batch_size(x),
            self.remul.error_tracker.count,
            devices.replica(training=False),
        )
        return Pair(x, g), y, sample_weight

    def moved(self, data):
        """x and y transformed by g, for augmentation."""
        remul = self.remul
        x, unlabeled, y, sample_weight = self._unpack(data)
        n, num_samples, index = pair.batch_size(x), 1, None
        if remul.only_moved:  # all that is left of the two tasks
            num_samples = remul.num_samples
            n, index = pair.select(n, remul.fraction, num_samples)
        g = self._draw(n, num_samples)
        x, y, sample_weight = pair.transform_batch(
            remul.symmetry, x, remul.labels(y), sample_weight, g, index
        )
        if unlabeled is not None:
            g = self._draw(pair.batch_size(unlabeled), 1)
            moved = remul.symmetry.transform_inputs(g, unlabeled)
            x = PartlyLabeled(x, moved)
        return x, y, sample_weight

    def _unpack(self, data, training=True):
        """(x, inputs without labels or None, y, sample_weight)."""
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        x = keras.tree.map_structure(ops.convert_to_tensor, x)
        x, unlabeled = partly_labeled.split(x)
        self.remul.symmetry.check_inputs(x)
        if unlabeled is not None:
            check_unlabeled(self.remul, x, unlabeled, training)
        build_for(self.remul, x)
        return x, unlabeled, y, sample_weight

    def _draw(self, n, num_samples):
        return pair.draw(
            self.remul.symmetry,
            n,
            num_samples,
            self.remul.seed_generator,
            devices.replica(training=True),
        )
