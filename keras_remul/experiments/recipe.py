"""Recipes: trainings that can be repeated, killed and resumed."""

import dataclasses
import math
import os
import pathlib
import platform
import random
import sys
import time
import warnings
from collections.abc import Callable

import keras
import numpy as np

from keras_remul import datasets
from keras_remul.evaluation import evaluate_equivariance
from keras_remul.experiments import checkpoints, same_run
from keras_remul.experiments import settings as recipe_settings
from keras_remul.models import Correction
from keras_remul.models.linear import ridge
from keras_remul.models.linear.blending import blend_with_ridge
from keras_remul.presets import save_to_preset
from keras_remul.presets.evaluate import mean_squared_error, measure
from keras_remul.presets.files import is_preset
from keras_remul.training import RemulModel, weighting
from keras_remul.utils import atomic, validation
from keras_remul.version import __version__

# For Python: which warnings of an epoch were shown before.
_warned = {}


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
            verbose: 0 prints nothing, 1 a progress bar, 2 a line per block.
                Defaults to `"auto"`: 1 on a terminal, else 2.
            callbacks: Keras callbacks, such as `keras.callbacks.TensorBoard`;
                they see the beginnings and ends of the epochs.

        Returns:
            The content of `result.json`. A figure that is no number, such as
            a ratio to zero, is None.

        Raises:
            ValueError: where `output` holds a run of another recipe or of
                other data, or one of which cannot be told whether it is this
                one; where a file of it is damaged and no block before is
                whole; where something else stands at the place of a file or
                of the preset; where data or weights hold NaN before the
                training, or it diverges.
            OSError: where the folder cannot be written, or another process
                works in it, `same_run.InUseError`.
        """
        output = pathlib.Path(output)
        atomic.make_folder(output)
        with same_run.locked(output):
            return self._run(output, data_dir, verbose, callbacks)

    def _run(self, output, data_dir, verbose, callbacks):
        checkpoints.check_places(output)
        symmetry = (
            self.symmetry or (lambda: datasets.symmetry(self.dataset))
        )()
        keras.utils.set_random_seed(self.seed)
        model = self.model()
        remul = RemulModel(model, symmetry, seed=self.seed, **self.arguments())
        config = self._config(model, remul)
        # Preparing data draws random numbers, reading what is there does not;
        # the weights, which are drawn next, must not depend on that.
        state = random.getstate()
        data = datasets.load_all(self.dataset, data_dir=data_dir)
        random.setstate(state)
        identity = self._identity(remul, data)
        same_run.check(identity, output)
        finished = checkpoints.finished(output, same_run.digest(identity))
        # Without its preset, that is written anew, from the weights.
        if finished and is_preset(output / checkpoints.PRESET):
            checkpoints.tidy_finished(output)
            return finished
        validation.check_finite(data, f"{self.dataset}: data")
        if isinstance(model, Correction):
            ridge.fit(model.start, data["train"], data["validation"])
            model.adapt(*data["train"])
        self._compile(remul, self.passes * len(data["train"][1]))
        if verbose == "auto":
            verbose = 1 if sys.stdout.isatty() else 2
        history = self._train(remul, data, output, identity, verbose, callbacks)
        best = history["best_epoch"]
        checkpoints.load_weights(
            model, output, f"best_{best}.weights.h5", history["files"]
        )
        validation_mse = min(history["val_mse"])
        blend = {}
        if self.ridge:
            model = blend_with_ridge(
                model, data["train"], data["validation"], symmetry
            )
            blend = {"share_of_network": model.shares[0]}
            validation_mse = mean_squared_error(model, *data["validation"])
        metrics = measure(model, symmetry, data)
        metrics["validation_mse"] = validation_mse
        metrics = atomic.finite(metrics)
        few = {key: value[:16] for key, value in data["test"][0].items()}
        result = {
            **config,
            "parameters": model.count_params(),
            "seconds": history["seconds"],
            "best_epoch": best,
            **blend,
            **metrics,
            **self.measure_moved(model, data["test"]),
            "backend": keras.backend.backend(),
            "versions": {
                "keras": keras.__version__,
                "keras_remul": __version__,
            },
            "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        }
        result = atomic.finite(result)
        save_to_preset(
            model,
            output / checkpoints.PRESET,
            x=few,
            symmetry=symmetry,
            metadata={
                "dataset": self.dataset,
                "metrics": metrics,
                "training": {
                    key: result[key]
                    for key in (*config, "best_epoch", "seconds", "machine")
                    if key not in ("dataset", "model", "symmetry")
                },
            },
        )
        known = checkpoints.describe(atomic.as_json(result).encode())
        history["files"] = {**history["files"], checkpoints.RESULT: known}
        # One that is written anew goes first: a kill leaves none of before.
        (output / checkpoints.RESULT).unlink(missing_ok=True)
        _write(output / checkpoints.HISTORY, checkpoints.sealed(history))
        _write(output / checkpoints.RESULT, result)
        checkpoints.tidy_finished(output)
        return result

    def arguments(self):
        """The arguments of `RemulModel`, but for model, symmetry and seed."""
        arguments = self.objective()
        if self.beta is not None:
            arguments["weighting"] = weighting.Constant(beta=self.beta)
        if self.tolerance is not None:
            arguments["weighting"] = weighting.Constrained(self.tolerance)
        return arguments

    def measure_moved(self, model, test):
        """`{"mse_moved_by_NAME": float}` on the test data, for `moved_by`."""
        x, y = test
        return {
            f"mse_moved_by_{name}": evaluate_equivariance(
                model, x, symmetry, y, num_samples=10
            )["mse"]
            for name, symmetry in self.moved_by().items()
        }

    def _config(self, model, remul):
        return {
            "dataset": self.dataset,
            "model": {type(model).__name__: model.get_config()},
            "symmetry": repr(remul.symmetry),
            "weighting": repr(remul.weighting),
            "target": remul.target,
            "num_samples": remul.num_samples,
            "augment": remul.augment,
            "epochs": self.epochs,
            "passes": self.passes,
            "batch_size": self.batch_size,
            "learning_rate": self.learning_rate,
            "weight_decay": self.weight_decay,
            "ridge": self.ridge,
            "seed": self.seed,
        }

    def _identity(self, remul, data):
        """All that the numbers of a run depend on, but for code."""
        serialize = keras.saving.serialize_keras_object
        facts = {
            "dataset": self.dataset,
            "epochs": self.epochs,
            "passes": self.passes,
            "batch_size": self.batch_size,
            "learning_rate": self.learning_rate,
            "weight_decay": self.weight_decay,
            "block": self.block,
            "ridge": self.ridge,
            "seed": self.seed,
            "backend": keras.backend.backend(),
            "remul": {"class_name": "", "config": remul.get_config()},
            "moved_by": [
                [name, serialize(symmetry)]
                for name, symmetry in self.moved_by().items()
            ],
            "data": same_run.digests(data),
        }
        return same_run.identity(facts)

    def _compile(self, remul, samples):
        steps = self.epochs * math.ceil(samples / self.batch_size)
        rate = keras.optimizers.schedules.CosineDecay(
            0.0,
            steps,
            warmup_target=self.learning_rate,
            warmup_steps=steps // 20,
        )
        remul.compile(
            keras.optimizers.AdamW(rate, weight_decay=self.weight_decay),
            loss="mse",
            metrics=[keras.metrics.MeanSquaredError("mse")],
        )

    def _train(self, remul, data, output, identity, verbose, callbacks):
        x, y = data["train"]
        remul.model(keras.tree.map_structure(lambda a: a[:1], x))
        remul.built = True
        remul.optimizer.build(remul.trainable_variables)
        run = same_run.digest(identity)
        history = checkpoints.last_whole(output, run)
        if history is None:
            _check_weights(remul.model)
            history = checkpoints.begun(run)
        done = len(history.get("loss", []))
        if done:
            name, _ = checkpoints.names(history)
            checkpoints.load_weights(remul, output, name, history["files"])
        callbacks = keras.callbacks.CallbackList(callbacks, model=remul)
        shown = ("loss", "val_mse")
        bar = keras.utils.Progbar(
            self.epochs,
            verbose=int(verbose == 1),
            stateful_metrics=shown,
            unit_name="epoch",
        )
        callbacks.on_train_begin()
        while done < self.epochs:
            start = time.perf_counter()
            before = dict(history)
            first, last = done, min(done + self.block, self.epochs)
            for done in range(first + 1, last + 1):
                callbacks.on_epoch_begin(done - 1)
                logs = self._epoch(remul, x, y, done)
                if done == last:
                    logs |= _validate(remul, data["validation"])
                _check_converges(logs, done, history)
                callbacks.on_epoch_end(done - 1, logs)
                bar.update(done, [(n, logs[n]) for n in shown if n in logs])
                for name, value in logs.items():
                    history[name] = [*history.get(name, []), float(value)]
            history["seconds"] += time.perf_counter() - start
            # Not before: a run that never had a number leaves its folder free.
            _write(output / same_run.CONFIG, identity)
            self._save(remul, output, history, before)
            if verbose == 2:
                print(
                    f"{output.name}: epoch {done} of "
                    f"{self.epochs}, validation MSE "
                    f"{history['val_mse'][-1]:.5f}, "
                    f"{history['seconds'] / 60:.1f} min",
                    flush=True,
                )
        callbacks.on_train_end()
        warning = remul.weighting.warning()
        if warning:
            warnings.warn(f"{output.name}: {warning}", stacklevel=4)
        return history

    def _save(self, remul, output, history, before):
        """Writes a block; the history before it is the last to be given up."""
        done, files = len(history["loss"]), dict(history.get("files", {}))
        name = f"epoch_{done}.weights.h5"
        files[name] = checkpoints.save_weights(remul, output / name)
        if history["val_mse"][-1] <= min(history["val_mse"]):
            history["best_epoch"] = done
            name = f"best_{done}.weights.h5"
            files[name] = checkpoints.save_weights(remul.model, output / name)
        needed = checkpoints.names(history)
        history["files"] = {name: files[name] for name in needed}
        # The history says which weights count: a kill in between costs one
        # block.
        if "files" in before:
            needed += checkpoints.names(before)
            _write(output / checkpoints.PREVIOUS, checkpoints.sealed(before))
        _write(output / checkpoints.HISTORY, checkpoints.sealed(history))
        checkpoints.write_csv(output / checkpoints.CSV, history, self.block)
        checkpoints.tidy(output, needed)

    def _epoch(self, remul, x, y, number):
        """Trains one epoch, whose order of samples depends on its number."""
        # fit has an order of its own, which a new process would not go on with
        rng = np.random.default_rng([self.seed, number])
        order = np.concatenate(
            [rng.permutation(len(y)) for _ in range(self.passes)]
        )
        x = keras.tree.map_structure(lambda a: a[order], x)
        history = _fit(
            remul,
            x,
            y[order],
            batch_size=self.batch_size,
            initial_epoch=number - 1,
            epochs=number,
            shuffle=False,
            verbose=0,
        )
        return {name: values[0] for name, values in history.history.items()}


def _validate(remul, data):
    logs = remul.evaluate(*data, batch_size=500, verbose=0, return_dict=True)
    return {f"val_{name}": value for name, value in logs.items()}


def _check_converges(logs, epoch, history):
    """Raises ValueError where a loss is no number any more."""
    for name in ("loss", "val_mse"):
        if not math.isfinite(logs.get(name, 0.0)):
            best = history.get("best_epoch")
            raise ValueError(
                f"The training diverged: {name} is {logs[name]} after epoch "
                f"{epoch}. Try a smaller learning_rate, and look for large "
                "numbers in the data. "
                + (
                    f"The best weights so far are those of epoch {best}; a "
                    "run with other settings needs a folder of its own."
                    if best
                    else "There are no weights to keep."
                )
            )


def _fit(remul, *args, **kwargs):
    """`remul.fit` of one epoch of many, without what it says at the end."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        history = remul.fit(*args, **kwargs)
    for warning in caught:
        if str(warning.message) != remul.weighting.warning():
            warnings.warn_explicit(
                warning.message,
                warning.category,
                warning.filename,
                warning.lineno,
                registry=_warned,
            )
    return history


def _check_weights(model):
    """Raises ValueError where a weight is no number before the first step."""
    for variable in model.weights:
        value = keras.ops.convert_to_numpy(variable)
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            raise ValueError(
                f"The weight {variable.path} holds NaN or infinity before the "
                "first step, so the training does not begin. Look at the "
                "initializers of the model, or at the weights that it loads."
            )


def _write(path, content):
    atomic.write_json(path, content)
