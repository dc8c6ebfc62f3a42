"""Averaging over the group: exact if it is finite, otherwise by samples."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_remul.models.wrappers.moved import MovedModel, for_each_sample
from keras_remul.symmetry import Symmetry
from keras_remul.utils.arguments import at_least, checked
from keras_remul.utils.leaves import to_numpy
from keras_remul.utils.moments import Moments
from keras_remul.utils.typing import Tree


@keras.saving.register_keras_serializable(package="keras_remul")
class Symmetrized(MovedModel):
    """A model averaged over the group; see `symmetrize`.

    `1/M sum_m rho(g_m)^-1 f(phi(g_m) x)`

    The elements g_m are the same for each input, so that the output depends
    only on the input, not on the batch or the backend. Where the group has
    `even_elements` h_m of this number they are h_m g for one random g,
    otherwise M random ones.

    Args:
        model: any Keras model with the inputs and outputs of `symmetry`.
        symmetry: a `Symmetry`.
        num_samples: M, at least 2; see `symmetrize`. Defaults to 24.
        seed: integer seed of the draw. Defaults to 0.
        **kwargs: `name`, `dtype` and `trainable`, for `keras.Model`.

    Raises:
        ValueError: `model` is not a Keras model, `symmetry` is not a Symmetry,
            or `num_samples` < 2.
    """

    @checked(num_samples=at_least(2), seed=at_least(0))
    def __init__(
        self,
        model: keras.Model,
        symmetry: Symmetry,
        num_samples: int = 24,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(model, symmetry, **kwargs)
        self.num_samples = num_samples
        self.seed = seed

    @property
    def exact(self):
        """Whether the mean is over the whole group, each element once."""
        count = self.symmetry.group.num_elements
        return count is not None and count <= self.num_samples

    def elements(self):
        """The M elements g_m, a batch."""
        group = self.symmetry.group
        if self.exact:
            return group.elements()
        # Of NumPy, so that all backends draw the same ones.
        rng, floatx = np.random.default_rng(self.seed), keras.config.floatx()
        even = group.even_elements(self.num_samples)
        count = self.num_samples if even is None else 1
        z = rng.normal(size=(count, group.num_normals))
        g = group.from_normal(ops.convert_to_tensor(z, floatx))
        if even is None:
            return g
        g = keras.tree.map_structure(
            lambda a: ops.repeat(a, self.num_samples, axis=0), g
        )
        return group.compose(even, g)

    def frames(self, x, mask=None):
        inverse = self.symmetry.group.inverse(self.elements())
        return for_each_sample(inverse, x), None

    def predict_with_spread(
        self, x: Tree, batch_size: int | None = None
    ) -> tuple[Tree, Tree]:
        """The mean over the group and its spread.

        Args:
            x: inputs, NumPy arrays in the structure of `symmetry.inputs`.
            batch_size: as in `predict`.

        Returns:
            (mean, spread), each in the structure of the outputs, NumPy arrays
            in double precision. The mean is what `predict` gives. The spread
            is the standard deviation over g of single predictions
            rho(g)^-1 f(phi(g) x), zero for an equivariant model; the standard
            error of the mean is the spread over the root of `num_samples` for
            random elements, mostly less for even ones, and zero if all elements
            of a finite group were used.

        Raises:
            ValueError: x does not fit the symmetry.
        """
        symmetry, moments = self.symmetry, Moments()
        symmetry.check_inputs(x)
        mask = symmetry.get_mask(x)
        for back in self.frames(x)[0]:
            moved = symmetry.transform_inputs(symmetry.group.inverse(back), x)
            y = self.model.predict(
                to_numpy(moved), batch_size=batch_size, verbose=0
            )
            moments.update(to_numpy(symmetry.transform_outputs(back, y, mask)))
        spread = moments.variance(self.exact)
        return moments.mean, keras.tree.map_structure(np.sqrt, spread)

    def get_config(self):
        return {
            **super().get_config(),
            "num_samples": self.num_samples,
            "seed": self.seed,
        }


def symmetrize(
    model: keras.Model, symmetry: Symmetry, num_samples: int = 24, seed: int = 0
) -> Symmetrized:
    """Averages a model over a group, at test time or in training.

    fbar(x) = 1/M sum_m rho(g_m)^-1 f(phi(g_m) x)

    is equivariant in the limit of large M, at the cost of M forward passes.
    Its squared error is that of f on the orbit minus the orbit variance (see
    `evaluate_equivariance`), plus, on average over random elements, the orbit
    variance divided by M. Elements that are spread evenly leave less of it, see
    below. There is no uniform average over translations: the
    mean is over the distribution of `sample`.

    Args:
        model: a Keras model.
        symmetry: the `Symmetry` to average over.
        num_samples: M, at least 2. For a finite group of M elements or fewer
            the average is over all of them, once each: exactly equivariant.
            12, 24 or 60 elements of `SO3`, 24, 48 or 120 of `O3`, any number of
            `SO2` and an even one of `O2`, and of a `Product` of one of these
            and finite groups as many for each of their elements, are spread
            evenly, with a random g: see `Group.even_elements`. 24 of `O3` do
            what 40 to 380 random ones do ([the method](../method.md)). Defaults
            to 24.
        seed: integer seed of the draw. Defaults to 0.

    Returns:
        A `Symmetrized`, a Keras model. A call and `predict` give the mean,
        `predict_with_spread` the mean and its spread.

    Raises:
        ValueError: see `Symmetrized`.

    Example:

    >>> mean, spread = symmetrize(model, symmetry).predict_with_spread(x)

    Reference: Murphy et al., "Janossy pooling", arXiv 1811.01900, for averages
    over a sampled group.
    """
    return Symmetrized(model, symmetry, num_samples, seed)
