"""Assertions on equivariance that can fail, for tests of your own models."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_remul.evaluation import (
    as_function,
    conservative,
    evaluate_equivariance,
)
from keras_remul.symmetry import Symmetry
from keras_remul.utils.leaves import to_numpy
from keras_remul.utils.typing import Array, Tree


def assert_equivariant(
    model: keras.Model | Callable[..., Any],
    symmetry: Symmetry,
    x: Tree,
    tolerance: float = 1e-5,
    num_samples: int = 8,
    seed: int = 0,
    origin: Tree | None = None,
) -> None:
    """Fails unless f(phi(g) x) = rho(g) f(x) to a relative tolerance.

    Each output is tested separately, since they may differ in units and size.

    A function that always returns zeros, or that ignores its input, is
    equivariant but useless. So the assertion also fails if an output is the
    same for all samples of x, if rho(g) does not change an output that is not a
    scalar, if outputs are NaN or infinite, or if their shape changes with g.

    Args:
        model: a Keras model or a function from arrays to arrays.
        symmetry: the `Symmetry` to test.
        x: inputs, two samples or more.
        tolerance: largest relative equivariance error of each output, see
            `evaluate_equivariance`. Defaults to 1e-5, for float32.
        num_samples: elements g per input. Defaults to 8.
        seed: integer seed of the draws. Defaults to 0.
        origin: see `evaluate_equivariance`.

    Raises:
        AssertionError: the model is not equivariant; the message holds the
            figures.
        ValueError: x or the outputs do not fit the symmetry.
    """
    f = as_function(model, batch_size=256)
    _assert_not_trivial(f, symmetry, x, seed)
    results = _results(f, symmetry, x, num_samples, seed, origin)
    for representation, result in results:
        if not result["relative_equivariance_error"] <= tolerance:
            raise AssertionError(
                f"Not equivariant under {symmetry.group!r}: the output of "
                f"{representation!r} has the relative error "
                f"{result['relative_equivariance_error']:.3g} > "
                f"tolerance {tolerance:.3g} "
                f"(absolute error {result['equivariance_error']:.3g})."
            )


def assert_not_equivariant(
    model: keras.Model | Callable[..., Any],
    symmetry: Symmetry,
    x: Tree,
    at_least: float = 1e-2,
    num_samples: int = 8,
    seed: int = 0,
    origin: Tree | None = None,
) -> None:
    """Fails unless the relative error of an output is at least `at_least`.

    Args:
        model, symmetry, x, num_samples, seed, origin: as for
            `assert_equivariant`.
        at_least: smallest relative equivariance error of one of the outputs.
            Defaults to 0.01.

    Raises:
        AssertionError: the error is smaller, or outputs are NaN, infinite or
            change their shape with g.
    """
    f = as_function(model, batch_size=256)
    _outputs(f, symmetry, x, seed)
    results = _results(f, symmetry, x, num_samples, seed, origin)
    errors = [result["relative_equivariance_error"] for _, result in results]
    if not np.max(errors) >= at_least:
        raise AssertionError(
            f"Expected a model that is not equivariant under "
            f"{symmetry.group!r}, but its relative error is "
            f"{np.max(errors):.3g} < {at_least:.3g}."
        )


CONSERVATIVE = {"float32": 2e-2, "float64": 1e-4}


def assert_conservative(
    potential: keras.Model | Callable[..., Any],
    x: dict[str, Array],
    tolerance: float | None = None,
    num_samples: int = 4,
    seed: int = 0,
) -> None:
    """Fails unless the forces are the gradient of the energy.

    `F(x) = -dE/dx`, `dF_i/dx_j = dF_j/dx_i`, and, where there is a stress, `V
    stress = dE/d strain`, by central differences along random directions.

    Forces that are predicted by themselves fail, as they should, and so do
    models that are not smooth, or whose operations lack a derivative.

    Args:
        potential: a `Potential`, or a model or function whose outputs are a
            dict of `"energy"` `(B, 1)`, `"forces"` `(B, N, 3)` and, optional,
            `"stress"` `(B, 3, 3)`.
        x: inputs, dict of arrays, of atoms that feel forces.
        tolerance: largest relative error of each of the three, root mean
            squares over x and directions. Defaults to None: 1e-4 in float64,
            and 0.02 in float32, of which the energy has few digits that change.
        num_samples: directions, 2 or more. Defaults to 4.
        seed: integer seed of the directions. Defaults to 0.

    Raises:
        AssertionError: the potential is not conservative, or the outputs are
            not finite or all zero; the message holds the figures.
    """
    errors = conservative.conservation_errors(potential, x, num_samples, seed)
    dtype = errors.pop("dtype")
    if tolerance is None:
        tolerance = CONSERVATIVE[dtype]
    # Not "above": NaN, as of forces that are all zero, proves nothing.
    wrong = [key for key, e in errors.items() if not e <= tolerance]
    if wrong:
        figures = ", ".join(f"{key} = {e:.3g}" for key, e in errors.items())
        raise AssertionError(
            f"Not conservative: {figures}. Expected at most {tolerance:.3g}, "
            f"in {dtype}."
        )


def _results(f, symmetry, x, num_samples, seed, origin):
    """Each representation of the outputs, and the measures of its leaf."""

    def leaf(y, i):
        return symmetry.output_leaves(y)[i][1]

    representations = [
        representation
        for representation, _ in symmetry.output_leaves(symmetry.outputs)
    ]
    results = []
    for i, representation in enumerate(representations):
        alone = Symmetry(
            symmetry.group, symmetry.inputs, representation, symmetry.mask
        )
        result = evaluate_equivariance(
            lambda x, i=i: leaf(f(x), i),
            x,
            alone,
            num_samples=num_samples,
            seed=seed,
            origin=None if origin is None else leaf(origin, i),
        )
        results.append((representation, result))
    return results


def _outputs(f, symmetry, x, seed):
    """f(x) and g; checks that f(x) and f(phi(g) x) are finite, of one shape."""
    symmetry.check_inputs(x)
    mask = symmetry.get_mask(x)
    y = f(x)
    symmetry.check_outputs(y, name="f(x)", mask=mask)
    g = symmetry.sample(len(keras.tree.flatten(x)[0]), seed=seed)
    moved_x = to_numpy(symmetry.transform_inputs(g, x))
    pairs = zip(
        symmetry.output_leaves(y),
        symmetry.output_leaves(f(moved_x)),
        strict=True,
    )
    for (representation, at_rest), (_, moved) in pairs:
        if at_rest.shape != moved.shape:
            raise AssertionError(
                f"The output of {representation!r} has the shape "
                f"{at_rest.shape} at x and {moved.shape} at phi(g) x."
            )
        for values in (at_rest, moved):
            if not np.isfinite(
                _covered(symmetry, representation, values, mask)
            ).all():
                raise AssertionError(
                    f"The output of {representation!r} holds values that are "
                    "NaN or infinite."
                )
    return y, g


def _covered(symmetry, representation, values, mask):
    """The values as float64, without those of padding."""
    values = np.asarray(values, "float64")
    if mask is None or not symmetry.is_per_node(representation, values, mask):
        return values
    valid = np.asarray(ops.convert_to_numpy(mask), "bool")
    valid = valid.reshape(valid.shape + (1,) * (values.ndim - 2))
    return np.where(valid, values, 0.0)


def _assert_not_trivial(f, symmetry, x, seed):
    y, g = _outputs(f, symmetry, x, seed)
    mask = symmetry.get_mask(x)
    moved = to_numpy(symmetry.transform_outputs(g, y, mask))
    pairs = zip(
        symmetry.output_leaves(y), symmetry.output_leaves(moved), strict=True
    )
    for (representation, before), (_, after) in pairs:
        before, after = (
            _covered(symmetry, representation, values, mask)
            for values in (before, after)
        )
        if len(before) < 2:
            raise AssertionError("`x` must hold two samples or more.")
        size = np.abs(before).max()
        if np.ptp(before, axis=0).max() <= 1e-6 * size:
            raise AssertionError(
                f"The output of {representation!r} is the same for all samples "
                "of `x`: equivariance of a constant proves nothing."
            )
        if representation.shape(symmetry.group) == ():
            continue
        if np.abs(after - before).max() <= 1e-3 * size:
            raise AssertionError(
                f"rho(g) does not move the output of {representation!r}: the "
                "group acts trivially here, so this test could not fail."
            )
