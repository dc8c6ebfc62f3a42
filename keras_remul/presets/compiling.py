"""Models as compiled functions, for answers one at a time."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import keras
from keras import ops

from keras_remul import backend
from keras_remul.presets import free_axes
from keras_remul.presets.exporting import (
    difference,
    in_sorted_order,
    input_names,
)
from keras_remul.utils.causes import cause
from keras_remul.utils.typing import Tree

_DIFFERS = "The compiled model gives other outputs than the model"


def compiled(
    model: keras.Model, sample: Tree, tolerance: float = 1e-4
) -> Callable[[Tree], Tree]:
    """A model as a compiled function, for inference with little delay.

    `model.predict` is made for much data, and takes milliseconds to begin. On
    PyTorch, where a call of the model is not compiled, `torch.compile(model)`
    is slower than the model; this compiles the program that `torch.export`
    makes of it, by a C++ compiler. On JAX it is a `jax.jit`, on TensorFlow a
    `tf.function`.

    The function has the weights of now, whatever becomes of the model. It takes
    other numbers of samples, and of nodes where `export` leaves these free; on
    JAX and PyTorch the first call of a new size waits for the compiler. What it
    computes is compared with the model before it is returned.

    Args:
        model: a Keras model.
        sample: inputs, two samples or more, see `export`; compiled for their
            size.
        tolerance: largest difference accepted, relative to the largest
            output. Defaults to 1e-4.

    Returns:
        A function of inputs in the structure of `sample`, arrays or tensors,
        which are cast to its dtypes; its outputs are tensors in the structure
        of the model's. It raises a ValueError for inputs of another structure,
        or with floating-point numbers where the sample has integers.

    Raises:
        ValueError: the sample is too small or holds no numbers, or the outputs
            differ.
        RuntimeError: the model cannot be compiled, for the reason given.

    Example:

    >>> answer = compiled(model, {"positions": positions[:8]})
    >>> answer({"positions": positions[8:9]})
    """
    names = input_names(sample)
    sample = in_sorted_order(sample)
    shapes, _, expected = free_axes.tried(model, sample)
    shapes = dict(zip(names, shapes, strict=True))
    with _naming_the_backend():
        run, plain = backend.compiled(model, sample, shapes)
        found = [run(sample), *(plain(x) for x, _ in expected[1:])]
    difference(found, [y for _, y in expected], tolerance, _DIFFERS)
    return _for_inputs_like(sample, run)


def compiled_for(model, x, tolerance=1e-3):
    """A model as a function that is compiled for the shapes of x alone.

    For steps of many calls, of a single sample too. Where another program than
    that of the model is compiled, as on PyTorch, its outputs are compared with
    those of the model.

    Args:
        model: a Keras model that has its weights.
        x: inputs, dict of arrays in the order of sorted keys.
        tolerance: largest difference accepted, relative to the largest
            output.

    Returns:
        A function of such inputs; its outputs are tensors.

    Raises:
        ValueError: the outputs differ.
        RuntimeError: the model cannot be compiled, for the reason given.
    """
    with _naming_the_backend():
        run, plain = backend.compiled(
            model, x, {key: a.shape for key, a in x.items()}
        )
        found = run(x)
    if run is not plain:
        expected = model.predict_on_batch(x)
        difference([found], [expected], tolerance, _DIFFERS)
    return run


@contextlib.contextmanager
def _naming_the_backend():
    try:
        yield
    except Exception as error:
        raise RuntimeError(
            "The model cannot be compiled on the backend "
            f"{keras.backend.backend()!r}: {cause(error)}. On PyTorch this "
            "takes a C++ compiler, such as g++."
        ) from error


def _for_inputs_like(sample, run):
    """The function, after a look at the structure and dtypes of its inputs."""

    def answer(x):
        try:
            keras.tree.assert_same_structure(sample, x)
        except (ValueError, TypeError):
            raise ValueError(
                "Expected inputs in the structure of the sample: "
                f"{_structure(sample)}. Received: {_structure(x)}"
            ) from None
        return run(keras.tree.map_structure(_like, sample, x))

    return answer


def _structure(x):
    names = keras.tree.map_structure(lambda a: type(a).__name__, x)
    return str(names)


def _like(known, value):
    """The value as a tensor of the dtype of the sample."""
    value = ops.convert_to_tensor(value)
    given, wanted = (
        keras.backend.standardize_dtype(value.dtype),
        known.dtype.name,
    )
    if given == wanted:
        return value
    if keras.backend.is_float_dtype(given) > keras.backend.is_float_dtype(
        wanted
    ):
        raise ValueError(
            f"Expected an input of the dtype {wanted}, as in the sample. "
            f"Received: {given}"
        )
    return ops.cast(value, wanted)
