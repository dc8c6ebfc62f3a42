"""The batches of a training, in an order that depends on seed and epoch."""

import math

import keras
import numpy as np

from keras_remul.training.partly_labeled import PartlyLabeled, passes, take
from keras_remul.utils.leaves import count_samples

WIDTHS = 5  # numbers of nodes that batches are padded to, at most


class Shuffled(keras.utils.PyDataset):
    """Batches of arrays, in an order that `shuffle` sets for each epoch.

    Args:
        x, y: nested structures of arrays `(S, ...)`.
        recipe: the `Recipe`, for its batch size, passes and seed.
    """

    def __init__(self, x, y, recipe):
        super().__init__()
        self.x, self.y, self.recipe = x, y, recipe
        self.shuffle(epoch=0)

    def shuffle(self, epoch):
        """Sets the order, which depends only on the seed and this number."""
        rng = np.random.default_rng([self.recipe.seed, epoch + 1])
        passes = range(self.recipe.passes)
        size = len(keras.tree.flatten(self.y)[0])
        orders = [rng.permutation(size) for _ in passes]
        self.order = np.concatenate(orders)

    def __len__(self):
        return math.ceil(len(self.order) / self.recipe.batch_size)

    def __getitem__(self, index):
        size = self.recipe.batch_size
        rows = self.order[index * size : (index + 1) * size]
        return keras.tree.map_structure(lambda a: a[rows], (self.x, self.y))


class ShuffledBySize(Shuffled):
    """The same, with samples of about the same number of nodes in a batch.

    A batch is padded to one of at most five numbers of nodes, not to that of
    the largest sample of all, since the cost grows with its square, and the
    model is compiled for each.

    Args:
        x, y, recipe: as for `Shuffled`; x is a dict with a `"mask"` `(S, N)`,
            whose nodes come first in each sample.
        nodes: keys of x and of y whose arrays have an axis of nodes, the
            second.

    Raises:
        ValueError: a node comes after padding.
    """

    def __init__(self, x, y, recipe, nodes):
        mask = np.asarray(x["mask"]).astype(bool)
        count = mask.sum(axis=1)
        if (mask != (np.arange(mask.shape[1]) < count[:, None])).any():
            raise ValueError(
                "Expected samples whose nodes come before the padding. "
                'Received: another order in x["mask"].'
            )
        shares = np.arange(1, WIDTHS + 1) / WIDTHS
        self.widths = np.unique(np.quantile(count, shares, method="higher"))
        self.place = np.searchsorted(self.widths, count)
        self.nodes = nodes
        super().__init__(x, y, recipe)

    def shuffle(self, epoch):
        super().shuffle(epoch)
        size, self.batches = self.recipe.batch_size, []
        left = np.empty(0, int)
        for place, width in enumerate(self.widths):
            # What fills no batch goes to the next larger ones.
            rows = self.order[self.place[self.order] == place]
            rows = np.concatenate([left, rows])
            whole = len(rows) // size * size
            parts = rows[:whole].reshape(-1, size)
            self.batches += [(width, part) for part in parts]
            left = rows[whole:]
        if len(left):
            self.batches.append((self.widths[-1], left))
        rng = np.random.default_rng([self.recipe.seed, epoch + 1, 1])
        rng.shuffle(self.batches)

    def __getitem__(self, index):
        width, rows = self.batches[index]
        return tuple(
            {
                key: a[rows, :width] if key in self.nodes else a[rows]
                for key, a in arrays.items()
            }
            for arrays in (self.x, self.y)
        )


class WithUnlabeled(keras.utils.PyDataset):
    """Batches, each with further inputs that have no labels.

    Args:
        batches: `Shuffled` batches.
        unlabeled: inputs `(S, ...)`, in the structure of theirs.
        recipe: the `Recipe`.
    """

    def __init__(self, batches, unlabeled, recipe):
        super().__init__()
        self.batches, self.unlabeled = batches, unlabeled
        self.recipe, self.x = recipe, batches.x
        self.shuffle(epoch=0)

    def shuffle(self, epoch):
        """Sets both orders, which depend only on the seed and this number."""
        self.batches.shuffle(epoch)
        rng = np.random.default_rng([self.recipe.seed, epoch + 1, 2])
        shape = len(self), self.recipe.unlabeled_batch_size
        self.rows = take(passes(count_samples(self.unlabeled), rng), shape)

    def __len__(self):
        return len(self.batches)

    def __getitem__(self, index):
        x, y = self.batches[index]
        rows = self.rows[index]
        more = keras.tree.map_structure(lambda a: a[rows], self.unlabeled)
        return PartlyLabeled(x, more), y
