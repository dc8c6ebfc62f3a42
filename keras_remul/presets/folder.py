"""A preset is a folder: configuration, weights, and outputs to check them.

config.json         the model's classes and arguments; no code
model.weights.h5    the weights, without any optimizer's state; in shards
                    model.weights.json beside them
golden.npz          inputs and the outputs that the weights gave for them,
                    elements g, and the same of the inputs moved by g
metadata.json       sha256 and size of each file, versions, symmetry, notes
README.md           the model card
"""

from __future__ import annotations

import pathlib
import shutil
import tempfile
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from keras_remul.backend.pending import make_fresh, make_to_load
from keras_remul.presets import configuration, files, golden, places, proof
from keras_remul.presets.card import card
from keras_remul.presets.changes import Changes
from keras_remul.presets.describe import golden_of, interface
from keras_remul.presets.resolve import resolve
from keras_remul.utils import atomic
from keras_remul.utils.plain_files import read_json
from keras_remul.utils.typing import StrPath, Tree
from keras_remul.utils.weights_memory import (
    count_bytes,
    weights_as_bytes,
    weights_digest,
)
from keras_remul.version import __version__

if TYPE_CHECKING:
    from keras_remul.symmetry import Symmetry


_TOLERANCE = 1e-5
# What is found here, and nobody else may say.
_OWN_FACTS = (
    "format",
    "class",
    "parameters",
    "keras_remul",
    "keras",
    "backend",
    "symmetry",
    "weights_sha256",
    "interface",
    "files",
)
_REMEDY = "Give a folder here, and `upload_preset` it from there."
_SLACK = 2**20  # bytes of weights beyond those of the file of them


def save_to_preset(
    model: keras.Model,
    path: StrPath,
    x: Tree | None = None,
    symmetry: Symmetry | None = None,
    metadata: dict[str, Any] | None = None,
    max_shard_size: float | None = None,
) -> None:
    """Writes a model as a preset folder.

    The folder is written under a temporary name, loaded again and compared with
    the model, the weights bit for bit. Only then is it renamed, so that it is
    complete or does not exist. An existing preset is replaced. The preset of a
    `RemulModel` also holds the symmetry and the state of the weighting, so that
    `compile` and `fit` can continue the training; it does not hold the state of
    the optimizer.

    Args:
        model: a built Keras model.
        path: the folder; `~` is the home folder. For a link, its target is
            written.
        x: inputs, a few samples: an array, or nested dicts, lists and tuples of
            arrays. The outputs of the model for them are stored, and
            `verify_preset` can compare other backends and machines with these.
            Optional.
        symmetry: the `Symmetry` that the model was trained for. With x, group
            elements g and the outputs for phi(g) x are stored as well. Defaults
            to the symmetry of a `RemulModel`.
        metadata: dictionary of further facts, JSON types only. Optional.
        max_shard_size: GB; larger weights are written as several files.
            Optional.

    Raises:
        ValueError: the model is not built, its class could not be loaded, its
            weights, inputs or outputs hold NaN, or the loaded model differs;
            `path` is an address or the working folder, or exists and is not a
            preset or holds other files, also hidden ones; `metadata` names a
            fact that this function writes, or holds values that JSON does not
            have, such as NaN, or that the card cannot show, such as `metrics`
            without numbers.
        OSError: the folder cannot be written, as on a full disk; an existing
            preset is kept.

    Example:

    >>> save_to_preset(model, "my_preset", x={"positions": positions[:8]})
    """
    if not model.built:
        raise ValueError(
            f"Model {model.name!r} has no weights yet. Call it on a batch, or "
            "fit it, before saving it as a preset."
        )
    path, name = places.local(path, _REMEDY)
    places.check_preset(path)
    _check_weights(model)
    symmetry = symmetry or getattr(model, "symmetry", None)
    config = configuration.of_model(model)
    facts = {
        "format": files.FORMAT,
        "class": config["registered_name"] or config["class_name"],
        "parameters": int(model.count_params()),
        "keras_remul": __version__,
        "keras": keras.__version__,
        "backend": keras.backend.backend(),
    }
    packages = configuration.packages_of(config)
    if symmetry is not None:
        facts["symmetry"] = keras.saving.serialize_keras_object(symmetry)
        packages |= configuration.packages_of(facts["symmetry"])
    facts["weights_sha256"] = weights_digest(model)
    _check_facts("argument `metadata`", metadata or {})
    _check_json("the configuration of the model", config)
    facts |= metadata or {}
    atomic.make_folder(path.parent)
    with (
        atomic.naming(path),
        tempfile.TemporaryDirectory(
            dir=path.parent, prefix=f".{path.name}-"
        ) as scratch,
    ):
        folder = pathlib.Path(scratch) / "preset"
        folder.mkdir()
        atomic.write_hidden(folder / files.CONFIG, atomic.as_json(config))
        # A copy has no optimizer.
        size = count_bytes(_state(model))
        copy = _make(folder, path, size=size, packages=packages)
        for old, new in zip(_state(model), _state(copy), strict=True):
            new.assign(keras.ops.convert_to_numpy(old))
        if max_shard_size is None:
            atomic.write_hidden(folder / files.WEIGHTS, weights_as_bytes(copy))
        else:
            _check_room(folder, size)
            copy.save_weights(
                folder / files.SHARDED_WEIGHTS, max_shard_size=max_shard_size
            )
        if x is not None:
            arrays = proof.made(model, x, symmetry)
            golden.write(folder / files.GOLDEN, arrays)
        _describe(folder, name, facts)
        _check_written(folder, model, packages)
        files.put(folder, path)


