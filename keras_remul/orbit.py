"""The batch (x, phi(g) x), stacked for one forward pass."""

import math
from typing import NamedTuple

import keras
from keras import ops


class Orbit(NamedTuple):
    """What stands for y while the batch is (x, phi(g) x).

    A train step passes y on untouched, so that this reaches the loss.

    Attributes:
        labels: y, of x.
        g: the elements.
        index: which samples phi(g) x holds; None where it is each, once.
    """

    labels: object
    g: object
    index: object

    def of_moved(self, data):
        """The part of `data` that belongs to the samples of phi(g) x."""
        if self.index is None or data is None:
            return data
        return keras.tree.map_structure(
            lambda a: ops.take(a, self.index, axis=0), data
        )

    def split(self, data):
        """`data` of the stacked batch, as those of x and of phi(g) x."""
        n = ops.shape(keras.tree.flatten(self.labels)[0])[0]
        return tuple(
            keras.tree.map_structure(lambda a, p=part: a[p], data)
            for part in (slice(None, n), slice(n, None))
        )


def _sample(symmetry, n, transforms, seed, replica, count):
    """Elements `(transforms n, ...)` for n samples of one replica."""
    g = symmetry.sample(transforms * count * n, seed=seed)
    if count == 1:
        return g
    first = ops.arange(transforms) * (count * n) + replica * n
    index = ops.reshape(first[:, None] + ops.arange(n), (-1,))
    return keras.tree.map_structure(lambda a: ops.take(a, index, axis=0), g)


def move(symmetry, data, seed, replica=(0, 1)):
    """(x, y, sample_weight) as (phi(g) x, rho(g) y, sample_weight).

    The arguments are those of `stack`.
    """
    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
    x = keras.tree.map_structure(ops.convert_to_tensor, x)
    y = keras.tree.map_structure(ops.convert_to_tensor, y)
    n = ops.shape(keras.tree.flatten(x)[0])[0]
    g = _sample(symmetry, n, 1, seed, *replica)
    mask = symmetry.get_mask(x)
    moved = (
        symmetry.transform_inputs(g, x),
        symmetry.transform_outputs(g, y, mask),
    )
    moved = keras.tree.map_structure(
        lambda a, b: ops.cast(b, a.dtype), (x, y), moved
    )
    return *moved, sample_weight


def stack(symmetry, data, seed, fraction=1.0, transforms=1, replica=(0, 1)):
    """(x, y, sample_weight) as ((x, phi(g) x), Orbit, sample_weight).

    Args:
        symmetry: the `Symmetry`.
        data: a batch as Keras hands it to a train step.
        seed: of the draw of g; an integer or a `SeedGenerator`.
        fraction: share of the samples that are moved, the first ones.
        transforms: elements g for each of these.
        replica: index and number of the replicas that share the batch. Each
            draws for all and keeps its part, so that their g differ, and are
            those of one replica with the whole batch.
    """
    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
    x = keras.tree.map_structure(ops.convert_to_tensor, x)
    n = ops.shape(keras.tree.flatten(x)[0])[0]
    index = None
    part = n
    if fraction < 1 or transforms > 1:
        part = ops.cast(ops.ceil(fraction * ops.cast(n, "float32")), "int32")
        if isinstance(n, int):  # a static shape, which JAX needs
            part = math.ceil(fraction * n)
        index = ops.tile(ops.arange(part, dtype="int32"), [transforms])
    g = _sample(symmetry, part, transforms, seed, *replica)
    orbit = Orbit(y, g, index)
    both = keras.tree.map_structure(
        lambda a, b: ops.concatenate([a, ops.cast(b, a.dtype)], axis=0),
        x,
        symmetry.transform_inputs(g, orbit.of_moved(x)),
    )
    return both, orbit, sample_weight
