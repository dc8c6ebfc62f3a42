"""Models as functions, and their outputs along the orbit of an input."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import ops

from keras_remul import backend
from keras_remul.utils.leaves import count_samples, to_numpy, widened
from keras_remul.utils.typing import Elements, Tree
from keras_remul.utils.validation import check_count

if TYPE_CHECKING:
    from keras_remul.groups.base import Group
    from keras_remul.symmetry import Symmetry


def finite_elements(group: Group, at_most: int) -> Elements | None:
    """All elements of a small finite group, or None.

    Args:
        group: the `Group`.
        at_most: the largest number of elements that counts as small.
    """
    count = group.num_elements
    return group.elements() if count and count <= at_most else None


def walk_orbit(
    f: Callable[[Tree], Tree],
    x: Tree,
    symmetry: Symmetry,
    num_samples: int,
    seed: int,
) -> Iterator[tuple[Elements, Tree, Tree]]:
    """Yields g, f(phi(g) x) and rho(g)^-1 f(phi(g) x), `num_samples` times.

    If a finite group has no more than `num_samples` elements, each is used
    once.

    Args:
        f: function from arrays to arrays, see `as_function`.
        x: inputs, arrays in the structure of `symmetry.inputs`.
        symmetry: the `Symmetry`.
        num_samples: elements g of each sample.
        seed: integer seed of the draws.
    """
    mask = symmetry.get_mask(x)
    for g in draw(symmetry.group, count_samples(x), num_samples, seed):
        of_moved = f(to_numpy(symmetry.transform_inputs(g, x)))
        inverse = symmetry.group.inverse(g)
        back = symmetry.transform_outputs(inverse, of_moved, mask)
        yield g, of_moved, to_numpy(back)


def draw(group, n, num_samples, seed):
    """Batches of n elements: `num_samples` random ones, or each once."""
    num_samples, seed = (
        check_count("num_samples", num_samples),
        check_count("seed", seed, 0),
    )
    elements = finite_elements(group, num_samples)
    if elements is None:
        seeds = np.random.default_rng(seed).integers(2**31, size=num_samples)
        for seed_of_batch in seeds:
            yield group.sample(n, seed=int(seed_of_batch))
        return
    for i in range(group.num_elements):
        yield keras.tree.map_structure(
            lambda a, i=i: ops.stack([a[i]] * n), elements
        )


def as_function(
    model: keras.Model | Callable[..., Any], batch_size: int
) -> Callable[[Tree], Tree]:
    """The model as a function from arrays to arrays of float32 at least.

    Args:
        model: a Keras model, or a function from arrays to arrays or tensors.
        batch_size: samples in one pass.
    """
    check_count("batch_size", batch_size)

    def function(x):
        if isinstance(model, keras.Model):
            with backend.kept_generators():
                output = _predict(model, x, batch_size)
        else:
            output = _in_batches(model, x, batch_size)
        return keras.tree.map_structure(widened, to_numpy(output))

    return function


def _predict(model, x, batch_size):
    # `predict` rounds its inputs to floatx.
    if model.variable_dtype == "float64" != keras.config.floatx():
        return _in_batches(model.predict_on_batch, x, batch_size)
    return model.predict(x, batch_size=batch_size, verbose=0)


def _in_batches(function, x, batch_size):
    parts = []
    for start in range(0, count_samples(x), batch_size):
        part = slice(start, start + batch_size)
        batch = keras.tree.map_structure(lambda a, part=part: a[part], x)
        parts.append(to_numpy(function(batch)))
    return keras.tree.map_structure(
        lambda *leaves: np.concatenate(leaves), *parts
    )
