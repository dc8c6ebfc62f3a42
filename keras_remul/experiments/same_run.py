"""Whether a folder holds the requested run, and no process uses it."""

import contextlib
import hashlib
import json
import re

import keras
import numpy as np
from filelock import FileLock, Timeout

from keras_remul.utils import atomic

CONFIG = "config.json"
LOCK = "run.lock"
_SHOWN = 5


class InUseError(OSError):
    """Another process uses the folder of a run."""


@contextlib.contextmanager
def locked(folder):
    """Locks the folder of a run; the lock ends with the process.

    Raises:
        InUseError: another process holds it.
        OSError: the lock cannot be written.
    """
    try:
        with atomic.naming(folder / LOCK):
            lock = FileLock(folder / LOCK).acquire(timeout=0)
    except Timeout:
        raise InUseError(
            f"{folder} is in use: another process trains there. Wait for it, "
            "or give another folder."
        ) from None
    with lock:
        yield


def digests(data):
    """The sha256 of the arrays of each split.

    Args:
        data: dict from names of splits to nested structures of arrays.
    """
    found = {}
    for split, arrays in data.items():
        digest = hashlib.sha256()
        for path, array in keras.tree.flatten_with_path(arrays):
            array = np.ascontiguousarray(array)
            digest.update(f"{path}{array.dtype.str}{array.shape}".encode())
            digest.update(array.data.cast("B") if array.size else b"")
        found[split] = digest.hexdigest()
    return found


def identity(facts):
    """Facts of a run as JSON, the same in each process.

    Args:
        facts: nested dict, with objects as Keras serialises them. Keras numbers
            layers by process; here their names are numbered by order.
    """
    # Infinite arguments as text, for JSON has no numbers for them.
    facts = json.loads(json.dumps(facts), parse_constant=str)
    names = {}
    _collect(facts, names)
    return _rename(facts, names)


def _collect(node, names):
    """Finds the name of each serialised object, in order."""
    if isinstance(node, dict):
        config = node.get("config")
        if "class_name" in node and isinstance(config, dict):
            name = config.get("name")
            if isinstance(name, str) and name not in names:
                base = re.sub(r"_\d+$", "", name)
                number = sum(
                    n.rpartition("#")[0] == base for n in names.values()
                )
                names[name] = f"{base}#{number}"
        node = list(node.values())
    if isinstance(node, list):
        for child in node:
            _collect(child, names)


def _rename(node, names):
    if isinstance(node, dict):
        return {
            key: names.get(value, value)
            if key == "name" and isinstance(value, str)
            else _rename(value, names)
            for key, value in node.items()
        }
    if isinstance(node, list):
        # Keras' references to tensors: [layer, node, tensor].
        if len(node) == 3 and [type(a) for a in node] == [str, int, int]:
            return [names.get(node[0], node[0]), *node[1:]]
        return [_rename(child, names) for child in node]
    return node


def digest(facts):
    """The sha256 of an `identity`, for the histories of the run.

    Facts that `check` finds equal have the same digest, such as 1 and 1.0.
    """
    text = json.dumps(_plain(facts), sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _plain(node):
    if isinstance(node, dict):
        return {key: _plain(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_plain(value) for value in node]
    whole = isinstance(node, float) and node.is_integer()
    return int(node) if whole or isinstance(node, bool) else node


def check(facts, folder):
    """Raises ValueError if a folder holds another run.

    Args:
        facts: `identity` of this run.
        folder: `pathlib.Path`; `config.json` holds the facts of its run.
    """
    file = folder / CONFIG
    if not file.is_file():
        for name in ("history.json", "history.previous.json", "result.json"):
            if (folder / name).is_file():
                raise ValueError(
                    f"{folder} holds a run, {name}, but no {CONFIG} that says "
                    "which. Give another folder, or remove it."
                )
        return
    try:
        there = json.loads(file.read_text())
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"{file} is damaged: {error}. Put it back from a copy, or remove "
            f"{folder} to train anew."
        ) from None
    if not isinstance(there, dict):
        raise ValueError(
            f"{file} is damaged: it holds no JSON object. Put it back from a "
            f"copy, or remove {folder} to train anew."
        )
    found = list(_differences(there, facts, ""))
    if not found:
        return
    other = [d for d in found if _NONE not in d]
    paths = [path for path, *_ in found]
    if not other and any(old is _NONE for _, old, _ in found):
        unsaid = [path for path, old, _ in found if old is _NONE]
        text = (
            f"that does not say its {', '.join(unsaid)}, perhaps of an earlier "
            "version, so it cannot be compared with this one. Give another "
            "folder"
        )
    elif all(path.startswith("data.") for path in paths):
        splits = ", ".join(path.removeprefix("data.") for path in paths)
        text = (
            f"on other data: the sha256 of {splits} differs from that in "
            f"{CONFIG}. Restore the data of that run, or give another folder"
        )
    else:
        differences = [
            f"{path}={old!r} (here {new!r})"
            for path, old, new in (other or found)
        ]
        text = f"with {', '.join(differences[:_SHOWN])}"
        if len(differences) > _SHOWN:
            text += f" and {len(differences) - _SHOWN} more differences"
        text += ". Give another folder"
    raise ValueError(f"{folder} holds a run {text}, or remove it.")


class _None:
    def __repr__(self):
        return "nothing"


_NONE = _None()


def _differences(there, here, path):
    """(path, there, here) of each fact that differs."""
    if isinstance(there, dict) and isinstance(here, dict):
        for key in {**here, **there}:
            # "remul.model.hidden_dim": the levels of Keras say nothing.
            deeper = path if key == "config" else f"{path}.{key}".lstrip(".")
            yield from _differences(
                there.get(key, _NONE), here.get(key, _NONE), deeper
            )
    elif (
        isinstance(there, list)
        and isinstance(here, list)
        and len(there) == len(here)
    ):
        for i, (a, b) in enumerate(zip(there, here, strict=True)):
            yield from _differences(a, b, f"{path}[{i}]")
    elif there is not here and there != here:
        yield path, there, here
