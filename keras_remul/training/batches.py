"""Prepares the batch of a step, before the forward pass."""

import keras
from keras import ops

from keras_remul.backend import devices
from keras_remul.training import pair
from keras_remul.training.checks import build_for
from keras_remul.training.pair import Pair


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
        x, y, sample_weight = self._unpack(data)
        return Pair(x), y, sample_weight

    def pair(self, data):
        """x with a g for each sample of the equivariance task."""
        remul = self.remul
        x, y, sample_weight = self._unpack(data)
        n, index = pair.select(
            pair.batch_size(x), remul.fraction, remul.num_samples
        )
        g = self._draw(n, remul.num_samples)
        turns = remul.parts.draw_turns(
            n * remul.num_samples, remul.seed_generator
        )
        g = remul.parts.alone(g, turns)
        return Pair(x, g, index, turns), y, sample_weight

    def pair_by_place(self, data):
        """x with the g that evaluation uses at this place in the data."""
        remul = self.remul
        x, y, sample_weight = self._unpack(data)
        n, replica = pair.batch_size(x), devices.replica(training=False)
        first = pair.place(n, remul.error_tracker.count, replica)
        g = pair.draw_by_place(remul.symmetry, n, first)
        turns = remul.parts.turns_by_place(n, first)
        return (
            Pair(x, remul.parts.alone(g, turns), None, turns),
            y,
            sample_weight,
        )

    def moved(self, data):
        """x and y transformed by g, for augmentation."""
        remul = self.remul
        x, y, sample_weight = self._unpack(data)
        n, num_samples, index = pair.batch_size(x), 1, None
        if remul.only_moved:  # all that is left of the two tasks
            num_samples = remul.num_samples
            n, index = pair.select(n, remul.fraction, num_samples)
        g = self._draw(n, num_samples)
        y = remul.labels(y)
        return pair.transform_batch(
            remul.symmetry, x, y, sample_weight, g, index
        )

    def _unpack(self, data):
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        x = keras.tree.map_structure(ops.convert_to_tensor, x)
        self.remul.symmetry.check_inputs(x)
        build_for(self.remul, x)
        return x, y, sample_weight

    def _draw(self, n, num_samples):
        return pair.draw(
            self.remul.symmetry,
            n,
            num_samples,
            self.remul.seed_generator,
            devices.replica(training=True),
        )
