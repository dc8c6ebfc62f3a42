"""Callbacks."""

import keras

from keras_remul.evaluation import evaluate_equivariance


class EquivarianceError(keras.callbacks.Callback):
    """Logs the equivariance error of any Keras model after each epoch.

    Adds `equivariance_error` (E'), `relative_equivariance_error` and
    `orbit_variance` to the logs, so that other callbacks that come after this
    one, the history and the progress bar see them. Unlike the metric that
    `RemulModel` logs, it serves plain models too, and draws several g per
    input. See `evaluate_equivariance` for the measures.

    Args:
        x: inputs, in the structure of `symmetry.inputs`.
        symmetry: the `Symmetry` to test.
        samples: elements g per input. Defaults to 4.
        seed: integer seed; the same g are drawn at each epoch. Defaults to 0.
        batch_size: inputs per forward pass. Defaults to 256.
        prefix: put before the names. Defaults to `"val_"`.

    Example:

    >>> model.fit(x, y, callbacks=[EquivarianceError(x_valid, symmetry)])
    """

    def __init__(
        self, x, symmetry, samples=4, seed=0, batch_size=256, prefix="val_"
    ):
        super().__init__()
        symmetry.check_inputs(x)
        self.x = x
        self.symmetry = symmetry
        self.samples = samples
        self.seed = seed
        self.batch_size = batch_size
        self.prefix = prefix

    def on_epoch_end(self, epoch, logs=None):
        result = evaluate_equivariance(
            self.model,
            self.x,
            self.symmetry,
            samples=self.samples,
            seed=self.seed,
            batch_size=self.batch_size,
        )
        logs = {} if logs is None else logs
        logs[f"{self.prefix}equivariance_error"] = result["error"]
        logs[f"{self.prefix}relative_equivariance_error"] = result[
            "relative_error"
        ]
        logs[f"{self.prefix}orbit_variance"] = result["orbit_variance"]
