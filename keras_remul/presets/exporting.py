"""Models as files for other programs, checked before they are there."""

from __future__ import annotations

import importlib.util
import pathlib
import re
import tempfile
from typing import Any, NamedTuple

import keras
import numpy as np

from keras_remul import backend
from keras_remul.presets import files, free_axes, golden, places
from keras_remul.utils import atomic
from keras_remul.utils.causes import cause
from keras_remul.utils.typing import StrPath, Tree

# format -> backend -> the packages that writing and running it takes.
PACKAGES = {
    "onnx": {
        "jax": ["jax2onnx", "onnxruntime"],
        "tensorflow": ["tf2onnx", "onnxruntime"],
        "torch": ["onnx", "onnxscript", "onnxruntime"],
    },
    "tf_saved_model": {"jax": ["tensorflow"], "tensorflow": []},
    "torch": {"torch": []},
}
# (format, backend) -> why its files leave no number of nodes free.
_FIXED = {
    ("onnx", "jax"): "jax2onnx leaves one axis free, that of the samples",
}
_SUFFIXES = {"onnx": ".onnx", "tf_saved_model": "", "torch": ".pt2"}


class Exported(NamedTuple):
    """What is known of a file that was written.

    Attributes:
        difference: the largest between the outputs of the file and those of
            the model, relative to the largest output.
        shapes: of the inputs, by their names in the file: lengths, and
            `"batch"` and `"nodes"` for the axes that are free.
        fixed: why the number of nodes is that of the sample; None where it is
            free.
    """

    difference: float
    shapes: dict
    fixed: str | None


def export(
    model: keras.Model,
    path: StrPath,
    sample: Tree,
    format: str = "onnx",
    tolerance: float = 1e-4,
) -> Exported:
    """Writes a model as a file that runs without Keras, and checks it first.

    `max |y_file(x) - y_model(x)| <= tolerance * max |y_model(x)|`

    for each output. The file is written beside its place, run on the sample
    and on inputs of other sizes, and moved to its place only if its outputs are
    those of the model: in number, shapes and dtypes, and without NaN. `"torch"`
    wants dicts with sorted keys.

    The batch size is free. So is the number of nodes, if the inputs say which
    axes count them, by being a dict with `"positions"` as in `NodeModel`, or
    by axes of the length None of a functional model; and if the model takes
    another number, which one that knows its nodes (`node_identity=True`,
    `LinearNodes`, `Alignment`) does not. ONNX files of JAX have the number of
    the sample. All other axes are those of the sample, too. What is returned
    says which are free.

    An ONNX file calls its inputs by their path, `positions`, `atoms_positions`
    of `{"atoms": {"positions": ...}}`, `x_0` and `x_1` of a list. Outputs that
    a format cannot hold become a list, those of dicts in the order of their
    sorted keys.

    Args:
        model: a Keras model. Of a `RemulModel` export the wrapped one,
            `remul.model`.
        path: the file, or the folder for `"tf_saved_model"`. What stood there
            is replaced: a file by a file, and a saved model, beside which the
            folder holds nothing, by another.
        sample: inputs, two samples or more: an array, or dicts, lists and
            tuples of arrays, nested as you like.
        format: `"onnx"`, `"tf_saved_model"` or `"torch"` (`.pt2`, of
            `torch.export`). Defaults to `"onnx"`.
        tolerance: largest difference accepted, relative to the largest
            output. Defaults to 1e-4.

    Returns:
        An `Exported`: the difference found, the shapes of the inputs, and why
        the number of nodes is fixed, where it is.

    Raises:
        ValueError: the backend does not write this format, `path` has another
            suffix or is a folder that is left alone, the sample is too small
            or holds no numbers, or the outputs differ; in that case nothing is
            written.
        ImportError: a package is missing.
        OSError: the folder cannot be written; what stood there stays.
        RuntimeError: the file cannot be made, or does not run, for the reason
            that the converter gives; nothing is written.

    Example:

    >>> done = export(model, "model.onnx", {"positions": positions[:8]})
    >>> done.difference, done.shapes
    (2.1e-07, {"positions": ("batch", "nodes", 3)})
    """
    path, _ = places.local(path)
    _check(path, format)
    names = input_names(sample)
    sample = in_sorted_order(sample)
    fixed = _FIXED.get((format, keras.backend.backend()))
    shapes, fixed, expected = free_axes.tried(model, sample, fixed)
    shapes = dict(zip(names, shapes, strict=True))
    atomic.make_folder(path.parent)
    with (
        atomic.naming(path),
        tempfile.TemporaryDirectory(
            dir=path.parent, prefix=f".{path.name}-"
        ) as scratch,
    ):
        new = pathlib.Path(scratch) / f"new{_SUFFIXES[format]}"
        flat = _has_to_be_flat(expected[0][1], format)
        source = _Flat(model) if flat else model
        try:
            backend.write_exported(source, new, format, sample, shapes)
            run: Any = load(new, format, names)
            found = [run(x) for x, _ in expected]
        except OSError:
            raise  # the disk, and not the converter
        except Exception as error:
            raise RuntimeError(
                f"The model cannot be exported as {format!r} on the backend "
                f"{keras.backend.backend()!r}: {cause(error)}. The shapes were "
                f"{shapes}. Nothing was written to {path}. Use another format "
                "or another backend; or, where a number of nodes that is not "
                "fixed is at fault, a functional model of inputs that have one."
            ) from error
        worst = difference(
            found,
            [y for _, y in expected],
            tolerance,
            f"The exported file gives other outputs than the model, and "
            f"nothing was written to {path}",
        )
        files.put(new, path)
    return Exported(worst, shapes, fixed)