def _check_facts(name, facts):
    """Raises ValueError unless these may be added to the metadata."""
    if not isinstance(facts, dict) or not all(
        isinstance(key, str) for key in facts
    ):
        raise ValueError(
            f"No preset is saved: {name} must be a dictionary whose keys are "
            f"text. Received: {facts!r}"
        )
    taken = sorted({*_OWN_FACTS} & {*facts})
    if taken:
        raise ValueError(
            f"No preset is saved: {name} names what `save_to_preset` writes "
            f"of the model, and only it: {taken}"
        )
    _check_json(name, facts)


def _check_json(name, content):
    try:
        atomic.as_json(content)
    except ValueError as error:
        raise ValueError(f"No preset is saved: in {name}, {error}") from None


def _check_room(folder, size):
    """Raises OSError unless so many bytes of weights fit on the disk.

    Keras writes shards with HDF5, which ends the process on a full disk.
    """
    free = shutil.disk_usage(folder).free
    if free < size + _SLACK:
        raise OSError(
            f"The weights take {size:,} bytes; {free:,} are free in "
            f"{folder.parents[1]}. Make room, or give another folder."
        )


def _check_weights(model):
    for variable in model.weights:
        value = keras.ops.convert_to_numpy(variable)
        if value.dtype.kind not in "biu" and np.isnan(value).any():
            raise ValueError(
                f"The weight {variable.path} of the model {model.name!r} holds "
                "NaN, so it is not saved as a preset."
            )


def _check_written(path, model, packages):
    """Raises ValueError unless the folder holds this model, bit for bit."""
    with files.opened(path) as (folder, facts):
        written = _load(folder, facts, path, packages)
        if files.GOLDEN in facts["files"]:
            proof.compare(folder, written, facts, _TOLERANCE, path, packages)
    # Not the states of random generators, which Keras does not write.
    for old, new in zip(model.weights, written.weights, strict=True):
        old, value = map(keras.ops.convert_to_numpy, (old, new))
        if old.dtype != value.dtype or not np.array_equal(old, value):
            raise ValueError(
                f"The weight {new.path} changed when the preset was written "
                "and read; the preset is not saved. Check that get_config and "
                "from_config handle all arguments of the model."
            )


def update_metadata(path, packages=(), **changes):
    """Changes facts of a preset, and its card; the model is not changed.

    First the preset is loaded, and its weights are compared bit for bit with
    those that were saved.

    Args:
        path: the folder.
        packages: see `from_preset`.
        **changes: facts that are added or replaced, JSON types only; not those
            that `save_to_preset` writes, such as `symmetry`.

    Raises:
        ValueError: the preset is damaged; its folder holds other files, or is
            the working folder; a change is of a fact that describes the model,
            is not of a JSON type, or has the wrong type for the card.
    """
    _check_facts("the change", changes)
    path, name = places.local(path, _REMEDY)
    if path.exists():
        places.check_preset(path)
    with (
        files.opened(path) as (checked, facts),
        tempfile.TemporaryDirectory(
            dir=path.parent, prefix=f".{path.name}-"
        ) as scratch,
    ):
        _checked_model(checked, facts, path, packages)
        proof.symmetry_of(facts, path, packages)
        folder = shutil.copytree(checked, pathlib.Path(scratch) / "preset")
        _describe(folder, name, facts | changes)
        files.check_files(folder)
        files.put(folder, path)


