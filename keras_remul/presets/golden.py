"""Inputs and outputs of a preset: plain arrays, named by their path.

    {"atoms": {"q": a}, "t": [b, (c,)]}

is stored as `input/atoms/q`, `input/t[0]`, `input/t[1](0)`, and loaded with the
same structure. Nothing is pickled.
"""

import io
import re
import urllib.parse
from typing import Any

import keras
import ml_dtypes
import numpy as np
from keras import ops

from keras_remul.utils import atomic
from keras_remul.utils.npz import read_stored

PARTS = ("input", "output", "element", "moved_input", "moved_output")
_DEEPEST = 32
_PART = re.compile(r"/([^/\[\]():]*)|\[(\d+)\]|\((\d+)\)")
# NumPy's files have no such type: stored as float32, under a longer name.
_BFLOAT16 = ":bfloat16"


def flatten(prefix, data):
    """The arrays of a structure of dicts, lists and tuples, by path.

    Raises:
        ValueError: the structure is empty, a key is not a string, or a leaf is
            a named tuple or not an array of numbers or booleans.
    """
    if isinstance(data, dict):
        for key in data:
            if not isinstance(key, str):
                raise ValueError(
                    f"The keys of `{prefix}` must be strings. Received: {key!r}"
                )
        items = [(f"/{_quote(key)}", data[key]) for key in data]
    elif isinstance(data, tuple) and hasattr(data, "_fields"):
        raise ValueError(
            f"`{prefix}` is a named tuple, {type(data).__name__}; give a tuple "
            "or a dict."
        )
    elif isinstance(data, tuple):
        items = [(f"({i})", value) for i, value in enumerate(data)]
    elif isinstance(data, list):
        items = [(f"[{i}]", value) for i, value in enumerate(data)]
    else:
        return {prefix: _array(prefix, data)}
    if not items:
        raise ValueError(f"`{prefix}` is empty: {data!r}")
    result = {}
    for part, value in items:
        result |= flatten(prefix + part, value)
    return result


def _quote(key):
    # Digits alone are entries of lists in older files.
    text = urllib.parse.quote(key, safe="")
    return f"%{ord(key[0]):02X}{key[1:]}" if text.isdigit() else text


def _array(path, value):
    if value is None:
        raise ValueError(f"`{path}` is None; give an array.")
    if not isinstance(value, np.ndarray):
        value = ops.convert_to_numpy(value)
    if value.dtype.kind not in "biufc" and value.dtype != ml_dtypes.bfloat16:
        raise ValueError(
            f"`{path}` must be an array of numbers or booleans. Received: "
            f"dtype {value.dtype}"
        )
    return value


def restore(prefix, stored):
    """The structure that `flatten` was given, or None.

    Raises:
        ValueError: the paths are not those of one structure.
    """
    entries = []
    for path, value in stored.items():
        rest = path.removeprefix(prefix)
        if path.startswith(prefix) and (not rest or rest[0] in "/[("):
            entries.append((_parts(path, rest), value))
    return _build(prefix, entries) if entries else None


def _parts(path, rest):
    parts, position = [], 0
    while position < len(rest):
        match = _PART.match(rest, position)
        if match is None or len(parts) == _DEEPEST:
            raise ValueError(f"{path[:200]!r} is not the path of an array.")
        key, of_list, of_tuple = match.groups()
        if of_list or (key and key.isdigit()):
            parts.append((list, int(of_list or key)))
        elif of_tuple:
            parts.append((tuple, int(of_tuple)))
        else:
            parts.append((dict, urllib.parse.unquote(key)))
        position = match.end()
    return parts


def _build(prefix, entries):
    if len(entries) == 1 and not entries[0][0]:
        return entries[0][1]
    kinds: set[Any] = {parts[0][0] if parts else None for parts, _ in entries}
    groups = {}
    for parts, value in entries:
        key = parts[0][1] if parts else None
        groups.setdefault(key, []).append((parts[1:], value))
    if len(kinds) != 1 or None in kinds:
        raise ValueError(f"The paths of `{prefix}` contradict each other.")
    built = {key: _build(prefix, group) for key, group in groups.items()}
    (kind,) = kinds
    if kind is dict:
        return built
    if sorted(built) != list(range(len(built))):
        raise ValueError(f"Entries of `{prefix}` are missing.")
    return kind(built[i] for i in range(len(built)))


