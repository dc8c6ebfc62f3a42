"""The parts of the second task, where each has a weight of its own.

A part is an output of the model, or a factor of the group. For factors each
sample is moved by one of them alone, in turns over the samples, so that a step
costs as much as with the whole group.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import keras
from keras import ops

from keras_remul.backend import devices
from keras_remul.groups import Product
from keras_remul.training.metrics import sample_norms
from keras_remul.training.weighting.base import StepMeasures
from keras_remul.utils.structures import leafwise, per_output
from keras_remul.utils.typing import Array


def make_parts(symmetry, names):
    """The parts with these names.

    Args:
        symmetry: the `Symmetry`.
        names: `parts` of a `LossWeighting`; empty for the task as a whole.

    Returns:
        `Whole`, `Outputs` or `Factors`.

    Raises:
        ValueError: the names are neither those of all outputs nor those of all
            factors.
    """
    if not names:
        return Whole(symmetry)
    outputs, factors = [], []
    if isinstance(symmetry.outputs, dict):
        outputs = sorted(symmetry.outputs)
    if isinstance(symmetry.group, Product):
        factors = sorted(symmetry.group.factors)
    wanted = sorted(names)
    if (wanted == outputs) == (wanted == factors):
        raise ValueError(
            "Argument `weighting`: the tolerances must name all outputs of the "
            "symmetry, or all factors of its group, and not both. Expected: "
            f"{outputs or 'no outputs with names'} or "
            f"{factors or 'no factors with names'}. Received: {wanted}"
        )
    if wanted == factors:
        return Factors(symmetry, names)
    if any(map(keras.tree.is_nested, symmetry.outputs.values())):
        raise ValueError(
            "Argument `weighting`: each output with a tolerance must be one "
            f"array. Received: outputs={symmetry.outputs!r}"
        )
    return Outputs(symmetry, names)


class Whole:
    """No parts: the second task has one weight.

    Args:
        symmetry: the `Symmetry`.
        names: names of the parts.
    """

    def __init__(self, symmetry, names=()):
        self.symmetry, self.names = symmetry, tuple(names)

    def keys(self, name):
        """The keys in logs of what each part has: one, or one for each."""
        return [f"{name}_{part}" for part in self.names] or [name]

    def check_losses(self, losses):
        """Raises ValueError if a `NestedLoss` does not fit the parts."""

    def draw_turns(self, n, seed):
        """The part that each of n samples is of, `(n,)`; None for all."""
        return None

    def turns_by_place(self, n, first):
        """The same for n samples of which `first` is the place of the first."""
        return None

    def alone(self, g, turns):
        """Of each element only what belongs to the part that it is of."""
        return g

    def share(self, num_samples):
        """How many of so many samples are of one part."""
        return num_samples

    def losses(self, loss, leaves, target, sample_weight, turns):
        """L_equi of each part, `(parts,)`, or of the whole, a scalar.

        Args:
            loss: a `NestedLoss`.
            leaves: the `Leaves` of f(phi(g) x).
            target: what it is compared with.
            sample_weight: as for Keras.
            turns: of `draw_turns`.
        """
        weights = leaves.sample_weight(sample_weight)
        return loss(leaves.y_true(target), leaves.y_pred, weights)

    def total(self, losses):
        """L_equi of the whole."""
        return losses

    def measure(self, data, turns):
        """The `Norms` of outputs, or of differences of outputs.

        Args:
            data: in the structure of the outputs, 0 where it is masked.
            turns: of `draw_turns`.
        """
        whole = sample_norms(data, self.symmetry)
        return Norms(whole, whole[None], ops.ones_like(whole[None]))

    def step_measures(self, objective, equivariance, norms, sizes):
        """The `StepMeasures` of a step.

        Args:
            objective: L_obj, a scalar.
            equivariance: `losses`.
            norms: `Norms` of f(phi(g) x) - rho(g) f(x).
            sizes: `Norms` of f(x).
        """
        squares = ops.square(norms.of_parts)
        rows = [norms.of_parts, sizes.of_parts, squares, norms.members]
        rows = ops.cast(ops.stack(rows), "float32")  # (4, parts, B)
        means = ops.reshape(ops.mean(rows, axis=-1), (-1,))
        losses = [ops.reshape(a, (-1,)) for a in (objective, equivariance)]
        losses = ops.cast(ops.concatenate(losses), "float32")
        numbers = ops.stop_gradient(ops.concatenate([losses, means]))
        numbers = devices.mean_over_replicas(numbers)
        # L_obj is the one number before the five of each part.
        equivariance, *means, share = ops.unstack(
            ops.reshape(numbers[1:], (5, -1))
        )
        means = [self._of_members(mean, share) for mean in means]
        equivariance = ops.reshape(equivariance, ops.shape(means[0]))
        return StepMeasures(numbers[0], equivariance, *means)

    def _of_members(self, mean, share):
        """The mean over the members of each part, of that over all samples."""
        return mean[0]


class Norms(NamedTuple):
    """Norms of the outputs of each sample.

    Attributes:
        whole: of all outputs together, `(B,)`.
        of_parts: of each part, 0 for samples that are not of it, `(parts, B)`;
            of the whole where there are none.
        members: 1 where a sample is of a part, else 0: `(parts, B)`.
    """

    whole: Array
    of_parts: Array
    members: Array


class Outputs(Whole):
    """A part for each output of a dict."""

    def check_losses(self, losses):
        outputs = dict.fromkeys(self.names, 0.0)
        found = per_output(losses.losses, outputs, losses.names)
        missing = [name for name in self.names if found[name] is None]
        if missing:
            raise ValueError(
                f"The outputs {missing} have a tolerance and no loss. Give "
                "`compile` or `RemulModel` a loss for each of them."
            )

    def losses(self, loss, leaves, target, sample_weight, turns):
        weights = leaves.sample_weight(sample_weight)
        terms = loss.terms(leaves.y_true(target), leaves.y_pred, weights)
        return ops.stack([terms[name] for name in self.names])

    def total(self, losses):
        return ops.sum(losses)

    def measure(self, data, turns):
        zeros = keras.tree.map_structure(ops.zeros_like, data)
        norms = ops.stack(
            [
                sample_norms({**zeros, name: data[name]}, self.symmetry)
                for name in self.names
            ]
        )
        whole = sample_norms(data, self.symmetry)
        return Norms(whole, norms, ops.ones_like(norms))

    def _of_members(self, mean, share):
        return mean


class Factors(Whole):
    """A part for each factor of the group: of so many samples one."""

    def check_losses(self, losses):
        known = "sum", "sum_over_batch_size", "mean"
        for loss in keras.tree.flatten(losses.losses):
            if loss is not None and loss.reduction not in known:
                raise ValueError(
                    "With a tolerance for each factor of the group, the "
                    f"reduction of a loss must be one of {known}. Received: "
                    f"reduction={loss.reduction!r} of {loss.name!r}"
                )

    def draw_turns(self, n, seed):
        first = keras.random.randint((), 0, len(self.names), seed=seed)
        return self.turns_by_place(n, first)

    def turns_by_place(self, n, first):
        first = ops.cast(first, "int32")
        return ops.mod(first + ops.arange(n, dtype="int32"), len(self.names))

    def alone(self, g, turns):
        still = self.symmetry.group.identity(ops.shape(turns)[0])
        return {
            name: keras.tree.map_structure(
                functools.partial(_choose, ops.equal(turns, i)),
                g[name],
                still[name],
            )
            for i, name in enumerate(self.names)
        }

    def share(self, num_samples):
        return num_samples // len(self.names)

    def losses(self, loss, leaves, target, sample_weight, turns):
        weights = leaves.sample_weight(sample_weight)
        y_true, y_pred = leaves.y_true(target), leaves.y_pred
        terms = []
        for i in range(len(self.names)):
            mine = ops.cast(ops.equal(turns, i), keras.config.floatx())
            share = ops.maximum(ops.mean(mine), 1e-6)
            mine = leaves.sample_weight(mine)
            if weights is not None:
                mine = leafwise(_times, mine, weights)
            terms.append(loss(y_true, y_pred, mine) / share)
        return ops.stack(terms)

    def total(self, losses):
        return ops.mean(losses)

    def measure(self, data, turns):
        whole = sample_norms(data, self.symmetry)
        numbers = ops.arange(len(self.names), dtype="int32")
        members = ops.equal(numbers[:, None], turns)
        members = ops.cast(members, whole.dtype)
        return Norms(whole, whole[None] * members, members)

    def _of_members(self, mean, share):
        # A small batch may have no sample of a part.
        return ops.where(share > 0, mean / ops.maximum(share, 1e-6), -1.0)


def _choose(mine, moved, still):
    """`moved` where it is `mine`, `(n,)`, else `still`."""
    mine = ops.reshape(mine, (-1,) + (1,) * (len(moved.shape) - 1))
    return ops.where(mine, moved, ops.cast(still, moved.dtype))


def _times(mine, weight):
    return mine if weight is None else mine * weight
