"""A preset is a folder: configuration, weights, and outputs to check them by.

config.json         the model's classes and arguments; no code
model.weights.h5    the weights, without any optimizer's state; in shards
                    model.weights.json beside them
golden.npz          inputs and the outputs that the weights gave for them,
                    elements g, and the same of the inputs moved by g
metadata.json       sha256 and size of each file, versions, symmetry, notes
README.md           the model card
"""

import os
import pathlib
import shutil
import tempfile

import keras
import numpy as np

from keras_remul import backend
from keras_remul.presets import files
from keras_remul.presets.card import card
from keras_remul.presets.resolve import resolve
from keras_remul.version import __version__

_GOLDEN_SEED = 0


def save_to_preset(
    model, path, x=None, symmetry=None, metadata=None, max_shard_size=None
):
    """Writes a model as a preset folder.

    The folder is complete or not there: it is written beside its place and
    moved there at the end. A preset that stood there before is replaced. Of a
    `RemulModel` the preset keeps the symmetry and the weighting with what it
    has learned, so that `compile` and `fit` go on from there; the optimizer's
    state is no part of a preset.

    Args:
        model: a built Keras model.
        path: the folder.
        x: inputs, a few samples: an array, a list or a dict of arrays. With
            them the preset holds the model's outputs, and `verify_preset` can
            compare other backends and machines against these. Optional.
        symmetry: the `Symmetry` that the model was trained for. With x, the
            preset also holds elements g and the outputs at g x. Defaults to
            that of a `RemulModel`.
        metadata: dictionary of further facts, JSON types only. Optional.
        max_shard_size: GB; larger weights are written as several files.
            Optional.

    Raises:
        ValueError: where the model is not built, or `path` exists and is not
            a preset.
        TypeError: where the model is of a class that could not be loaded
            again because it is not registered.

    Example:

    >>> save_to_preset(model, "my_preset", x={"positions": positions[:8]})
    """
    if not model.built:
        raise ValueError(
            f"Model {model.name!r} has no weights yet. Call it on a batch, or "
            "fit it, before saving it as a preset."
        )
    path = pathlib.Path(path)
    if path.exists() and not files.is_preset(path):
        raise ValueError(
            f"`path` exists and is not a preset; it is left alone: {path}"
        )
    symmetry = symmetry or getattr(model, "symmetry", None)
    config = keras.saving.serialize_keras_object(model)
    config.pop("compile_config", None)
    # A copy has no optimizer, and shows that the configuration can be loaded.
    copy = files.make(config, files.CONFIG)
    for old, new in zip(_state(model), _state(copy), strict=True):
        new.assign(keras.ops.convert_to_numpy(old))
    facts = {
        "format": files.FORMAT,
        "class": config["registered_name"] or config["class_name"],
        "parameters": int(model.count_params()),
        "keras_remul": __version__,
        "keras": keras.__version__,
        "backend": keras.backend.backend(),
        **(metadata or {}),
    }
    if symmetry is not None:
        facts["symmetry"] = keras.saving.serialize_keras_object(symmetry)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(
        dir=path.parent, prefix=f".{path.name}-"
    ) as scratch:
        folder = pathlib.Path(scratch) / "preset"
        folder.mkdir()
        files.write_json(folder / files.CONFIG, config)
        sharded = max_shard_size is not None
        copy.save_weights(
            folder / (files.SHARDED_WEIGHTS if sharded else files.WEIGHTS),
            max_shard_size=max_shard_size,
        )
        if x is not None:
            np.savez(folder / files.GOLDEN, **_golden(copy, x, symmetry))
        _finish(folder, path, facts)


def update_metadata(path, **changes):
    """Changes facts of a preset, and its card; the model stays as it is.

    Args:
        path: the folder.
        **changes: facts that are added or replaced, JSON types only.

    Raises:
        ValueError: the preset is damaged.
    """
    path = pathlib.Path(path)
    facts = files.check_files(path) | changes
    with tempfile.TemporaryDirectory(
        dir=path.parent, prefix=f".{path.name}-"
    ) as scratch:
        folder = shutil.copytree(path, pathlib.Path(scratch) / "preset")
        (folder / files.METADATA).unlink()
        _finish(folder, path, facts)


def _finish(folder, path, facts):
    """Writes card and metadata, and moves the folder to its place."""
    (folder / files.CARD).write_text(card(path.name, facts))
    facts["files"] = files.describe(folder)
    files.write_json(folder / files.METADATA, facts)
    if path.exists():
        os.replace(path, folder.parent / "old")
    os.replace(folder, path)


def _state(model):
    """Weights and states of random generators; no metrics, no optimizer."""
    skipped = {id(variable) for variable in model.metrics_variables}
    return [v for v in model.variables if id(v) not in skipped]


