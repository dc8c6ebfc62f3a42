"""How a classifier fares on moved inputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_remul.evaluation.orbit import as_function, walk_orbit
from keras_remul.utils.leaves import NotFiniteError, count_samples
from keras_remul.utils.typing import ArrayLike, Tree
from keras_remul.utils.validation import check_count

if TYPE_CHECKING:
    import keras

    from keras_remul.symmetry import Symmetry


def evaluate_classifier(
    model: keras.Model | Callable[..., Any],
    x: Tree,
    symmetry: Symmetry,
    y: ArrayLike | None = None,
    num_samples: int = 20,
    seed: int = 0,
    batch_size: int = 256,
) -> dict[str, float]:
    """Measures how often a classifier changes its mind when x is moved by g.

    The class of x is that of the largest output. With M = `num_samples`
    elements g per input:

        agreement              share of (x, g) where phi(g) x has the class of x
        accuracy               share of right classes of x, as given
        moved_accuracy         share of right classes of phi(g) x
        symmetrized_accuracy   share of right classes of the mean over g of the
                               outputs, which is what `symmetrize` gives

    If all elements of a finite group are used, the identity is one of them,
    and agrees always.

    Args:
        model: a Keras model (of a `RemulModel`, the model inside), or a
            function from arrays to arrays or tensors. It has one output, logits
            or probabilities `(B, classes)`.
        x: inputs, NumPy arrays in the structure of `symmetry.inputs`.
        symmetry: the `Symmetry` to test.
        y: the classes: integers `(B,)` or `(B, 1)`, or one-hot
            `(B, classes)`. Optional.
        num_samples: M, elements g per input, at least 2. If a finite group has
            no more than M elements, all are used, and the shares are exact.
            Defaults to 20.
        seed: integer seed of the draws. Defaults to 0.
        batch_size: inputs per forward pass. Defaults to 256.

    Returns:
        Dictionary of floats between 0 and 1: `agreement`, and with y also
        `accuracy`, `moved_accuracy` and `symmetrized_accuracy`.

    Raises:
        ValueError: x or y do not fit the model or the symmetry, the outputs are
            not `(B, classes)` with two classes or more, or hold NaN, or
            `num_samples` < 2.

    Example:

    >>> evaluate_classifier(model, x_test, symmetry, y_test)["agreement"]
    0.981
    """
    num_samples = check_count("num_samples", num_samples, least=2)
    symmetry.check_inputs(x)
    f = as_function(model, batch_size)
    outputs = _scores(f(x), count_samples(x))
    of_x = outputs.argmax(-1)
    labels = None if y is None else _labels(y, outputs.shape)
    agreement, right, total, count = 0.0, 0.0, np.zeros_like(outputs), 0
    for _, _, back in walk_orbit(f, x, symmetry, num_samples, seed):
        back = _scores(back, len(outputs))
        classes = back.argmax(-1)
        agreement += np.mean(classes == of_x)
        if labels is not None:
            right += np.mean(classes == labels)
        total += back
        count += 1
    figures = {"agreement": float(agreement / count)}
    if labels is not None:
        figures["accuracy"] = float(np.mean(of_x == labels))
        figures["moved_accuracy"] = float(right / count)
        averaged = total.argmax(-1)
        figures["symmetrized_accuracy"] = float(np.mean(averaged == labels))
    return figures


def _scores(outputs, n):
    """The outputs `(B, classes)`, float64, or an error."""
    shape = getattr(outputs, "shape", type(outputs).__name__)
    if not isinstance(outputs, np.ndarray) or (
        outputs.ndim != 2 or len(outputs) != n or outputs.shape[1] < 2
    ):
        raise ValueError(
            "The output of `model` must be one array (batch, classes) with two "
            f"classes or more, for {n} inputs. Received: {shape}"
        )
    if not np.isfinite(outputs).all():
        raise NotFiniteError(
            "The outputs of `model` hold NaN or infinite numbers."
        )
    return outputs.astype("float64")


def _labels(y, shape):
    """Classes `(B,)` from integers or one-hot rows."""
    y, (n, classes) = np.asarray(y), shape
    if (
        y.shape == shape
        and ((y == 0) | (y == 1)).all()
        and (y.sum(-1) == 1).all()
    ):
        return y.argmax(-1)
    if y.shape in ((n,), (n, 1)) and (
        y.dtype.kind in "iu" and 0 <= y.min() and y.max() < classes
    ):
        return y.reshape(n)
    raise ValueError(
        f"Argument `y` must hold {n} integers from 0 to {classes - 1}, or "
        f"one-hot rows {shape}. Received: shape {y.shape}, dtype {y.dtype}"
    )