def _describe(folder, name, facts):
    """Writes card and metadata."""
    facts["interface"] = interface(golden_of(folder))
    atomic.write_hidden(folder / files.CARD, card(name, facts))
    facts["files"] = files.describe(folder)
    atomic.write_hidden(folder / files.METADATA, atomic.as_json(facts))


def _state(model):
    """Weights and states of random generators; no metrics, no optimizer."""
    skipped = {id(variable) for variable in model.metrics_variables}
    return [v for v in model.variables if id(v) not in skipped]


def from_preset(
    name_or_path: StrPath,
    load_weights: bool = True,
    dtype: str | keras.DTypePolicy | None = None,
    zoo: str | None = None,
    packages: Collection[str] = (),
    **kwargs: Any,
) -> keras.Model:
    """Loads the model of a preset, on any backend.

    Nothing in a preset is executed. Each file is read once and compared with
    its sha256 before it is used. Its configuration may name only listed
    classes, see `docs/security.md`. A model whose weights are larger than their
    file is refused before memory is taken.

    Args:
        name_or_path: a folder; a name from `list_presets`; or the address of
            a preset: `https://`, `file://`, `hf://owner/name@revision` (extra
            `hf`) or `kaggle://owner/model/framework/variation` (extra
            `kaggle`).
        load_weights: whether the model has the weights of the preset. If not,
            it is a new model of that configuration, whose weights are drawn.
            Defaults to True.
        dtype: dtype or policy of the model and of all layers in it, such as
            `"bfloat16"`, `"mixed_bfloat16"` or a `keras.DTypePolicy`. Weights
            are cast when they are loaded. Defaults to those of the preset.
        zoo: address of another zoo, a folder with a `manifest.json`. Defaults
            to the presets of the package, and then those of
            `KERAS_REMUL_ZOO_URL`.
        packages: names of packages whose registered classes may be created,
            with any arguments, in addition to this library: `["mine"]` for
            classes under `keras.saving.register_keras_serializable("mine")`.
            Import them first.
        **kwargs: arguments of the model's constructor that replace those of
            the preset, such as `dropout=0.1`; of a model around a model, its
            own ones. With arguments that change the shapes of the weights, set
            `load_weights=False`.

    Returns:
        The Keras model.

    Raises:
        ValueError: the name is unknown; a file is missing, changed or not
            accepted; the model has no such argument; its weights do not fit
            the arguments, or the dtype.
        OSError: it could not be downloaded.

    Example:

    >>> model = from_preset("nbody_charged_transformer_remul")
    >>> y = model.predict(x)
    """
    changes = Changes(dtype, kwargs)
    path, pin = resolve(name_or_path, zoo)
    with files.opened(path, pin) as (folder, facts):
        if not load_weights:
            _, size = files.weights_file(folder, facts)
            return _make(folder, path, size, packages, changes, fresh=True)
        if not changes:
            return _checked_model(folder, facts, path, packages)
        model = _load(folder, facts, path, packages, changes)
        _check_changed(model, facts, path, changes)
        return model


def load_preset(name_or_path, zoo=None, packages=()) -> tuple[Any, Any, Any]:
    """The model of a preset, its metadata and its inputs; reads files once.

    Args, Raises: see `from_preset`.

    Returns:
        The model, the metadata, and the inputs whose outputs are stored, or
        None.
    """
    path, pin = resolve(name_or_path, zoo)
    with files.opened(path, pin) as (folder, facts):
        model = _checked_model(folder, facts, path, packages)
        x = None
        if files.GOLDEN in facts["files"]:
            file = path / files.GOLDEN
            stored = golden.read(folder / files.GOLDEN, file)
            x = golden.restore("input", stored)
        return model, _with_symmetry(facts, path, packages), x


def _checked_model(folder, facts, path, packages):
    model = _load(folder, facts, path, packages)
    _check_digest(model, facts, path)
    return model