def _check(path, format):
    name = keras.backend.backend()
    if format not in PACKAGES or name not in PACKAGES[format]:
        known = [key for key in PACKAGES if name in PACKAGES[key]]
        raise ValueError(
            f"On the backend {name!r}, argument `format` must be one of "
            f"{known}. Received: {format!r}"
        )
    if path.suffix != _SUFFIXES[format] and _SUFFIXES[format]:
        raise ValueError(
            f"Argument `path` must end with {_SUFFIXES[format]!r} for the "
            f"format {format!r}. Received: {str(path)!r}"
        )
    places.check_export(path, format, _SUFFIXES[format])
    missing = [
        package
        for package in PACKAGES[format][name]
        if importlib.util.find_spec(package) is None
    ]
    if missing:
        raise ImportError(
            f"Format {format!r} on the backend {name!r} needs {missing}: "
            f"pip install {' '.join(missing)}"
        )


def input_names(sample):
    """A name for each input, its path, in the order of `keras.tree.flatten`."""
    arrays = golden.flatten("sample", sample)
    sizes = {a.shape[0] if a.ndim else None for a in arrays.values()}
    if len(sizes) != 1 or any(size is None or size < 2 for size in sizes):
        raise ValueError(
            "Argument `sample` must hold two samples or more in each array, to "
            "show that the batch size is free. Received: shapes "
            f"{ {path: a.shape for path, a in arrays.items()} }"
        )
    paths = [path for path, _ in keras.tree.flatten_with_path(sample)]
    names = []
    for path in paths:
        # Names in files of all formats: letters, digits, no digit first.
        name = re.sub(r"\W", "_", "_".join(map(str, path)), flags=re.ASCII)
        names.append(name if name[:1].isalpha() else f"x_{name}".rstrip("_"))
    return [
        name if names.count(name) == 1 else f"{name}_{i}"
        for i, name in enumerate(names)
    ]


def in_sorted_order(data):
    """Arrays, dicts in the order of their sorted keys."""
    if isinstance(data, dict):
        return {key: in_sorted_order(data[key]) for key in sorted(data)}
    if isinstance(data, (list, tuple)):
        return type(data)(in_sorted_order(value) for value in data)
    return np.asarray(data)


def _has_to_be_flat(y, format):
    """Whether a format cannot hold the structure of outputs y."""
    if not keras.tree.is_nested(y) or format == "torch":
        return False
    if keras.backend.backend() == "torch":
        return True  # its converter has an order of its own
    children = y.values() if isinstance(y, dict) else y
    return any(map(keras.tree.is_nested, children))


class _Flat(keras.Model):
    """A model whose outputs are a list."""

    def __init__(self, model):
        super().__init__(autocast=False, name="flat")
        self.model = model
        self.built = True

    def call(self, inputs, training=None):
        return keras.tree.flatten(self.model(inputs, training=training))


def load(path, format, names):
    """An exported file as a function of inputs, whose outputs are arrays.

    Args:
        path, format: see `export`.
        names: of the inputs, in the order of `keras.tree.flatten`.
    """
    if format != "onnx":
        return backend.load_exported(path, format)
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors: `export` compares the outputs
    session = onnxruntime.InferenceSession(str(path), options)
    there = {node.name for node in session.get_inputs()}

    def run(x):
        arrays = zip(names, keras.tree.flatten(x), strict=True)
        # The converters leave out what the outputs do not depend on.
        return session.run(None, {n: a for n, a in arrays if n in there})

    return run


def difference(found, expected, tolerance, text):
    """The largest between outputs, in two lists; see `golden.check`."""
    return max(
        golden.check(_flat(y), _flat(wanted), tolerance, text)
        for y, wanted in zip(found, expected, strict=True)
    )


def _flat(outputs):
    """Outputs by their number; ONNX knows no structure."""
    return {
        f"output {i}": keras.ops.convert_to_numpy(y)
        for i, y in enumerate(keras.tree.flatten(outputs))
    }
