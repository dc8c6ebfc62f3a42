"""The Lie derivative: equivariance at the identity of the group."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import ops

from keras_remul import backend, groups
from keras_remul.training.metrics import centered
from keras_remul.utils.leaves import (
    Leaves,
    count_samples,
    nest,
    sums,
    to_numpy,
    widened,
)
from keras_remul.utils.typing import Tree

if TYPE_CHECKING:
    from keras_remul.symmetry import Symmetry


_SUMMARIES = {"total", "relative"}


def lie_derivative(
    model: keras.Model | Callable[..., Any],
    x: Tree,
    symmetry: Symmetry,
    generators: dict[str, Any] | None = None,
    batch_size: int = 256,
    per_sample: bool = False,
) -> dict[str, Any]:
    """Measures how far f is from equivariant under infinitesimal g.

    L_A f(x) = d/dt rho(exp(-t A)) f(phi(exp(t A)) x)  at t = 0

    for each generator A of the group; it is zero for all A and x exactly where
    f is equivariant to the part of the group that is connected to the
    identity. It says nothing about reflections and finite groups; for these use
    `evaluate_equivariance`. There is no sampling and no step size: one pass in
    forward mode gives the derivative along one generator.

        <name of A>   mean_x ||L_A f(x)||, in units of f per radian for
                      rotations, per unit of length for translations
        total         mean_x (sum_A ||L_A f(x)||^2)^(1/2)
        relative      total / mean_x ||f(x)||, positions taken from the center
                      of their nodes

    Args:
        model: a Keras model (of a `RemulModel`, the model inside), or
            a function made of `keras.ops`. It is called with
            `training=False`.
        x: inputs, arrays in the structure of `symmetry.inputs`.
        symmetry: the `Symmetry` to test.
        generators: dict of names to matrices A `(m, m)`, for your own
            directions; for a `Product`, dicts of factors to matrices. Defaults
            to `symmetry.group.generators()`, of a product those of its factors.
        batch_size: inputs per pass. Defaults to 256.
        per_sample: return arrays `(B,)`, one value per input, instead of their
            means. Defaults to False.

    Returns:
        Dictionary of floats: one for each generator (`"rotation_x"`,
        `"translation_y"`, `"space_rotation_x"` of a factor "space"),
        `"total"` and `"relative"`, NaN where f(x) is zero.

    Raises:
        ValueError: x does not fit the symmetry; the group has no generators;
            `model` does not return tensors of the backend; or f(x) or the
            derivative holds NaN or infinite numbers.

    Example:

    >>> lie_derivative(model, x_test, symmetry)
    {'rotation_x': 0.21, 'rotation_y': 0.02, 'rotation_z': 0.19, ...}

    Reference: Gruver et al., "The Lie derivative for measuring learned
    equivariance", arXiv 2210.02984.
    """
    symmetry.check_inputs(x)
    n = count_samples(x)
    x = keras.tree.map_structure(_widened, to_numpy(x))
    f = _differentiable(model)
    directions = _directions(symmetry.group)
    if generators is not None:
        directions = {
            name: _checked(name, matrix, symmetry.group)
            for name, matrix in generators.items()
        }
    if not directions:
        raise ValueError(
            f"{symmetry.group!r} has no element close to the identity, so "
            "there is no Lie derivative. Use `evaluate_equivariance`."
        )
    for name in _SUMMARIES & set(directions):
        raise ValueError(
            f"A generator must not be named {name!r}: the result has a figure "
            "of this name."
        )
    values = {name: [] for name in directions}
    sizes = []
    derivative = _derivative(f, symmetry, list(directions.values()))
    basis = np.eye(len(directions))
    for start in range(0, n, batch_size):
        part = slice(start, start + batch_size)
        batch = keras.tree.map_structure(
            lambda a, part=part: ops.convert_to_tensor(a[part]), x
        )
        mask = symmetry.get_mask(batch)
        leaves = Leaves(symmetry, mask)
        output = f(batch)
        _check_tensors(output)
        symmetry.check_outputs(output, name="f(x)", mask=mask)
        of_x = leaves.outputs(output, "f(x)")
        relative = centered(nest(symmetry.outputs, of_x), symmetry, mask)
        sizes.append(_norms(leaves.outputs(relative, "f(x)")))
        for name, unit in zip(directions, basis, strict=True):
            tangent = derivative(unit, batch)
            tangent = leaves.outputs(tangent, f"the derivative {name!r} of f")
            values[name].append(_norms(tangent))
    values = {name: np.concatenate(parts) for name, parts in values.items()}
    values["total"] = np.sqrt(sum(v**2 for v in values.values()))
    scale = np.concatenate(sizes).mean()
    values["relative"] = values["total"] / (scale if scale else np.nan)
    if per_sample:
        return values
    return {name: float(value.mean()) for name, value in values.items()}


def _widened(leaf):
    """Floating-point leaves in float32 at least; integers unchanged."""
    return (
        widened(leaf) if keras.backend.is_float_dtype(leaf.dtype.name) else leaf
    )


def _norms(leaves):
    return np.sqrt(sum(sums(leaf**2) for leaf in leaves.values()))


def _derivative(f, symmetry, velocities):
    """Function of the direction and x: L_A f(x), like the outputs.

    The derivative at t = 0 is the same for all curves with the velocity A, so 1
    + t A can be used instead of exp(t A).
    """

    def curve(t, x):
        def element(sign):
            g = symmetry.group.identity(len(keras.tree.flatten(x)[0]))
            for i, velocity in enumerate(velocities):
                g = _along(g, velocity, sign * t[i])
            return g

        of_moved = f(symmetry.transform_inputs(element(1), x))
        mask = symmetry.get_mask(x)
        return symmetry.transform_outputs(element(-1), of_moved, mask)

    derivative = backend.jvp(curve)
    floatx = keras.config.floatx()
    zeros = ops.zeros((len(velocities),), floatx)
    return lambda unit, x: derivative(
        zeros, ops.convert_to_tensor(unit, floatx), x
    )


def _along(g, velocity, t):
    """g + t A; A holds some of the factors of a product."""
    if isinstance(velocity, dict):
        moved = {k: _along(g[k], v, t) for k, v in velocity.items()}
        return {**g, **moved}
    return g + t * ops.convert_to_tensor(velocity, g.dtype)


def _directions(group):
    """Name -> matrix A, under the names of the factors of a product."""
    if not isinstance(group, groups.Product):
        return group.generators()
    result = {}
    for factor, one in group.factors.items():
        for name, velocity in _directions(one).items():
            name = f"{factor}_{name}"
            if name in result:
                raise ValueError(
                    f"Two generators of {group!r} have the name {name!r}. "
                    "Rename a factor."
                )
            result[name] = {factor: velocity}
    return result


def _checked(name, velocity, group):
    if isinstance(group, groups.Product):
        if not isinstance(velocity, dict) or not (
            velocity.keys() <= group.factors.keys()
        ):
            raise ValueError(
                f"Argument `generators`: {name!r} must be a dict of factors "
                f"to matrices for {group!r}. Received: {velocity!r}"
            )
        return {
            factor: _checked(name, matrix, group.factors[factor])
            for factor, matrix in velocity.items()
        }
    m = group.matrix_size
    if np.shape(velocity) != (m, m):
        raise ValueError(
            f"Argument `generators`: {name!r} must be a matrix of shape "
            f"({m}, {m}) for {group!r}. Received: shape {np.shape(velocity)}"
        )
    return velocity


def _differentiable(model):
    if isinstance(model, keras.Model):
        return lambda x: model(x, training=False)
    return model


def _check_tensors(output):
    for leaf in keras.tree.flatten(output):
        if not ops.is_tensor(leaf):
            raise ValueError(
                "`model` must be a Keras model or a function made of "
                "`keras.ops`, since it is differentiated. Received: a "
                f"function that returns {type(leaf).__name__}"
            )
