"""Recipes: trainings that can be repeated, killed and resumed."""

import dataclasses
import pathlib
from collections.abc import Callable, Sequence
from typing import Any, Self

import keras

from keras_remul.experiments import runs, same_run
from keras_remul.experiments import settings as recipe_settings
from keras_remul.experiments.tasks import NextState
from keras_remul.training import weighting
from keras_remul.utils import atomic
from keras_remul.utils.typing import StrPath


@dataclasses.dataclass(frozen=True)
class Recipe:
    """One training: data, model, objective, budget.

    The learning rate follows a cosine, after a warm-up of a twentieth of the
    steps; optimizer and loss are those of the task. After each block
    of epochs, weights and history are saved. A run that was killed resumes from
    there, with the same numbers as an uninterrupted run (except for dropout on
    PyTorch, which draws from a generator that is not saved). The sha256 of each
    file is stored: if a file of the last block is damaged, the run resumes from
    the block before. The result is that of the block with the smallest
    validation error.

    Attributes:
        dataset: name for `datasets.load`.
        model: function without arguments that makes the model.
        objective: function without arguments that makes the arguments of
            `RemulModel`, such as its weighting.
        symmetry: function without arguments that makes the `Symmetry` of the
            training and the evaluation. Defaults to that of the task.
        task: what is learned, `tasks.NextState()`,
            `tasks.EnergiesAndForces()` or `tasks.Tagging()`. Defaults to the
            first.
        epochs, batch_size, learning_rate, weight_decay: the budget.
        passes: number of passes over the training data in each epoch; take more
            than one for small data sets.
        seed: seed of the weights, the order of the samples and g.
        validation_size: number of samples of the validation split that choose
            the epoch, the first ones: as many as a user would have. Defaults to
            None: all of them.
        unlabeled_batch_size: number of further inputs in each batch, without
            their labels, see `RemulModel.fit`: of the validation split after
            the first `validation_size`. Defaults to 0.
        checkpoint_every: number of epochs between two checkpoints, a block.
        beta: weight of the equivariance task, instead of the weighting of
            `objective`. Defaults to None: that of `objective`.
        tolerance: the required equivariance error, see `weighting.Constrained`;
            also instead of that weighting.
        aligned: whether the network is trained on samples that are rotated onto
            a reference, the group of `symmetry` being one of `Alignment`, and
            rotates its inputs so afterwards. Defaults to False.
        ridge: whether the network is averaged with ridge regression after the
            training, see `blend_with_ridge`. Defaults to False.
        moved_by: function without arguments that makes a dict from names to
            further symmetries: the test data are also transformed by elements
            of their groups.
        unused: name of a data set of the same features; the model is also
            evaluated on its test split, systems that no choice was made on.
            Defaults to None.

    Raises:
        ValueError: a number of the budget is out of range, or both `beta` and
            `tolerance` are given.
    """

    dataset: str
    model: Callable
    objective: Callable
    symmetry: Callable | None = None
    task: NextState = NextState()
    epochs: int = 300
    batch_size: int = 100
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    passes: int = 1
    seed: int = 0
    validation_size: int | None = None
    unlabeled_batch_size: int = 0
    checkpoint_every: int = 10
    beta: float | None = None
    tolerance: float | None = None
    aligned: bool = False
    ridge: bool = False
    moved_by: Callable = dict
    unused: str | None = None

    def __post_init__(self):
        for name, value in recipe_settings.plain(self).items():
            object.__setattr__(self, name, value)
        recipe_settings.check(self)

    def replace(self, **changes: Any) -> Self:
        """The recipe with other values; text is converted to the field's type.

        Args:
            **changes: fields and their values.

        Raises:
            ValueError: a name is not a field, or is that of a function; a value
                is out of range.
        """
        changes = recipe_settings.from_text(self, changes)
        return dataclasses.replace(self, **changes)

    def run(
        self,
        output: StrPath,
        data_dir: StrPath | None = None,
        verbose: str | int = "auto",
        callbacks: Sequence[keras.callbacks.Callback] = (),
    ) -> dict[str, Any]:
        """Starts the run, resumes it, or returns its result if it has ended.

        Args:
            output: folder for the last and the best checkpoint,
                `history.json` and `history.csv`, `preset/` and `result.json`.
                Only one process at a time can use it.
            data_dir: folder of the data sets, see `datasets.load`.
            verbose: 0 prints nothing, 1 the bars of Keras, 2 a line per block.
                Defaults to `"auto"`: 1 on a terminal, otherwise 2.
            callbacks: Keras callbacks, such as `keras.callbacks.TensorBoard`,
                for the `fit` of the run. Their additions to the logs are not
                kept in its history.

        Returns:
            The content of `result.json`. A figure that is not a number, such as
            a ratio to zero, is None.

        Raises:
            ValueError: `output` holds a run of another recipe or other data, or
                a run that cannot be identified; files are damaged and no
                complete block is left; something else exists at the path of a
                file or of the preset; data or weights hold NaN before the
                training; the training diverges, or a callback stops it.
            OSError: the folder cannot be written, or another process uses it
                (`same_run.InUseError`).
        """
        output = pathlib.Path(output)
        atomic.make_folder(output)
        with same_run.locked(output):
            return runs.run(self, output, data_dir, verbose, callbacks)

    def arguments(self) -> dict[str, Any]:
        """The arguments of `RemulModel` except model, symmetry and seed."""
        arguments = self.objective()
        if self.beta is not None:
            arguments["weighting"] = weighting.Constant(beta=self.beta)
        if self.tolerance is not None:
            arguments["weighting"] = weighting.Constrained(self.tolerance)
        return arguments
