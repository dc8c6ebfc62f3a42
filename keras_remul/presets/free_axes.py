"""Which axes of its inputs an exported file leaves free, and inputs to try."""

import keras
import numpy as np

from keras_remul.models.shapes import axes_of_nodes
from keras_remul.utils.causes import cause

BATCH, NODES = "batch", "nodes"


def tried(model, sample, fixed=None):
    """The free axes of a model's inputs, and what it makes of some inputs.

    The number of nodes is free where the inputs say which axes count them, and
    the model takes other numbers than that of the sample.

    Args:
        model: a Keras model.
        sample: its inputs, arrays, of two samples or more.
        fixed: why the number of nodes has to be that of the sample, where it
            has to. Defaults to None.

    Returns:
        A tuple for each array, in the order of `keras.tree.flatten`, of
        lengths and of the names `"batch"` and `"nodes"`; why the number of
        nodes is that of the sample, or None where it is free; and pairs of
        inputs and the outputs of the model, the sample first.
    """
    found = [(sample, model.predict(sample, verbose=0))]  # builds the model
    leaves = keras.tree.flatten(sample)
    axes = _axes(model, sample)
    lengths = {
        a.shape[i] for a, own in zip(leaves, axes, strict=True) for i in own
    }
    if fixed is None and not lengths:
        fixed = (
            "no input is known to count nodes: they are no dict with "
            '"positions", nor has a functional model axes of the length None'
        )
    elif fixed is None and len(lengths) > 1:
        fixed = (
            f"axes that would count nodes differ in length, {sorted(lengths)}"
        )
    if fixed is None:
        shapes = _named(leaves, axes)
        try:
            for x in others(sample, shapes):
                found.append((x, model.predict(x, verbose=0)))
            return shapes, None, found
        except Exception as error:
            fixed = f"the model takes no other: {_refusal(model, x, error)}"
    shapes = _named(leaves, [()] * len(leaves))
    (one,) = others(sample, shapes)
    return shapes, fixed, [found[0], (one, model.predict(one, verbose=0))]


def _refusal(model, x, error):
    """Why a model takes no such x, in its own words where it has some."""
    try:
        model(x)
    except Exception as own:
        error = own
    return cause(error)


def _named(leaves, axes):
    return [
        tuple(
            BATCH if i == 0 else NODES if i in own else length
            for i, length in enumerate(a.shape)
        )
        for a, own in zip(leaves, axes, strict=True)
    ]


def _axes(model, sample):
    """The axes that count nodes, a tuple for each array."""
    leaves = keras.tree.flatten(sample)
    # Functional and sequential models say so.
    declared = getattr(model, "inputs", None)
    if declared and len(declared) == len(leaves):
        if isinstance(sample, dict):  # its leaves come in the order of keys
            by_name = {spec.name: spec for spec in declared}
            if by_name.keys() == sample.keys():
                declared = [by_name[key] for key in sorted(sample)]
        return [
            tuple(i for i, n in enumerate(spec.shape) if i and n is None)
            for spec in declared
        ]
    if isinstance(sample, dict) and "positions" in sample:
        if not any(map(keras.tree.is_nested, sample.values())):
            found = axes_of_nodes({key: a.shape for key, a in sample.items()})
            return [found[key] for key in sorted(sample)]
    return [()] * len(leaves)


def others(sample, shapes):
    """Inputs of other numbers of samples and, where that is free, of nodes.

    A single sample, of one node less; and all samples, of one node more, which
    is the first one of the next sample.

    Args:
        sample: inputs, arrays, of two samples or more.
        shapes: see `tried`.

    Returns:
        A list of inputs.
    """
    if not any(NODES in shape for shape in shapes):
        return [keras.tree.map_structure(lambda a: a[:1], sample)]
    fewer, more = [], []
    for a, shape in zip(keras.tree.flatten(sample), shapes, strict=True):
        less = a[:1]
        for axis in (i for i, name in enumerate(shape) if name == NODES):
            count = max(less.shape[axis] - 1, 1)
            less = np.take(less, np.arange(count), axis)
            first = np.take(np.roll(a, -1, axis=0), [0], axis)
            a = np.concatenate([a, first], axis)
        fewer.append(less)
        more.append(a)
    fewer, more = (
        keras.tree.pack_sequence_as(sample, x) for x in (fewer, more)
    )
    if isinstance(sample, dict) and "neighbors" in sample:
        last = fewer["neighbors"].shape[1] - 1
        fewer["neighbors"] = np.minimum(fewer["neighbors"], last)
    return [fewer, more]
