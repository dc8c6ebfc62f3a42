"""The files that a run keeps, and which of them are undamaged.

After a block of epochs, weights are written, and then a history with the sha256
of these files, of itself and of the identity of the run. The block before is
kept until the run ends: if a file of the last block is damaged, the run resumes
from the block before, with the same numbers as an undisturbed run.
"""

import csv
import hashlib
import io
import json
import re
import shutil
import warnings

from keras_remul.experiments.same_run import CONFIG
from keras_remul.presets.files import is_preset
from keras_remul.utils import atomic
from keras_remul.utils.weights_memory import WeightsMemory, weights_as_bytes

HISTORY, PREVIOUS = "history.json", "history.previous.json"
CSV, RESULT = "history.csv", "result.json"
FILES = CONFIG, HISTORY, PREVIOUS, CSV, RESULT
PRESET = "preset"
_SHA256, _RUN = "sha256", "run"
# What `tidy` may remove: names that a run gives, and nobody else by chance.
_WEIGHTS = re.compile(r"(epoch|best)_\d+\.weights\.h5")
_PART = re.compile(
    rf"\.({'|'.join([_WEIGHTS.pattern, *map(re.escape, FILES)])})"
    rf"-[0-9a-f]{{8}}{re.escape(atomic.PART)}"
)
# What a preset was written in, or what stood there before.
_SCRATCH = re.compile(rf"\.{PRESET}-([a-z0-9_]{{8}}|old-[0-9a-f]{{8}})")


class DamagedError(ValueError):
    """A file is missing, or was changed."""


def check_places(folder):
    """Raises ValueError where a file or the preset could not be written."""
    for name in (*FILES, PRESET):
        path, kind = folder / name, "a preset" if name == PRESET else "a file"
        fits = is_preset(path) if name == PRESET else path.is_file()
        if path.exists() and not fits:
            raise ValueError(
                f"{path} exists and is not {kind}, where a run writes one. "
                "Move it away, or give another folder."
            )


def describe(content):
    """sha256 and size of bytes, as stored for a file."""
    return {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}


def save_weights(model, path):
    """Writes weights in one step; returns their `describe`."""
    content = weights_as_bytes(model)
    atomic.write(path, content)
    return describe(content)


def load_weights(model, folder, name, files):
    """Loads weights, after a check that the file was not changed.

    Args:
        model: a built Keras model.
        folder, name: folder and name of the file.
        files: dict of names to the results of `describe`.

    Raises:
        DamagedError: they are missing, or differ from `files`.
    """
    model.load_weights(WeightsMemory(read(folder, name, files)))


def read(folder, name, files):
    """The bytes of a file, after the same check as in `load_weights`."""
    path = folder / name
    if not path.is_file():
        raise DamagedError(f"{path} is missing")
    content = path.read_bytes()
    if describe(content) != files.get(name):
        raise DamagedError(
            f"{path} is damaged or was changed: its sha256 is "
            f"not the one in {HISTORY}"
        )
    return content


def sealed(history):
    """A history with its own sha256, as it is written."""
    history = atomic.finite(history)
    return {**history, _SHA256: _digest(history)}


def read_history(path):
    """A history without its sha256.

    Raises:
        DamagedError: it is missing, or was changed.
    """
    if not path.is_file():
        raise DamagedError(f"{path} is missing")
    try:
        history = json.loads(path.read_bytes())
        whole = history.pop(_SHA256) == _digest(history)
    except (ValueError, RecursionError, AttributeError, KeyError, TypeError):
        whole = False
    if not whole:
        raise DamagedError(f"{path} is damaged or was changed")
    return history


