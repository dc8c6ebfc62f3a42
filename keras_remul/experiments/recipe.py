"""Recipes: trainings that can be repeated, killed and resumed."""

import dataclasses
import pathlib
from collections.abc import Callable

from keras_remul.experiments import runs, same_run
from keras_remul.experiments import settings as recipe_settings
from keras_remul.training import weighting
from keras_remul.utils import atomic


@dataclasses.dataclass(frozen=True)
class Recipe:
    """One training: data, model, objective, budget.

    AdamW with a cosine schedule, which a twentieth of the steps warms up, and
    the mean squared error. Trained in blocks of epochs; after each, weights
    and history are on disk, and a run that was killed goes on from there with
    the same numbers as if it had not been (but for dropout on PyTorch, which
    draws from a generator that is not saved). Each file has its sha256: where
    one of the last block is damaged, the run goes on from the block before.
    The result is that of the block after which the validation error was
    smallest.

    Attributes:
        dataset: name for `datasets.load`.
        model: function without arguments that makes the model. A
            `models.Correction` of a regression that `ridge.make` made has that
            fitted first.
        objective: function without arguments that makes the arguments of
            `RemulModel`, such as its weighting.
        symmetry: function without arguments that makes the `Symmetry` of the
            training and the evaluation. Defaults to that of the data set.
        epochs, batch_size, learning_rate, weight_decay: the budget.
        passes: over the training data, in each epoch; more than one where the
            data are few.
        seed: of the weights, the order of the samples and g.
        block: epochs between two checkpoints.
        beta: weight of the equivariance task, in place of the weighting of
            `objective`. Defaults to None: that of `objective`.
        tolerance: the equivariance error asked for, see
            `weighting.Constrained`, likewise.
        ridge: whether the network is averaged with ridge regression after the
            training, see `blend_with_ridge`. Defaults to False.
        moved_by: function without arguments that makes a dict from names to
            further symmetries: the test data are also moved by their groups.

    Raises:
        ValueError: for a number of the budget that is out of its range, or
            for `beta` and `tolerance` at once.
    """

    dataset: str
    model: Callable
    objective: Callable
    symmetry: Callable | None = None
    epochs: int = 300
    batch_size: int = 100
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    passes: int = 1
    seed: int = 0
    block: int = 10
    beta: float | None = None
    tolerance: float | None = None
    ridge: bool = False
    moved_by: Callable = dict

    def __post_init__(self):
        for name, value in recipe_settings.plain(self).items():
            object.__setattr__(self, name, value)
        recipe_settings.check(self)

    def replace(self, **changes):
        """The recipe with other values; text is converted to the field's type.

        Raises:
            ValueError: for a name that is no field, or is a function; for a
                value out of its range.
        """
        changes = recipe_settings.from_text(self, changes)
        return dataclasses.replace(self, **changes)

    def run(self, output, data_dir=None, verbose="auto", callbacks=()):
        """Trains, or goes on with, or shows what is done.

        Args:
            output: folder for the last and the best checkpoint,
                `history.json` and `history.csv`, `preset/` and `result.json`.
                One process at a time works in it.
            data_dir: folder of the data sets, see `datasets.load`.
            verbose: 0 prints nothing, 1 the bars of Keras, 2 a line per block.
                Defaults to `"auto"`: 1 on a terminal, else 2.
            callbacks: Keras callbacks, such as `keras.callbacks.TensorBoard`,
                for the one `fit` of the run. What they write to the logs is
                not kept in its history.

        Returns:
            The content of `result.json`. A figure that is no number, such as
            a ratio to zero, is None.

        Raises:
            ValueError: where `output` holds a run of another recipe or of
                other data, or one of which cannot be told whether it is this
                one; where a file of it is damaged and no block before is
                whole; where something else stands at the place of a file or
                of the preset; where data or weights hold NaN before the
                training, or it diverges, or a callback stops it.
            OSError: where the folder cannot be written, or another process
                works in it, `same_run.InUseError`.
        """
        output = pathlib.Path(output)
        atomic.make_folder(output)
        with same_run.locked(output):
            return runs.run(self, output, data_dir, verbose, callbacks)

    def arguments(self):
        """The arguments of `RemulModel`, but for model, symmetry and seed."""
        arguments = self.objective()
        if self.beta is not None:
            arguments["weighting"] = weighting.Constant(beta=self.beta)
        if self.tolerance is not None:
            arguments["weighting"] = weighting.Constrained(self.tolerance)
        return arguments
