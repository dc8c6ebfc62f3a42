"""Models as files for other programs, checked before they are there."""

import importlib.util
import os
import pathlib
import tempfile

import keras
import numpy as np

from keras_remul import backend

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
_SUFFIXES = {"onnx": ".onnx", "tf_saved_model": "", "torch": ".pt2"}


def export(model, path, sample, format="onnx", tolerance=1e-4):
    """Writes a model as a file that runs without Keras, and checks it first.

    `max |y_file(x) - y_model(x)| <= tolerance * max |y_model(x)|`

    The file is made by `model.export` beside its place, run on the sample
    and on one input of it alone, and moved to its place only if its outputs
    are those of the model. The batch size is free; all other axes are those of
    the sample.

    Args:
        model: a Keras model. Of a `RemulModel` export the wrapped one,
            `remul.model`.
        path: the file, or the folder for `"tf_saved_model"`. What stood there
            is replaced.
        sample: inputs, two samples or more: an array or a dict of arrays.
        format: `"onnx"`, `"tf_saved_model"` or `"torch"` (`.pt2`, of
            `torch.export`). Defaults to `"onnx"`.
        tolerance: largest difference accepted, relative to the largest
            output. Defaults to 1e-4.

    Returns:
        The difference found.

    Raises:
        ValueError: the backend does not write this format, `path` has another
            suffix, the sample is too small, or the outputs differ; in that
            case nothing is written.
        ImportError: a package is missing.
        RuntimeError: the file made does not run; nothing is written.

    Example:

    >>> export(model, "model.onnx", sample={"positions": positions[:8]})
    2.1e-07
    """
    path = pathlib.Path(path)
    _check(path, format)
    sample = keras.tree.map_structure(np.asarray, sample)
    if len(keras.tree.flatten(sample)[0]) < 2:
        raise ValueError(
            "Argument `sample` must hold two samples or more, to show that "
            "the batch size is free. Received: one"
        )
    one = keras.tree.map_structure(lambda a: a[:1], sample)
    expected = [(x, model.predict(x, verbose=0)) for x in (sample, one)]
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(
        dir=path.parent, prefix=f".{path.name}-"
    ) as scratch:
        new = pathlib.Path(scratch) / f"new{_SUFFIXES[format]}"
        backend.write_exported(model, new, format, _signature(sample))
        try:
            run = _load(new, format)
            worst = max(_difference(run(x), y) for x, y in expected)
        except Exception as error:
            raise RuntimeError(
                f"The exported file does not run. Nothing was written to "
                f"{path}. Use another format or another backend."
            ) from error
        if not worst <= tolerance:
            raise ValueError(
                f"The exported file gives other outputs than the model: "
                f"relative difference {worst:.3g} > tolerance "
                f"{tolerance:.3g}. Nothing was written to {path}."
            )
        if path.is_dir():
            os.replace(path, pathlib.Path(scratch) / "old")
        os.replace(new, path)
    return worst


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
    if path.is_dir() and not (path / "saved_model.pb").is_file():
        raise ValueError(
            f"`path` is a folder and not a saved model; it is left alone: "
            f"{path}"
        )
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


def _signature(sample):
    if not isinstance(sample, dict):
        return [_spec("x", sample)]
    return [{key: _spec(key, sample[key]) for key in sorted(sample)}]


def _spec(name, array):
    return keras.InputSpec(
        dtype=str(array.dtype), shape=(None, *array.shape[1:]), name=name
    )


def _load(path, format):
    if format != "onnx":
        return backend.load_exported(path, format)
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path))
    names = [node.name for node in session.get_inputs()]

    def run(x):
        if not isinstance(x, dict):
            x = {names[0]: x}
        return session.run(None, {name: x[name] for name in names})

    return run


def _difference(received, expected):
    """Largest of all outputs, relative to the largest output."""
    received, expected = map(keras.tree.flatten, (received, expected))
    return max(
        float(np.abs(a - b).max()) / float(np.abs(b).max() or 1.0)
        for a, b in zip(received, expected, strict=True)
    )
