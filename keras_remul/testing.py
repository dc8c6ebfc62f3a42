"""Assertions on equivariance that can fail, for tests of your own models."""

import keras
import numpy as np
from keras import ops

from keras_remul.evaluation import evaluate_equivariance


def assert_equivariant(
    model, symmetry, x, tolerance=1e-5, samples=8, seed=0, reference=None
):
    """Fails unless f(phi(g) x) = rho(g) f(x) to a relative tolerance.

    A function that always returns zeros, or that ignores its input, is
    equivariant in a way that proves nothing. So this also fails where the
    output is the same for all samples of x, and where it should move under g
    but does not.

    Args:
        model: a Keras model or a function from arrays to arrays.
        symmetry: the `Symmetry` to test.
        x: inputs, two samples or more.
        tolerance: largest relative error E' accepted. Defaults to 1e-5, for
            float32.
        samples: elements g per input. Defaults to 8.
        seed: integer seed of the draws. Defaults to 0.
        reference: see `evaluate_equivariance`.

    Raises:
        AssertionError: with the figures.
    """
    result = evaluate_equivariance(
        model, x, symmetry, samples=samples, seed=seed, reference=reference
    )
    _assert_not_trivial(model, symmetry, x, seed)
    if not result["relative_error"] <= tolerance:
        raise AssertionError(
            f"Not equivariant under {symmetry.group!r}: relative error "
            f"{result['relative_error']:.3g} > tolerance {tolerance:.3g} "
            f"(absolute error {result['error']:.3g})."
        )


def assert_not_equivariant(
    model, symmetry, x, at_least=1e-2, samples=8, seed=0, reference=None
):
    """Fails unless the relative error E' is `at_least` this large.

    Arguments as for `assert_equivariant`.

    Raises:
        AssertionError: with the figures.
    """
    result = evaluate_equivariance(
        model, x, symmetry, samples=samples, seed=seed, reference=reference
    )
    if not result["relative_error"] >= at_least:
        raise AssertionError(
            f"Expected a model that is not equivariant under "
            f"{symmetry.group!r}, but its relative error is "
            f"{result['relative_error']:.3g} < {at_least:.3g}."
        )


def _assert_not_trivial(model, symmetry, x, seed):
    y = keras.tree.map_structure(
        ops.convert_to_numpy,
        model.predict(x, verbose=0)
        if isinstance(model, keras.Model)
        else model(x),
    )
    mask = symmetry.get_mask(x)
    g = symmetry.sample(len(keras.tree.flatten(y)[0]), seed=seed)
    moved = symmetry.transform_outputs(g, y, mask)
    leaves = keras.tree.flatten(y)
    size = max(np.abs(leaf).max() for leaf in leaves)
    if len(leaves[0]) < 2:
        raise AssertionError("`x` must hold two samples or more.")
    if all(np.ptp(leaf, axis=0).max() <= 1e-6 * size for leaf in leaves):
        raise AssertionError(
            "The output is the same for all samples of `x`: equivariance of "
            "a constant proves nothing."
        )
    representations = keras.tree.flatten(symmetry.outputs)
    for representation, before, after in zip(
        representations, leaves, keras.tree.flatten(moved), strict=True
    ):
        if representation.shape(symmetry.group) == ():
            continue
        change = np.abs(ops.convert_to_numpy(after) - before).max()
        if change <= 1e-3 * size:
            raise AssertionError(
                f"rho(g) does not move the output of {representation!r}: the "
                "group acts trivially here, so this test could not fail."
            )
