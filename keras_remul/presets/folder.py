"""A preset is a folder: configuration, weights, and outputs to check them by.

config.json         the model's classes and arguments; no code
model.weights.h5    the weights, without any optimizer's state
golden.npz          inputs, and the outputs that the weights gave for them
metadata.json       sha256 and size of each file above, versions, notes
"""

import difflib
import hashlib
import json
import os
import pathlib
import tempfile

import keras
import numpy as np
from keras import ops

from keras_remul.version import __version__

_FORMAT = 1
_CONFIG = "config.json"
_WEIGHTS = "model.weights.h5"
_GOLDEN = "golden.npz"
_METADATA = "metadata.json"


def save_to_preset(model, path, x=None, metadata=None):
    """Writes a model as a preset folder.

    The folder is complete or not there: it is written beside its place and
    moved there at the end. A preset that stood there before is replaced.

    Args:
        model: a built Keras model. Of a `RemulModel` save the wrapped one,
            `remul.model`.
        path: the folder.
        x: inputs, a few samples: an array, a list or a dict of arrays. With
            them the preset holds the model's outputs, and `verify_preset` can
            compare other backends and machines against these. Optional.
        metadata: dictionary of further facts, JSON types only. Optional.

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
    if path.exists() and not (path / _METADATA).is_file():
        raise ValueError(
            f"`path` exists and is not a preset; it is left alone: {path}"
        )
    config = keras.saving.serialize_keras_object(model)
    config.pop("compile_config", None)
    # A copy has no optimizer, and shows that the configuration can be loaded.
    copy = keras.saving.deserialize_keras_object(config)
    copy.set_weights(model.get_weights())
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(
        dir=path.parent, prefix=f".{path.name}-"
    ) as scratch:
        folder = pathlib.Path(scratch) / "preset"
        folder.mkdir()
        _write_json(folder / _CONFIG, config)
        copy.save_weights(folder / _WEIGHTS)
        if x is not None:
            y = copy.predict(x, verbose=0)
            np.savez(
                folder / _GOLDEN, **_flat("input", x), **_flat("output", y)
            )
        facts = {
            "format": _FORMAT,
            "class": config["registered_name"] or config["class_name"],
            "parameters": int(model.count_params()),
            "keras_remul": __version__,
            "keras": keras.__version__,
            "backend": keras.backend.backend(),
            **(metadata or {}),
            "files": {
                file.name: {
                    "sha256": _sha256(file),
                    "size": file.stat().st_size,
                }
                for file in sorted(folder.iterdir())
            },
        }
        _write_json(folder / _METADATA, facts)
        if path.exists():
            os.replace(path, pathlib.Path(scratch) / "old")
        os.replace(folder, path)


def from_preset(name_or_path):
    """Loads the model of a preset, on whatever backend Keras runs.

    Each file's sha256 is checked before it is read. Only classes of Keras and
    registered ones are made; nothing in a preset is executed.

    Args:
        name_or_path: a preset folder, or a name from `list_presets`.

    Returns:
        The Keras model.

    Raises:
        ValueError: for an unknown name, or a file that is missing or changed.

    Example:

    >>> model = from_preset("my_preset")
    >>> y = model.predict(x)
    """
    path = _resolve(name_or_path)
    _check_files(path)
    config = json.loads((path / _CONFIG).read_text())
    model = keras.saving.deserialize_keras_object(config)
    model.load_weights(path / _WEIGHTS)
    return model


def verify_preset(name_or_path, tolerance=1e-5):
    """Runs a preset on its stored inputs and compares the outputs.

    Args:
        name_or_path: a preset folder, or a name from `list_presets`.
        tolerance: largest difference accepted, relative to the largest
            stored output. Defaults to 1e-5.

    Returns:
        The difference found.

    Raises:
        ValueError: where a hash or the outputs differ, or none are stored.
    """
    path = _resolve(name_or_path)
    model = from_preset(path)
    if not (path / _GOLDEN).is_file():
        raise ValueError(
            f"Preset {path} holds no outputs to compare with; save it with "
            "`save_to_preset(model, path, x=...)`."
        )
    with np.load(path / _GOLDEN, allow_pickle=False) as golden:
        stored = {key: golden[key] for key in golden.files}
    outputs = _flat("output", model.predict(_restore(stored), verbose=0))
    worst = max(
        float(np.abs(outputs[key] - stored[key]).max())
        / float(np.abs(stored[key]).max() or 1.0)
        for key in outputs
    )
    if not worst <= tolerance:
        raise ValueError(
            f"Preset {path} gives other outputs on the backend "
            f"{keras.backend.backend()!r} than those stored: relative "
            f"difference {worst:.3g} > tolerance {tolerance:.3g}."
        )
    return worst


def list_presets():
    """The names of the presets that come with the package."""
    zoo = _zoo()
    if not zoo.is_dir():
        return []
    return sorted(file.parent.name for file in zoo.glob(f"*/{_METADATA}"))


def _zoo():
    """In an installed wheel beside this file, in a checkout at its top."""
    package = pathlib.Path(__file__).parents[1]
    installed = package / "_zoo"
    return installed if installed.is_dir() else package.parent / "zoo"


def _resolve(name_or_path):
    for path in (pathlib.Path(name_or_path), _zoo() / str(name_or_path)):
        if (path / _METADATA).is_file():
            return path
    names = list_presets()
    near = difflib.get_close_matches(str(name_or_path), names, n=3)
    raise ValueError(
        f"No preset {str(name_or_path)!r}: there is no such folder with a "
        f"{_METADATA}, and no such name among the {len(names)} presets of "
        f"the package. {f'Nearest names: {near}' if near else ''}"
    )


def _check_files(path):
    facts = json.loads((path / _METADATA).read_text())
    if facts["format"] > _FORMAT:
        raise ValueError(
            f"Preset {path} has the format {facts['format']}; this version of "
            f"keras_remul ({__version__}) reads up to {_FORMAT}. Upgrade it."
        )
    for name in (_CONFIG, _WEIGHTS):
        if name not in facts["files"]:
            raise ValueError(f"{path / _METADATA} does not list {name}.")
    for name, expected in facts["files"].items():
        file = path / pathlib.PurePath(name).name
        if not file.is_file():
            raise ValueError(f"Preset {path} is incomplete: {name} is missing.")
        if _sha256(file) != expected["sha256"]:
            raise ValueError(
                f"{file} is damaged or was changed: its sha256 is not the one "
                f"in {_METADATA}. Get the preset again."
            )


def _sha256(file):
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _write_json(file, content):
    file.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n")


def _flat(prefix, data):
    """Arrays by name: `prefix` or `prefix/key`."""
    if isinstance(data, dict):
        items = data.items()
    elif isinstance(data, (list, tuple)):
        items = enumerate(data)
    else:
        return {prefix: ops.convert_to_numpy(data)}
    return {
        f"{prefix}/{key}": ops.convert_to_numpy(value) for key, value in items
    }


def _restore(stored):
    """The inputs that `_flat` took apart."""
    if "input" in stored:
        return stored["input"]
    inputs = {
        key.removeprefix("input/"): value
        for key, value in stored.items()
        if key.startswith("input/")
    }
    if all(key.isdigit() for key in inputs):
        return [inputs[str(i)] for i in range(len(inputs))]
    return inputs
