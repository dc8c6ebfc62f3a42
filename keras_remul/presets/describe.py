"""What a preset expects, gives and achieves, in a few lines of text."""

from __future__ import annotations

import json
from collections.abc import Collection

import numpy as np

from keras_remul.evaluation.measures import MEASURES, title
from keras_remul.presets import files, golden, proof
from keras_remul.presets.resolve import resolve
from keras_remul.utils.typing import StrPath

_MOST_NUMBERS = 64  # that code shows one by one


def describe_preset(
    name_or_path: StrPath,
    zoo: str | None = None,
    packages: Collection[str] = (),
) -> str:
    """What a preset is, its inputs and outputs, its figures, and a call.

    The files are checked as by `from_preset`; no model is made.

    Args:
        name_or_path, zoo, packages: see `from_preset`.

    Returns:
        Text: the description; name, shape, dtype and representation of each
        input and output, if the preset holds samples of them; the symmetry, the
        figures of its card, and code that calls it.

    Raises:
        ValueError, OSError: see `from_preset`.

    Example:

    >>> print(kr.describe_preset("nbody_charged_transformer_remul"))
    """
    path, pin = resolve(name_or_path, zoo)
    with files.opened(path, pin) as (folder, facts):
        stored = golden_of(folder, path)
    symmetry = proof.symmetry_of(facts, path, packages)
    kind = str(facts["class"]).rpartition(">")[2]
    parts = [
        _line(facts.get("description") or path.name),
        f"{kind}, {facts['parameters']:,} parameters",
    ]
    if "dataset" in facts:
        parts.append(f"data: {_line(facts['dataset'])}")
    if symmetry is not None:
        parts.append(f"symmetry: {symmetry.group!r}")
    for name, representations in (
        ("input", symmetry and symmetry.inputs),
        ("output", symmetry and symmetry.outputs),
    ):
        data = golden.restore(name, stored)
        if data is not None:
            parts += ["", f"{name}s:", *_lines(data, representations)]
    parts += ["", *_figures(facts.get("metrics"))]
    return "\n".join(
        parts + calling(name_or_path, interface(stored).get("sample"))
    )


def _line(text):
    """Text of a file on one line, without control characters."""
    return "".join(c if c.isprintable() else " " for c in str(text))


def _children(data):
    """(name, part) of a nest, or None for an array."""
    if isinstance(data, dict):
        return list(data.items())
    return list(enumerate(data)) if isinstance(data, (list, tuple)) else None


def _leaves(data, beside=None, name=""):
    """(name, array, what stands in its place in the nest `beside`)."""
    children = _children(data)
    if children is None:
        yield name, data, beside
        return
    below = dict(_children(beside) or ())
    for key, part in children:
        yield from _leaves(part, below.get(key), f"{name}.{key}".lstrip("."))


def _lines(data, representations):
    """A line for each array."""
    lines = []
    for name, array, representation in _leaves(data, representations):
        shape = ", ".join(["B", *map(str, array.shape[1:])])
        how = "" if representation is None else f"  {representation!r}"
        line = f"  {_line(name)}  ({shape})  {array.dtype.name}{how}"
        lines.append(line.rstrip())
    return lines


def _figures(metrics):
    """A line for each figure that a card shows."""
    found = [
        f"  {title(key, metrics)}: {metrics[key]:.4g}"
        for key in MEASURES
        if isinstance((metrics or {}).get(key), (int, float))
    ]
    return ["figures:", *found, ""] if found else []


def golden_of(folder, where=None):
    """The arrays of golden.npz in the folder; none without one.

    Args:
        folder: where its files are.
        where: the folder that errors name. Defaults to `folder`.
    """
    file = folder / files.GOLDEN
    where = (where or folder) / files.GOLDEN
    return golden.read(file, where) if file.exists() else {}


def interface(stored):
    """What a card says of inputs and outputs, from the arrays of golden.npz.

    Returns:
        Dict of `"inputs"` and `"outputs"`, lists of [name, shape, dtype] where
        the samples are the letter B, and `"sample"`, code of such inputs; empty
        without inputs.
    """
    x = golden.restore("input", stored)
    if x is None:
        return {}
    found = {"inputs": _named(x), "sample": _code(x)}
    return found | {"outputs": _named(golden.restore("output", stored))}


def _named(data):
    return [
        [name, ["B", *array.shape[1:]], array.dtype.name]
        for name, array, _ in _leaves(data)
    ]


def calling(name, sample):
    """Lines of code that load and call the preset; None for no sample."""
    load = [
        "import keras_remul as kr",
        "",
        f"model = kr.from_preset({str(name)!r})",
    ]
    if sample is None:
        return load
    return [
        "import numpy as np",
        "",
        *load,
        "rng = np.random.default_rng(0)",
        f"x = {sample}",
        "y = model.predict(x)",
    ]


def _code(data, indent="    "):
    """Code that makes a sample like the first one."""
    children, deeper = _children(data), indent + "    "
    if children is not None:
        keys = isinstance(data, dict)
        lines = [
            f"{indent}{_text(key) + ': ' if keys else ''}{_code(part, deeper)},"
            for key, part in children
        ]
        start, end = "{}" if keys else "[]" if isinstance(data, list) else "()"
        return "\n".join([start, *lines, indent[4:] + end])
    return _values(data)


def _values(data):
    """Code that makes one sample: elements as they are, positions at random."""
    dtype, array = data.dtype.name, data[:1].astype("float64")
    shape = array.shape
    whole = np.isfinite(array).all() and (array == np.round(array)).all()
    if whole and array.size <= _MOST_NUMBERS:
        return f'np.array({array.astype("int64").tolist()}, "{dtype}")'
    if array.ndim == 3 and np.array_equal(array[0], np.eye(*shape[1:])):
        return f'np.eye({shape[1]}, dtype="{dtype}")[None]'
    if np.dtype(dtype).kind == "f" and _are_four_momenta(array):
        rows = array.reshape(-1, 4)[:2].tolist()
        rows = [[float(f"{value:.4g}") for value in row] for row in rows]
        return f'np.resize(np.array({rows}, "{dtype}"), {shape})'
    if np.dtype(dtype).kind == "f":
        mean, spread = (
            f"{f(data.astype('float64')):.2g}" for f in (np.mean, np.std)
        )
        return f'rng.normal({mean}, {spread}, {shape}).astype("{dtype}")'
    return f'np.ones({shape}, "{dtype}")'


def _are_four_momenta(array):
    """Whether energies come first: numbers at random would be no momenta."""
    square = array[..., :1] ** 2 - (array[..., 1:] ** 2).sum(-1, keepdims=True)
    slack = 1e-6 * array[..., :1] ** 2
    return array.shape[-1] == 4 and bool((square >= -slack).all())


def _text(key):
    return json.dumps(key, ensure_ascii=False)