def _load(folder, facts, path, packages, changes=None):
    """The model from files that were checked; errors name `path`."""
    weights, size = files.weights_file(folder, facts)
    model = _make(folder, path, size, packages, changes)
    try:
        model.load_weights(weights)
    except Exception as error:
        given = sorted(changes.arguments) if changes else ()
        other = f" with other {given} (load_weights=False draws new ones)"
        raise ValueError(
            f"{path / weights.name} does not hold the weights of the model in "
            f"{files.CONFIG}{other if given else ''}: {error}"
        ) from error
    return model


def _check_digest(model, facts, path):
    """Raises ValueError unless these are the weights that were saved."""
    # Presets written by older versions have none.
    if facts.get("weights_sha256") not in (None, weights_digest(model)):
        raise ValueError(
            f"Preset {path} gives other weights than those that were saved: "
            "their sha256 differs. Get the preset again."
        )


def _check_changed(model, facts, path, changes):
    """Raises ValueError unless the model has the weights of the preset."""
    count, saved = int(model.count_params()), facts.get("parameters")
    same = count == saved
    if same and changes.policy is None:
        same = facts.get("weights_sha256") in (None, weights_digest(model))
    if not same:
        raise ValueError(
            f"With other {sorted(changes.arguments)} the model has {count:,} "
            f"weights, which are not the {saved} of preset {path}. Set "
            "load_weights=False for a new model."
        )
    changes.check_cast(model)


def _make(folder, path, size, packages, changes=None, fresh=False):
    """The model of config.json, before its weights are loaded."""
    where = path / files.CONFIG
    config = read_json(folder / files.CONFIG)
    changes = changes or Changes()
    # A new model of other arguments may be larger than the one in the file.
    bounded = not (fresh and changes.arguments)

    def make():
        model = configuration.make(
            config, where, changes, size=size, packages=packages
        )
        if not isinstance(model, keras.Model):
            raise ValueError(f"{where} is not a Keras model.")
        needed = count_bytes(model.weights)
        if bounded and needed > size * changes.wider + _SLACK:
            raise ValueError(
                f"{where} asks for weights of {needed:,} bytes; the file of "
                f"them has {size:,}."
            )
        return model

    return make_fresh(make) if fresh else make_to_load(make)


def read_metadata(
    name_or_path: StrPath,
    zoo: str | None = None,
    packages: Collection[str] = (),
) -> dict[str, Any]:
    """The metadata of a preset, a dictionary; `"symmetry"` is a `Symmetry`.

    Args:
        name_or_path, zoo, packages: see `from_preset`.

    Raises:
        ValueError, OSError: see `from_preset`.
    """
    path, pin = resolve(name_or_path, zoo)
    return _with_symmetry(files.check_files(path, pin), path, packages)


def _with_symmetry(facts, path, packages):
    symmetry = proof.symmetry_of(facts, path, packages)
    return facts if symmetry is None else facts | {"symmetry": symmetry}


def verify_preset(
    name_or_path: StrPath,
    tolerance: float = _TOLERANCE,
    zoo: str | None = None,
    packages: Collection[str] = (),
) -> float:
    """Runs a preset on its stored inputs and compares the outputs.

    Names, shapes, dtypes and all numbers are compared. If the preset holds
    group elements g, the inputs are also transformed by them here; the
    transformed inputs and the outputs for them are compared as well. The
    weights are compared bit for bit with the saved ones, so that weights
    without effect on these outputs are checked too.

    Args:
        name_or_path, zoo, packages: see `from_preset`.
        tolerance: largest difference accepted, relative to the largest
            stored output. Defaults to 1e-5.

    Returns:
        The difference found.

    Raises:
        ValueError: a hash or the outputs differ, there is NaN, or no outputs
            are stored.
        OSError: it could not be downloaded.
    """
    path, pin = resolve(name_or_path, zoo)
    with files.opened(path, pin) as (folder, facts):
        model = _checked_model(folder, facts, path, packages)
        if files.GOLDEN not in facts["files"]:
            raise ValueError(
                f"Preset {path} holds no outputs to compare with; save it with "
                "`save_to_preset(model, path, x=...)`."
            )
        return proof.compare(folder, model, facts, tolerance, path, packages)
