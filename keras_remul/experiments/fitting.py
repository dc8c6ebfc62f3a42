"""The training of a recipe: Keras' `fit`, saved in blocks of epochs.

`Blocks` replaces the checkpoints of Keras, which are not written in one step,
hold no history, and cannot detect damaged files.
"""

import math
import time

import keras
import numpy as np

from keras_remul.experiments import checkpoints, same_run
from keras_remul.experiments.batches import WithUnlabeled
from keras_remul.training.checks import build_for
from keras_remul.utils import atomic


class Blocks(keras.callbacks.Callback):
    """Saves at the end of each block of epochs.

    Args:
        recipe, folder, identity, verbose: see `fit`.
        noted: the `keras.callbacks.History` of this `fit`.
        history: history of the run before this `fit`.

    Attributes:
        ends: numbers of epochs after which blocks end.
        history: history of the run, as last saved.

    Raises:
        ValueError: at the end of an epoch, if the training diverges.
    """

    def __init__(self, recipe, folder, identity, verbose, noted, history):
        super().__init__()
        self.recipe, self.folder = recipe, folder
        self.identity, self.verbose = identity, verbose
        self.noted, self.history = noted, history
        self._before_fit = history
        every = recipe.checkpoint_every
        self.ends = [*range(every, recipe.epochs, every)]
        self.ends.append(recipe.epochs)

    def on_train_begin(self, logs=None):
        self._start = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        # Not `logs`, which other callbacks may have written to.
        last = {key: values[-1] for key, values in self.noted.history.items()}
        names = "loss", self.recipe.task.monitor
        best = self.history.get("best_epoch")
        _check_converges({n: last.get(n, 0.0) for n in names}, epoch + 1, best)
        if epoch + 1 in self.ends:
            self._save()
            self._start = time.perf_counter()

    def _save(self):
        history = dict(self.history)
        history["seconds"] += time.perf_counter() - self._start
        for name, values in self.noted.history.items():
            history[name] = self._before_fit.get(name, []) + values
        # Not before: a run that never had a number leaves its folder free.
        atomic.write_json(self.folder / same_run.CONFIG, self.identity)
        self.history = checkpoints.save(
            self.model,
            self.folder,
            history,
            self.history,
            self.recipe.checkpoint_every,
            self.recipe.task.monitor,
        )
        if self.verbose == 2:
            task = self.recipe.task
            print(
                f"{self.folder.name}: epoch {len(history['loss'])} of "
                f"{self.recipe.epochs}, {task.words} "
                f"{history[task.monitor][-1]:.5f}, "
                f"{history['seconds'] / 60:.1f} min",
                flush=True,
            )


def fit(recipe, remul, data, unlabeled, folder, identity, verbose, callbacks):
    """Trains a `RemulModel`, or resumes the training in the folder.

    Args:
        recipe: the `Recipe`.
        remul: its `RemulModel`; afterwards in the state of the last epoch.
        data: dict of `"train"` and `"validation"` to (x, y).
        unlabeled: inputs without labels, or None.
        folder: `pathlib.Path` of the run.
        identity: see `same_run.identity`.
        verbose, callbacks: as for `Recipe.run`.

    Returns:
        The history of the run, as saved.

    Raises:
        ValueError: see `Recipe.run`.
    """
    task = recipe.task
    batches = task.batches(recipe, remul.model, *data["train"])
    if unlabeled is not None:
        batches = WithUnlabeled(batches, unlabeled, recipe)
    rate = _rate(recipe, recipe.epochs * len(batches))
    task.compile(remul, rate, recipe.weight_decay)
    build_for(remul, batches.x)
    remul.optimizer.build(remul.trainable_variables)
    run = same_run.digest(identity)
    history = checkpoints.last_whole(folder, run)
    if history is None:
        _check_weights(remul.model)
        history = checkpoints.begun(run)
    done, end = len(history.get("loss", [])), recipe.epochs
    if done:
        name, _ = checkpoints.names(history)
        checkpoints.load_weights(remul, folder, name, history["files"])
    if done == end:
        return history
    shuffle = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: batches.shuffle(epoch)
    )
    noted = keras.callbacks.History()
    blocks = Blocks(recipe, folder, identity, verbose, noted, history)
    remul.fit(
        batches,
        shuffle=False,  # Keras' order is another one in each process
        initial_epoch=done,
        epochs=end,
        validation_data=task.validation(
            recipe, remul.model, *data["validation"]
        ),
        validation_batch_size=500,
        validation_freq=blocks.ends,
        verbose=int(verbose == 1),
        # The others may write to the logs, and to the model that is saved.
        callbacks=[shuffle, noted, *callbacks, blocks],
    )
    done = len(blocks.history.get("loss", []))
    if done < end:
        raise ValueError(
            f"A callback stopped the training of {folder}; {done} of {end} "
            "epochs are saved. A recipe trains all of them and keeps the best: "
            "remove the callback and resume the run."
        )
    return blocks.history


def _rate(recipe, steps):
    return keras.optimizers.schedules.CosineDecay(
        0.0,
        steps,
        warmup_target=recipe.learning_rate,
        warmup_steps=steps // 20,
    )


def _check_converges(logs, epoch, best):
    """Raises ValueError if a loss is NaN or infinite."""
    for name, value in logs.items():
        if not math.isfinite(value):
            raise ValueError(
                f"The training diverged: {name} is {value} after epoch "
                f"{epoch}. Try a smaller learning_rate, and look for large "
                "numbers in the data. "
                + (
                    f"The best weights so far are those of epoch {best}; a "
                    "run with other settings needs another folder."
                    if best
                    else "There are no weights to keep."
                )
            )


def _check_weights(model):
    """Raises ValueError if a weight is not finite before the first step."""
    for variable in model.weights:
        value = keras.ops.convert_to_numpy(variable)
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            raise ValueError(
                f"The weight {variable.path} holds NaN or infinity before the "
                "first step, so the training does not begin. Look at the "
                "initializers of the model, or at the weights that it loads."
            )
