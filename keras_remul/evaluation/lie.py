"""The Lie derivative: equivariance at the identity of the group."""

import keras
import numpy as np
from keras import ops

from keras_remul import backend, groups
from keras_remul.evaluation.leaves import to_numpy
from keras_remul.metrics import centred, sample_norms


def lie_derivative(
    model, x, symmetry, generators=None, batch_size=256, per_sample=False
):
    """Measures how f leaves equivariance under infinitesimal g.

    L_A f(x) = d/dt rho(exp(-t A)) f(phi(exp(t A)) x)  at t = 0

    for each generator A of the group; it is zero for all A and x exactly where
    f is equivariant to the part of the group that is connected to the
    identity. Reflections and finite groups are out of its reach: see
    `evaluate_equivariance`. There is no sampling and no step size: one pass in
    forward mode gives the derivative along one generator.

        <name of A>   mean_x ||L_A f(x)||, in units of f per radian for
                      rotations, per unit of length for translations
        total         mean_x (sum_A ||L_A f(x)||^2)^(1/2)
        relative      total / mean_x ||f(x)||, positions taken from the centre
                      of their nodes

    Args:
        model: a Keras model (of a `RemulModel`, the wrapped model counts), or
            a function made of `keras.ops`. It is called with
            `training=False`.
        x: inputs, arrays in the structure of `symmetry.inputs`.
        symmetry: the `Symmetry` to test.
        generators: dict of names to matrices A `(m, m)`, for directions of
            your own. Defaults to `symmetry.group.generators()`.
        batch_size: inputs per pass. Defaults to 256.
        per_sample: return arrays `(B,)`, one value per input, in place of
            their means. Defaults to False.

    Returns:
        Dictionary of floats: one for each generator (`"rotation_x"`,
        `"translation_y"`, ...), `"total"` and `"relative"`.

    Raises:
        ValueError: where x does not fit the symmetry, where the group has no
            generators, or where `model` leaves the backend's tensors.

    Example:

    >>> lie_derivative(model, x_test, symmetry)
    {'rotation_x': 0.21, 'rotation_y': 0.02, 'rotation_z': 0.19, ...}

    Reference: Gruver et al., "The Lie derivative for measuring learned
    equivariance", arXiv 2210.02984.
    """
    symmetry.check_inputs(x)
    f = _differentiable(model)
    if generators is None:
        directions = _directions(symmetry.group)
    else:
        directions = {
            name: (None, _checked(name, matrix, symmetry.group))
            for name, matrix in generators.items()
        }
    if not directions:
        raise ValueError(
            f"{symmetry.group!r} has no element close to the identity, so "
            "there is no Lie derivative. Use `evaluate_equivariance`."
        )
    norms = {name: [] for name in directions}
    outputs = []
    n = len(keras.tree.flatten(x)[0])
    for start in range(0, n, batch_size):
        part = slice(start, start + batch_size)
        batch = keras.tree.map_structure(
            lambda a, part=part: ops.convert_to_tensor(a[part]), x
        )
        mask = symmetry.get_mask(batch)
        output = f(batch)
        _check_tensors(output)
        symmetry.check_outputs(output, name="f(x)")
        relative = centred(output, symmetry, mask)
        scale = sample_norms(relative, symmetry, mask)
        outputs.append(to_numpy(scale))
        for name, (factor, matrix) in directions.items():
            tangent = _derivative(f, batch, symmetry, mask, factor, matrix)
            size = sample_norms(tangent, symmetry, mask)
            norms[name].append(to_numpy(size))
    values = {name: np.concatenate(parts) for name, parts in norms.items()}
    values["total"] = np.sqrt(sum(v**2 for v in values.values()))
    scale = np.concatenate(outputs).mean()
    values["relative"] = values["total"] / (scale if scale else np.nan)
    if per_sample:
        return values
    return {name: float(value.mean()) for name, value in values.items()}


def _derivative(f, x, symmetry, mask, factor, matrix):
    """L_A f(x), in the structure of the outputs.

    The derivative at t = 0 is the same for all curves with the velocity A: 1 +
    t A serves as well as exp(t A).
    """
    n = len(keras.tree.flatten(x)[0])
    identity = symmetry.group.identity(n)

    def curve(t):
        def element(t):
            if factor is None:
                return identity + t * matrix
            return {**identity, factor: identity[factor] + t * matrix}

        of_moved = f(symmetry.transform_inputs(element(t), x))
        return symmetry.transform_outputs(element(-t), of_moved, mask)

    zero = ops.zeros((), keras.config.floatx())
    matrix = ops.convert_to_tensor(matrix, zero.dtype)
    _, tangent = backend.jvp(curve, (zero,), (ops.ones_like(zero),))
    return tangent


def _directions(group):
    """Name -> (factor of a product or None, matrix)."""
    if not isinstance(group, groups.Product):
        return {name: (None, a) for name, a in group.generators().items()}
    return {
        f"{factor}_{name}": (factor, matrix)
        for factor, one in group.factors.items()
        for name, matrix in one.generators().items()
    }


def _checked(name, matrix, group):
    m = group.matrix_size
    if np.shape(matrix) != (m, m):
        raise ValueError(
            f"Argument `generators`: {name!r} must be a matrix of shape "
            f"({m}, {m}) for {group!r}. Received: shape {np.shape(matrix)}"
        )
    return matrix


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
