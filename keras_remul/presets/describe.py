"""What a preset expects, gives and achieves, in a few lines of text."""

from keras_remul.evaluation.measures import MEASURES, title
from keras_remul.presets import files, golden, proof
from keras_remul.presets.resolve import resolve


def describe_preset(name_or_path, zoo=None, packages=()):
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
        stored = {}
        if files.GOLDEN in facts["files"]:
            stored = golden.read(folder / files.GOLDEN, path / files.GOLDEN)
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
            parts += ["", f"{name}s:", *_leaves(data, representations)]
    parts += ["", *_figures(facts.get("metrics"))]
    return "\n".join(
        parts + _call(name_or_path, golden.restore("input", stored))
    )


def _line(text):
    """Text of a file on one line, without control characters."""
    return "".join(c if c.isprintable() else " " for c in str(text))


def _children(data):
    """(name, part) of a nest, or None for an array."""
    if isinstance(data, dict):
        return list(data.items())
    return list(enumerate(data)) if isinstance(data, (list, tuple)) else None


def _leaves(data, representations, name=""):
    """A line for each array."""
    children = _children(data)
    if children is None:
        shape = ", ".join(["B", *map(str, data.shape[1:])])
        how = "" if representations is None else f"  {representations!r}"
        return [f"  {_line(name)}  ({shape})  {data.dtype.name}{how}".rstrip()]
    lines = []
    for key, part in children:
        below = None
        if _children(representations) is not None:
            below = dict(_children(representations)).get(key)
        lines += _leaves(part, below, f"{name}.{key}" if name else str(key))
    return lines


def _figures(metrics):
    """A line for each figure that a card shows."""
    found = [
        f"  {title(key, metrics)}: {metrics[key]:.4g}"
        for key in MEASURES
        if isinstance((metrics or {}).get(key), (int, float))
    ]
    return ["figures:", *found, ""] if found else []


def _call(name, x):
    """Lines of code that load and call the preset."""
    load = [
        "import keras_remul as kr",
        f"model = kr.from_preset({str(name)!r})",
    ]
    if x is None:
        return load
    return [
        "import numpy as np",
        *load,
        "rng = np.random.default_rng(0)",
        f"x = {_code(x)}",
        "y = model.predict(x)",
    ]


def _code(data):
    """Code that makes a sample of this shape."""
    if isinstance(data, dict):
        parts = (f"{key!r}: {_code(part)}" for key, part in data.items())
        return f"{{{', '.join(parts)}}}"
    if isinstance(data, (list, tuple)):
        text = "".join(f"{_code(part)}, " for part in data)
        return f"[{text}]" if isinstance(data, list) else f"({text})"
    shape = (1, *data.shape[1:])
    if data.dtype.kind == "f":
        return f"rng.normal(size={shape}).astype({data.dtype.name!r})"
    return f"np.ones({shape}, {data.dtype.name!r})"