def comparable(prefix, data):
    """As `flatten`, the same for lists and tuples: JSON has no tuples."""
    return flatten(prefix, keras.tree.lists_to_tuples(data))


def write(file, arrays):
    """Writes arrays by path; they must be without NaN.

    Raises:
        ValueError: one holds NaN.
    """
    for path, value in arrays.items():
        if _has_nan(value):
            raise ValueError(
                f"`{path}` holds NaN, so a preset could not be verified."
            )
    plain = {}
    for path, value in arrays.items():
        if value.dtype == ml_dtypes.bfloat16:
            path, value = path + _BFLOAT16, value.astype("float32")
        plain[path] = value
    stream = io.BytesIO()
    np.savez(stream, **plain)
    atomic.write_hidden(file, stream.getvalue())


def read(file, where=None):
    """The arrays of a file, by path; not larger than the file itself.

    Args:
        file: its path.
        where: its name in errors. Defaults to the path.

    Raises:
        ValueError: it is not such a file, or would unpack to more bytes.
    """
    where = file if where is None else where
    arrays = {}
    for key, value in read_stored(file, where).items():
        path = key.removesuffix(_BFLOAT16)
        if (
            path in arrays
            or value.dtype.kind not in "biufc"
            or (path != key and value.dtype != "float32")
        ):
            raise ValueError(
                f"{where} is not accepted: {key[:200]!r} occurs twice, or "
                f"is not an array of numbers or booleans (dtype {value.dtype})."
            )
        # In the order of bytes of this machine: the backends take no other.
        value = value.astype(value.dtype.newbyteorder("="), copy=False)
        arrays[path] = (
            value if path == key else value.astype(ml_dtypes.bfloat16)
        )
    return arrays


def check(found, expected, tolerance, text):
    """Raises ValueError unless arrays are those expected.

    `max_k max |found_k - expected_k| / max |expected_k| <= tolerance`

    Names, shapes and dtypes must be the same, integers may have another width;
    infinities must be in the same places, and NaN in none.

    Args:
        found, expected: dicts of arrays by name.
        tolerance: largest difference accepted, relative to the largest
            entry of the array expected.
        text: the beginning of the error message.

    Returns:
        The difference, a float.
    """
    missing, unknown = set(expected) - set(found), set(found) - set(expected)
    if missing or unknown:
        raise ValueError(
            f"{text}: missing {sorted(missing)}, unknown {sorted(unknown)}."
        )
    worst, where = 0.0, None
    for name in expected:
        try:
            distance = _distance(found[name], expected[name])
        except ValueError as error:
            raise ValueError(f"{text}: `{name}` {error}.") from None
        if where is None or distance > worst:
            worst, where = distance, name
    if not worst <= tolerance:
        raise ValueError(
            f"{text}: relative difference {worst:.3g} of `{where}` > tolerance "
            f"{tolerance:.3g}."
        )
    return worst


def _distance(found, expected):
    for what, a, b in (
        ("shape", found.shape, expected.shape),
        ("dtype", _dtype(found), _dtype(expected)),
    ):
        if a != b:
            raise ValueError(f"has the {what} {a} instead of {b}")
    if _has_nan(found) or _has_nan(expected):
        raise ValueError("holds NaN")
    wide = "complex128" if found.dtype.kind == "c" else "float64"
    found, expected = found.astype(wide), expected.astype(wide)
    finite = np.isfinite(expected)
    if not np.array_equal(found[~finite], expected[~finite]):
        raise ValueError("has infinities in other places")
    found, expected = found[finite], expected[finite]
    if not expected.size:
        return 0.0
    scale = float(np.abs(expected).max()) or 1.0
    return float(np.abs(found - expected).max()) / scale


def _dtype(array):
    kind = array.dtype.kind
    return {"i": "integer", "u": "unsigned"}.get(kind, array.dtype.name)


def _has_nan(array):
    return array.dtype.kind not in "biu" and bool(np.isnan(array).any())