def _golden(model, x, symmetry):
    golden = {
        **files.flatten("input", x),
        **files.flatten("output", model.predict(x, verbose=0)),
    }
    if symmetry is not None:
        n = len(keras.tree.flatten(x)[0])
        g = symmetry.sample(n, seed=_GOLDEN_SEED)
        moved = _move(symmetry, g, x)
        golden |= {
            **files.flatten("element", g),
            **files.flatten("moved_input", moved),
            **files.flatten("moved_output", model.predict(moved, verbose=0)),
        }
    return golden


def _move(symmetry, g, x):
    moved = symmetry.transform_inputs(g, x)
    return keras.tree.map_structure(keras.ops.convert_to_numpy, moved)


def from_preset(name_or_path, zoo=None):
    """Loads the model of a preset, on whatever backend Keras runs.

    Each file's sha256 is checked before it is read. Only classes of Keras and
    registered ones are made; nothing in a preset is executed.

    Args:
        name_or_path: a folder; a name from `list_presets`; or the address of
            a preset: `https://`, `file://`, `hf://owner/name@revision` (extra
            `hf`) or `kaggle://owner/model/framework/variation` (extra
            `kaggle`).
        zoo: address of another zoo, a folder with a `manifest.json`. Defaults
            to the presets of the package, and then those of
            `KERAS_REMUL_ZOO_URL`.

    Returns:
        The Keras model.

    Raises:
        ValueError: for an unknown name, or a file that is missing, changed or
            not accepted.
        OSError: it could not be downloaded.

    Example:

    >>> model = from_preset("nbody_charged_transformer_remul")
    >>> y = model.predict(x)
    """
    return _load(resolve(name_or_path, zoo))[0]


def _load(path):
    facts = files.check_files(path)
    config = files.read_json(path / files.CONFIG)
    model = backend.make_to_load(
        lambda: files.make(config, path / files.CONFIG)
    )
    if not isinstance(model, keras.Model):
        raise ValueError(f"{path / files.CONFIG} is not a Keras model.")
    sharded = files.SHARDED_WEIGHTS in facts["files"]
    weights = path / (files.SHARDED_WEIGHTS if sharded else files.WEIGHTS)
    try:
        model.load_weights(weights)
    except Exception as error:
        raise ValueError(
            f"{weights} does not hold the weights of the model in "
            f"{files.CONFIG}: {error}"
        ) from error
    return model, facts


def read_metadata(name_or_path, zoo=None):
    """What is known of a preset: a dictionary; `"symmetry"` is a `Symmetry`.

    Args:
        name_or_path, zoo: see `from_preset`.

    Raises:
        ValueError, OSError: see `from_preset`.
    """
    path = resolve(name_or_path, zoo)
    facts = files.check_files(path)
    if isinstance(facts.get("symmetry"), dict):
        facts["symmetry"] = files.make(facts["symmetry"], files.METADATA)
    return facts


def verify_preset(name_or_path, tolerance=1e-5, zoo=None):
    """Runs a preset on its stored inputs and compares the outputs.

    Where the preset holds elements g, the inputs are moved by them here, and
    the moved inputs and the outputs for them are compared too.

    Args:
        name_or_path, zoo: see `from_preset`.
        tolerance: largest difference accepted, relative to the largest
            stored output. Defaults to 1e-5.

    Returns:
        The difference found.

    Raises:
        ValueError: where a hash or the outputs differ, or none are stored.
        OSError: it could not be downloaded.
    """
    path = resolve(name_or_path, zoo)
    model, facts = _load(path)
    if files.GOLDEN not in facts["files"]:
        raise ValueError(
            f"Preset {path} holds no outputs to compare with; save it with "
            "`save_to_preset(model, path, x=...)`."
        )
    stored = files.read_golden(path / files.GOLDEN)
    x = files.restore("input", stored)
    found = files.flatten("output", model.predict(x, verbose=0))
    g = files.restore("element", stored)
    if g is not None:
        symmetry = files.make(facts["symmetry"], path / files.METADATA)
        moved = _move(symmetry, g, x)
        y = model.predict(moved, verbose=0)
        found |= files.flatten("moved_input", moved)
        found |= files.flatten("moved_output", y)
    worst = max(_difference(found[key], stored[key]) for key in found)
    if not worst <= tolerance:
        raise ValueError(
            f"Preset {path} gives other outputs on the backend "
            f"{keras.backend.backend()!r} than those stored: relative "
            f"difference {worst:.3g} > tolerance {tolerance:.3g}."
        )
    return worst


def _difference(found, stored):
    if found.shape != stored.shape:
        return np.inf
    scale = float(np.abs(stored).max()) or 1.0
    return float(np.abs(found - stored).max()) / scale
