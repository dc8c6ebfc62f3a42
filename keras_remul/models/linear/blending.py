"""A network and ridge regression, averaged."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from keras_remul.models.linear import ridge
from keras_remul.models.wrappers.ensemble import Ensemble
from keras_remul.models.wrappers.skeleton import OnSkeleton
from keras_remul.symmetry import Symmetry
from keras_remul.utils.shapes import check_same_shape

if TYPE_CHECKING:
    import keras


SHARES = np.linspace(0.0, 1.0, 21)


def blend_with_ridge(
    model: keras.Model,
    train: tuple[dict[str, np.ndarray], np.ndarray],
    validation: tuple[dict[str, np.ndarray], np.ndarray],
    symmetry: Symmetry,
) -> Ensemble:
    """The mean of a trained network and of ridge regression.

    With few samples both overfit, in different ways, so that their mean may be
    better than either. The penalty of the regression, and then the share of the
    network, are those with the smallest error on validation data. The
    regression sees its input rotated onto a reference, so that it has the
    symmetry, and with the bones that the network sees, if these have a length
    each.

    Args:
        model: trained `NodeModel` of positions, such as `Transformer`, or one
            in wrappers, such as `OnSkeleton`.
        train, validation: (x, y), with `"positions"` and `"velocities"`
            `(S, N, D)` in x, and nodes that come in a fixed order.
        symmetry: their `Symmetry`, see `ridge.make`.

    Returns:
        An `Ensemble` of `model` and the regression.

    Raises:
        ValueError: the data do not fit, see `ridge.fit`, or the predictions
            have another shape or are not finite.
    """
    regression = _fitted(model, train, validation, symmetry)
    x, y = validation
    a, b = (m.predict(x, verbose=0) for m in (model, regression))
    check_same_shape("model(x)", a, "validation[1]", y)
    if not np.isfinite(a).all():
        raise ValueError("The model predicts NaN for the validation data.")
    errors = [np.mean((s * a + (1 - s) * b - y) ** 2) for s in SHARES]
    share = float(SHARES[np.argmin(errors)])
    return Ensemble([model, regression], [share, 1.0 - share])


def _fitted(model, train, validation, symmetry) -> Any:
    """Ridge regression in the units of the network, on its skeleton."""
    skeleton, inner = None, model
    while not hasattr(inner, "length_unit") and hasattr(inner, "model"):
        if isinstance(inner, OnSkeleton) and not inner.one_size:
            skeleton = inner
        inner = inner.model
    regression = ridge.make(symmetry, inner.length_unit, inner.time_unit)
    if skeleton is None:
        ridge.fit(regression, train, validation)
        return regression
    seen = [skeleton.seen(*data) for data in (train, validation)]
    ridge.fit(regression, *seen)
    return OnSkeleton(regression, skeleton.bones, skeleton.length)