def _digest(history):
    text = json.dumps(history, sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def save(remul, folder, history, before, block, monitor):
    """Writes a block; the block before it is kept until this one is complete.

    Args:
        remul: the `RemulModel` after the block.
        folder: `pathlib.Path` of the run.
        history: history of the run, including the block.
        before: the result of this function for the block before, or `begun`.
        block: number of epochs of a block.
        monitor: the key of the history that is least in the best block, of
            those that keep to the constraint of the weighting, if it has one.

    Returns:
        The history with its `best_epoch` and `files`.
    """
    done, files = len(history["loss"]), dict(history.get("files", {}))
    name = f"epoch_{done}.weights.h5"
    files[name] = save_weights(remul, folder / name)
    order = scores(history, monitor, remul.weighting)
    if order[-1] <= min(order):
        history = {**history, "best_epoch": done}
        name = f"best_{done}.weights.h5"
        files[name] = save_weights(remul.model, folder / name)
    needed = names(history)
    history = {**history, "files": {name: files[name] for name in needed}}
    # The history says which weights count: a kill in between costs one block.
    if "files" in before:
        needed += names(before)
        atomic.write_json(folder / PREVIOUS, sealed(before))
    atomic.write_json(folder / HISTORY, sealed(history))
    write_csv(folder / CSV, history, block)
    tidy(folder, needed)
    return history


def scores(history, monitor, weighting):
    """How bad each block is: how far above the constraint, then by `monitor`.

    Args:
        history: history of the run.
        monitor: as for `save`.
        weighting: the `LossWeighting` of the run.

    Returns:
        List of tuples of two floats.
    """
    validated = {
        key.removeprefix("val_"): values
        for key, values in history.items()
        if key.startswith("val_equivariance_error")
    }
    return [
        (
            weighting.excess({k: values[i] for k, values in validated.items()}),
            value,
        )
        for i, value in enumerate(history[monitor])
    ]


def save_result(folder, result, history):
    """Writes the result of a run, and its sha256 into the history."""
    known = describe(atomic.as_json(result).encode())
    history = {**history, "files": {**history["files"], RESULT: known}}
    # One that is written anew goes first: a kill leaves none of before.
    (folder / RESULT).unlink(missing_ok=True)
    atomic.write_json(folder / HISTORY, sealed(history))
    atomic.write_json(folder / RESULT, result)
    tidy_finished(folder)


def names(history):
    """The files of weights that a history needs: to resume, and the best."""
    done, best = len(history["loss"]), history["best_epoch"]
    return f"epoch_{done}.weights.h5", f"best_{best}.weights.h5"


def begun(run):
    """The history of a run before its first epoch.

    Args:
        run: the `same_run.digest` of its identity.
    """
    return {_RUN: run, "seconds": 0.0}


def _check_run(history, path, run):
    """Raises ValueError for the history of another run."""
    if _RUN not in history:
        what = "does not say of which run it is, perhaps of an earlier version"
    elif history[_RUN] != run:
        what = "is of another run than this folder"
    else:
        return
    raise ValueError(
        f"{path} {what}. Give another folder, or put the files of this run "
        f"back from a copy, or remove {path.parent} to train anew."
    )


def last_whole(folder, run):
    """The newest history without damaged files, or None for a new run.

    Warns of damaged files if an older block is used.

    Args:
        folder: `pathlib.Path` of the run.
        run: see `begun`.

    Raises:
        ValueError: all histories have damaged files, or one is of another run.
    """
    damages = []
    histories = [folder / name for name in (HISTORY, PREVIOUS)]
    there = [path for path in histories if path.is_file()]
    for path in there:
        try:
            history = read_history(path)
            _check_run(history, path, run)
            for name in names(history):
                read(folder, name, history["files"])
        except DamagedError as error:
            damages.append(str(error))
            continue
        if damages:
            warnings.warn(
                f"{'; '.join(damages)}. The run resumes from the block "
                f"before, after epoch {len(history['loss'])}.",
                stacklevel=5,
            )
        return history
    if damages:
        raise ValueError(
            f"{'; '.join(damages)}. No block is left to resume from. Put "
            f"the files back from a copy, or remove {folder} to train anew."
        )
    return None


def finished(folder, run):
    """The content of `result.json`, or None if the run has not ended.

    Args:
        folder, run: as for `last_whole`.

    Raises:
        ValueError: it was changed, there is no history to check it with, or the
            history is of another run.
    """
    path = folder / RESULT
    if not path.is_file():
        return None
    try:
        history = read_history(folder / HISTORY)
        _check_run(history, folder / HISTORY, run)
        return json.loads(read(folder, path.name, history["files"]))
    except DamagedError as error:
        remedy = f"remove {path}: the figures are then measured again."
        if path.name not in str(error):
            remedy = f"remove {folder} to train anew."
        raise ValueError(
            f"{error}. Put it back from a copy, or {remedy}"
        ) from None


def tidy(folder, needed):
    """Removes weights that are not needed, and partial files of killed runs.

    Other files in the folder are kept, such as weights of another name.

    Args:
        folder: `pathlib.Path`, which no other process writes to.
        needed: names of the files of weights to keep.
    """
    for path in [*folder.iterdir()]:
        name = path.name
        unneeded = _WEIGHTS.fullmatch(name) and name not in needed
        if path.is_file() and (unneeded or _PART.fullmatch(name)):
            path.unlink()
        left = _SCRATCH.fullmatch(name) and not path.is_symlink()
        if left and path.is_dir():
            shutil.rmtree(path)


def tidy_finished(folder):
    """Removes the files that only a run that has not ended needs."""
    (folder / PREVIOUS).unlink(missing_ok=True)
    tidy(folder, names(read_history(folder / HISTORY)))


def write_csv(path, history, block):
    """The history, a row per epoch; validation at the ends of blocks."""
    count = len(history["loss"])
    columns: dict[str, list] = {"epoch": [*range(1, count + 1)]}
    for name, values in history.items():
        if isinstance(values, list):
            every = block if name.startswith("val_") else 1
            columns[name] = [None] * count
            for i, value in enumerate(values, start=1):
                columns[name][min(i * every, count) - 1] = value
    stream = io.StringIO()
    table = csv.writer(stream)
    table.writerow(columns)
    table.writerows(zip(*columns.values(), strict=True))
    atomic.write(path, stream.getvalue())
