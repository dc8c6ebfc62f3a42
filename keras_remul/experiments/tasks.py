"""What a recipe learns: states of nodes, energies and forces, or tags."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras

from keras_remul import datasets
from keras_remul.evaluation.tagging import are_tags
from keras_remul.experiments.batches import Shuffled, ShuffledBySize
from keras_remul.models import Correction, OnSkeleton, Potential
from keras_remul.models.linear import ridge
from keras_remul.utils.typing import Tree

if TYPE_CHECKING:
    from keras_remul.symmetry import Symmetry
    from keras_remul.training.remul_model import RemulModel


FITTED = ("train", "validation")  # what a regression is fitted to
# Arrays of atoms that a potential is trained on: (S, N, ...).
ATOMS = ("positions", "atomic_numbers", "mask", "forces")


class NextState:
    """New positions of nodes, by their mean squared error, with AdamW.

    In a `models.Correction`, a regression made by `ridge.make` is fitted first,
    to what it sees where that is in a `models.OnSkeleton`.
    """

    monitor, words = "val_mse", "validation MSE"

    def __repr__(self):
        return f"{type(self).__name__}()"

    def symmetry(self, recipe: Any, model: keras.Model) -> Symmetry:
        """The `Symmetry` of a recipe that names none.

        Args:
            recipe: the `Recipe`.
            model: its model.
        """
        return datasets.symmetry(recipe.dataset)

    def adapt(self, model: keras.Model, data: dict[str, Any]) -> None:
        """Sets from the data what is not trained, before the first step.

        Args:
            model: the model of the recipe.
            data: dict of splits to (x, y).
        """
        if isinstance(model, OnSkeleton):
            seen = {key: model.seen(*data[key]) for key in FITTED}
            self.adapt(model.model, seen)
        if isinstance(model, Correction):
            ridge.fit(model.start, data["train"], data["validation"])
            model.adapt(*data["train"])

    def batches(
        self, recipe: Any, model: keras.Model, x: Tree, y: Tree
    ) -> Shuffled:
        """The `Shuffled` batches of a split.

        Args:
            recipe: the `Recipe`.
            model: its model.
            x, y: arrays of the split.
        """
        return Shuffled(x, y, recipe)

    def validation(
        self, recipe: Any, model: keras.Model, x: Tree, y: Tree
    ) -> Any:
        """`validation_data` of `fit`, arrays or batches.

        Args:
            recipe, model, x, y: as for `batches`.
        """
        return x, y

    def compile(
        self,
        remul: RemulModel,
        rate: keras.optimizers.schedules.LearningRateSchedule,
        weight_decay: float,
    ) -> None:
        """Compiles a `RemulModel`.

        Args:
            remul: the `RemulModel`.
            rate: schedule of the learning rate.
            weight_decay: that of the recipe.
        """
        remul.compile(
            keras.optimizers.AdamW(rate, weight_decay=weight_decay),
            loss="mse",
            metrics=[keras.metrics.MeanSquaredError("mse")],
        )

    def validated(self, history: dict[str, list[float]]) -> dict[str, float]:
        """Figures of the best epoch on validation data.

        Args:
            history: dict of names to lists, one value for each epoch.
        """
        return {"validation_mse": min(history[self.monitor])}


class EnergiesAndForces(NextState):
    """Energies per atom and forces.

    The model is a `models.Potential`, which is adapted to the training data;
    reference energies are taken out of the labels. In units of eV and
    Angstrom the error of energies weighs ten times as much as that of forces,
    a squared one a hundred times. Molecules of about the same size share a
    batch.

    Args:
        loss: `"mae"`, mean absolute errors, with Muon; or `"mse"`, mean squared
            errors, with Adam, for networks that stay where all forces are near
            zero under the first. Defaults to `"mae"`.

    Raises:
        ValueError: the loss is another one.
    """

    monitor, words = "val_forces_mae", "validation MAE of forces"

    def __init__(self, loss: str = "mae") -> None:
        if loss not in ("mae", "mse"):
            raise ValueError(
                "Argument `loss` must be 'mae' or 'mse'. Received: "
                f"loss={loss!r}"
            )
        self.loss = loss

    def __repr__(self):
        loss = "" if self.loss == "mae" else f"loss={self.loss!r}"
        return f"{type(self).__name__}({loss})"

    def symmetry(self, recipe: Any, model: keras.Model) -> Symmetry:
        _check_potential(model)
        return model.make_symmetry(datasets.symmetry(recipe.dataset).inputs)

    def adapt(self, model: keras.Model, data: dict[str, Any]) -> None:
        _check_potential(model)
        model.adapt(*data["train"])

    def batches(
        self, recipe: Any, model: keras.Model, x: Tree, y: Tree
    ) -> Shuffled:
        y = model.targets(x, y)
        if "mask" not in x:
            return Shuffled(x, y, recipe)
        return ShuffledBySize(x, y, recipe, ATOMS)

    def validation(
        self, recipe: Any, model: keras.Model, x: Tree, y: Tree
    ) -> Any:
        return self.batches(recipe.replace(passes=1), model, x, y)

    def compile(
        self,
        remul: RemulModel,
        rate: keras.optimizers.schedules.LearningRateSchedule,
        weight_decay: float,
    ) -> None:
        if self.loss == "mae":
            weight, optimizer = 10.0, _muon(rate, weight_decay)
        else:
            weight = 100.0
            optimizer = keras.optimizers.AdamW(
                rate, weight_decay=weight_decay, global_clipnorm=10.0
            )
        remul.compile(
            optimizer,
            loss={"energy_per_atom": self.loss, "forces": self.loss},
            loss_weights={"energy_per_atom": weight, "forces": 1.0},
            metrics={
                key: keras.metrics.MeanAbsoluteError("mae")
                for key in ("energy_per_atom", "forces")
            },
        )

    def validated(self, history: dict[str, list[float]]) -> dict[str, float]:
        return {}  # they are measured, in other units


class Tagging(NextState):
    """Signal or background, by cross-entropy from one logit, with Muon.

    Labels are 1 and 0. The best epoch is that of the smallest cross-entropy on
    validation data, which scatters less than the area under the ROC curve.
    """

    monitor, words = "val_loss", "validation cross-entropy"

    def batches(
        self, recipe: Any, model: keras.Model, x: Tree, y: Tree
    ) -> Shuffled:
        if recipe.ridge or recipe.aligned or recipe.unused:
            raise ValueError(
                "A recipe of tagging has neither `ridge`, nor `aligned`, nor "
                "`unused`. "
                f"Received: ridge={recipe.ridge}, aligned={recipe.aligned}, "
                f"unused={recipe.unused!r}"
            )
        if not are_tags(y):
            raise ValueError(
                "Expected a recipe of tagging to have data with a label 0 or 1 "
                f"for each sample. Received: {recipe.dataset}"
            )
        return super().batches(recipe, model, x, y)

    def compile(
        self,
        remul: RemulModel,
        rate: keras.optimizers.schedules.LearningRateSchedule,
        weight_decay: float,
    ) -> None:
        remul.compile(
            _muon(rate, weight_decay),
            loss=keras.losses.BinaryCrossentropy(from_logits=True),
        )

    def validated(self, history: dict[str, list[float]]) -> dict[str, float]:
        return {"validation_loss": min(history[self.monitor])}


def _muon(rate, weight_decay):
    return keras.optimizers.Muon(
        rate,
        adam_lr_ratio=0.5,
        exclude_layers=["head"],
        weight_decay=weight_decay,
        adam_weight_decay=weight_decay,
        global_clipnorm=1.0,
    )


def _check_potential(model):
    if not isinstance(model, Potential):
        raise ValueError(
            "Expected a recipe of energies and forces to have a "
            f"models.Potential. Received: {type(model).__name__}"
        )
