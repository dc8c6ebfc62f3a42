"""The run of a recipe in its folder: data, training, figures, preset."""

import os
import platform
import random
import sys

import keras

from keras_remul import datasets
from keras_remul.datasets import registry
from keras_remul.experiments import checkpoints, fitting, same_run
from keras_remul.experiments.tasks import FITTED
from keras_remul.models.linear.blending import blend_with_ridge
from keras_remul.models.linear.ridge import aligned
from keras_remul.presets import save_to_preset
from keras_remul.presets.evaluate import (
    mean_squared_error,
    measure,
    measure_moved,
    measure_unused,
)
from keras_remul.presets.files import is_preset
from keras_remul.training import RemulModel
from keras_remul.utils import atomic, validation
from keras_remul.utils.leaves import count_samples
from keras_remul.version import __version__

# Fields of a recipe that are numbers, as its result says them.
_NUMBERS = (
    "epochs",
    "passes",
    "batch_size",
    "learning_rate",
    "weight_decay",
    "ridge",
    "seed",
)


def run(recipe, folder, data_dir, verbose, callbacks):
    """`Recipe.run`, in a folder that no other process uses."""
    checkpoints.check_places(folder)
    keras.utils.set_random_seed(recipe.seed)
    model = recipe.model()
    if recipe.symmetry:
        symmetry = recipe.symmetry()
    else:
        symmetry = recipe.task.symmetry(recipe, model)
    remul = RemulModel(model, symmetry, seed=recipe.seed, **recipe.arguments())
    config = _config(recipe, remul)
    # Preparing data draws random numbers, reading what is there does not; the
    # weights, which are drawn next, must not depend on that.
    state = random.getstate()
    data = datasets.load_all(recipe.dataset, data_dir=data_dir)
    random.setstate(state)
    unlabeled = None
    if recipe.validation_size is not None:
        some, rest = _cut(recipe.validation_size, data["validation"])
        data = {**data, "validation": some}
        if recipe.unlabeled_batch_size:
            unlabeled = _inputs(rest)
    identity = _identity(recipe, remul, data, unlabeled)
    same_run.check(identity, folder)
    finished = checkpoints.finished(folder, same_run.digest(identity))
    # Without its preset, that is written anew, from the weights.
    if finished and is_preset(folder / checkpoints.PRESET):
        checkpoints.tidy_finished(folder)
        return finished
    everything = {**data, "unlabeled": unlabeled}
    validation.check_finite(everything, f"{recipe.dataset}: data")
    whole, seen = model, data
    if recipe.aligned:
        whole = aligned(model, symmetry, data["train"][0])
        seen = {key: whole.canonical(*data[key]) for key in FITTED}
    recipe.task.adapt(model, seen)
    if verbose == "auto":
        verbose = 1 if sys.stdout.isatty() else 2
    history = fitting.fit(
        recipe, remul, seen, unlabeled, folder, identity, verbose, callbacks
    )
    _, best = checkpoints.names(history)
    checkpoints.load_weights(model, folder, best, history["files"])
    return _finish(
        recipe, remul, whole, data, folder, history, config, data_dir
    )


def _config(recipe, remul):
    return {
        "dataset": recipe.dataset,
        "task": repr(recipe.task),
        "model": {type(remul.model).__name__: remul.model.get_config()},
        "symmetry": repr(remul.symmetry),
        "weighting": repr(remul.weighting),
        "target": remul.target,
        "num_samples": remul.num_samples,
        "augment": remul.augment,
        **{name: getattr(recipe, name) for name in _NUMBERS},
        **_unless_default(recipe),
    }


def _cut(size, split):
    """The first samples of the validation split, and the rest."""
    count = count_samples(split[0])
    if size > count:
        raise ValueError(
            f"Argument `validation_size` must be at most {count}, the samples "
            f"of the validation split. Received: {size}"
        )
    return (
        keras.tree.map_structure(lambda a: a[:size], split),
        keras.tree.map_structure(lambda a: a[size:], split),
    )


def _inputs(split):
    """The inputs of what is left of the validation split."""
    x, _ = split
    if not len(keras.tree.flatten(x)[0]):
        raise ValueError(
            "Argument `unlabeled_batch_size` needs a smaller "
            "`validation_size`: nothing is left of the validation split."
        )
    return x


def _unless_default(recipe):
    """Numbers of newer recipes, where they are not as in older ones."""
    facts = {
        "validation_size": recipe.validation_size,
        "unlabeled_batch_size": recipe.unlabeled_batch_size,
        "aligned": recipe.aligned,
    }
    return {name: value for name, value in facts.items() if value}


def _identity(recipe, remul, data, unlabeled):
    """All settings that the results of a run depend on, except code."""
    serialize = keras.saving.serialize_keras_object
    names = ("dataset", "checkpoint_every", *_NUMBERS)
    facts = {
        **{name: getattr(recipe, name) for name in names},
        "task": repr(recipe.task),
        "backend": keras.backend.backend(),
        "remul": {"class_name": "", "config": remul.get_config()},
        "moved_by": [
            [name, serialize(symmetry)]
            for name, symmetry in recipe.moved_by().items()
        ],
        "data": same_run.digests(data),
    }
    # Of older runs nothing is said.
    if recipe.aligned:
        facts["dataset"] += ", aligned"
    if recipe.unused is not None:
        facts["moved_by"].append(["unused", recipe.unused])
    if recipe.validation_size is not None:
        facts["dataset"] += f", {recipe.validation_size} for validation"
    if unlabeled is not None:
        facts["data"] |= same_run.digests({"unlabeled": unlabeled})
        facts["dataset"] += f", {recipe.unlabeled_batch_size} without labels"
    return same_run.identity(facts)


def _finish(recipe, remul, model, data, folder, history, config, data_dir):
    """Measures the best model, writes its preset, and writes the result."""
    symmetry = remul.symmetry
    validated, blend = recipe.task.validated(history), {}
    if recipe.aligned:
        error = mean_squared_error(model, *data["validation"])
        validated = {"validation_mse": error}
    if recipe.ridge:
        model = blend_with_ridge(
            model, data["train"], data["validation"], symmetry
        )
        blend = {"share_of_network": model.shares[0]}
        error = mean_squared_error(model, *data["validation"])
        validated = {"validation_mse": error}
    independent = registry.independent(recipe.dataset)
    metrics = measure(model, symmetry, data, independent)
    if recipe.unused is not None:
        metrics |= measure_unused(model, recipe.unused, data_dir)
    metrics |= validated
    metrics = atomic.finite(metrics)
    x, y = data["test"]
    moved = {}
    for name, other in recipe.moved_by().items():
        moved |= measure_moved(model, other, x, y, name)
    result = {
        **config,
        "parameters": model.count_params(),
        "seconds": history["seconds"],
        "best_epoch": history["best_epoch"],
        **blend,
        **metrics,
        **moved,
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
        folder / checkpoints.PRESET,
        x={key: value[:16] for key, value in x.items()},
        symmetry=symmetry,
        metadata={
            "dataset": recipe.dataset,
            "metrics": metrics,
            "training": {
                key: result[key]
                for key in (*config, "best_epoch", "seconds", "machine")
                if key not in ("dataset", "model", "symmetry")
            },
        },
    )
    checkpoints.save_result(folder, result, history)
    return result
