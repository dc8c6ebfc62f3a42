"""Callbacks."""

from __future__ import annotations

import warnings
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_remul.evaluation import evaluate_equivariance
from keras_remul.symmetry import Symmetry
from keras_remul.utils.arguments import at_least, checked
from keras_remul.utils.leaves import NotFiniteError, count_samples
from keras_remul.utils.typing import Tree


class EquivarianceError(keras.callbacks.Callback):
    """Logs the equivariance error of any Keras model after each epoch.

    Adds `equivariance_error` (E'), `relative_equivariance_error` and
    `orbit_variance` to the logs. The history, the progress bar and the
    callbacks *after* this one in the list see them. So put it before
    `EarlyStopping` and similar callbacks, and give these `mode="min"`, since
    Keras does not know that smaller is better. Unlike the metric that
    `RemulModel` logs, it also works with plain models, and draws several g per
    input. See `evaluate_equivariance` for the measures.

    The callback does not change the training: it restores the states of random
    generators and other variables of the model. If the outputs of the model are
    NaN or infinite, the figures are NaN, with a warning.

    Args:
        x: inputs, in the structure of `symmetry.inputs`.
        symmetry: the `Symmetry` to test.
        num_samples: elements g per input, at least 2. Defaults to 4.
        seed: integer seed; the same g are drawn at each epoch. Defaults to 0.
        batch_size: inputs per forward pass. Defaults to 256.
        prefix: prefix of the names. Defaults to `"val_"`.

    Raises:
        ValueError: x does not fit the symmetry, or `num_samples` < 2.

    Example:

    >>> model.fit(x, y, callbacks=[EquivarianceError(x_valid, symmetry)])
    """

    @checked(num_samples=at_least(2), seed=at_least(0))
    def __init__(
        self,
        x: Tree,
        symmetry: Symmetry,
        num_samples: int = 4,
        seed: int = 0,
        batch_size: int = 256,
        prefix: str = "val_",
    ) -> None:
        super().__init__()
        if not isinstance(symmetry, Symmetry):
            raise ValueError(
                "Argument `symmetry` must be a Symmetry. Received: "
                f"symmetry={symmetry!r}"
            )
        symmetry.check_inputs(x)
        count_samples(x)
        self.x = x
        self.symmetry = symmetry
        self.num_samples = num_samples
        self.seed = seed
        self.batch_size = batch_size
        self.prefix = prefix

    def on_epoch_end(
        self, epoch: int, logs: dict[str, Any] | None = None
    ) -> None:
        variables = self.model.non_trainable_variables
        before = [np.array(ops.convert_to_numpy(v)) for v in variables]
        try:
            result = evaluate_equivariance(
                self.model,
                self.x,
                self.symmetry,
                num_samples=self.num_samples,
                seed=self.seed,
                batch_size=self.batch_size,
            )
        except NotFiniteError as error:
            warnings.warn(f"Epoch {epoch + 1}: {error}", stacklevel=2)
            nan = float("nan")
            result = {
                "equivariance_error": nan,
                "relative_equivariance_error": nan,
            }
            result["orbit_variance"] = nan
        finally:
            for variable, value in zip(variables, before, strict=True):
                variable.assign(value)
        logs = {} if logs is None else logs
        for name, key in (
            ("equivariance_error", "equivariance_error"),
            ("relative_equivariance_error", "relative_equivariance_error"),
            ("orbit_variance", "orbit_variance"),
        ):
            logs[self.prefix + name] = result[key]
