"""The private parts of Keras that this package uses, one function for each.

Private parts may disappear in the next version. So only this module uses them,
and `plain`, for calls of layers; `tests/test_keras_internals.py` says what each
is needed for, and `pyproject.toml` bounds the version of Keras.
"""

import keras
import numpy as np
from keras.src import backend
from keras.src.backend import get_keras_mask, set_keras_mask
from keras.src.backend.common import global_state


def with_sublayers(layer):
    """A layer and all layers inside it, each once; a list.

    `keras.Model.layers` lists only the first level, and layers that are not
    models do not list their sublayers.
    """
    return layer._flatten_layers()


def build(model, data):
    """Makes the variables of a model by a call that computes nothing.

    With labels also those of its metrics, losses and optimizer. The public call
    on a `KerasTensor` goes no deeper than a layer that knows the shape of its
    output, and no public method builds metrics.

    Args:
        model: a Keras model; with labels a compiled one.
        data: x, labels or None, and weights or None; nested arrays, of which
            only the shapes beyond the batch and the dtypes are used.
    """
    if data[1] is None and all(layer.built for layer in with_sublayers(model)):
        return

    def one_sample(a):
        if a is None:
            return None
        dtype = backend.standardize_dtype(a.dtype)
        if backend.is_float_dtype(dtype):
            dtype = backend.floatx()  # as in the batches that Keras makes
        return keras.KerasTensor((1, *a.shape[1:]), dtype)

    specs = keras.tree.map_structure(one_sample, data)
    if data[1] is None:
        backend.compute_output_spec(model, specs[0], training=False)
    else:
        model._symbolic_build(data_batch=specs)


def compiled_loss(model):
    """The loss that `compile` was given: of (y, y_pred, sample_weight).

    None if there is no loss. The public `compute_loss` also adds the losses of
    the layers, which REMUL multiplies by neither alpha nor beta.
    """
    return model._compile_loss


def is_validation(kwargs):
    """Whether `evaluate` was called with these by `fit`, on validation data.

    Callbacks of `fit`, which are public, would come after those of the user,
    who may save the model at the end of an epoch.
    """
    return bool(kwargs.get("_use_cached_eval_dataset"))


def summed_loss(model, loss):
    """A loss of a layer as Keras adds it to the total, a scalar.

    Only the total is public. On TensorFlow the loss is divided by the number of
    replicas, which only the trainer of Keras knows.
    """
    return model._aggregate_additional_loss(loss)


def masks(data):
    """The Keras masks on the leaves of `data`, or None, in a list.

    In a training step there is no call of a layer that could be asked for them.
    """
    return [get_keras_mask(leaf) for leaf in keras.tree.flatten(data)]


def put_masks(data, masks):
    """Puts masks on leaves that have lost them; `masks` is a list."""
    for leaf, mask in zip(keras.tree.flatten(data), masks, strict=True):
        if mask is not None and get_keras_mask(leaf) is None:
            set_keras_mask(leaf, mask)


def values(variables):
    """The values of variables; None where the trainer on JAX removed it.

    The public `value` raises an error there.
    """
    return [variable._value for variable in variables]


def put_back(variables, kept):
    """Restores the `values` of variables that have lost them.

    The public `assign` copies; after an interrupted step the values may already
    be deleted, and an error of the copy would hide the error that interrupted
    the step.
    """
    for variable, value in zip(variables, kept, strict=True):
        if variable._value is None and value is not None:
            variable._value = value


def uninitialized_variables():
    """The list of variables that were made in a `StatelessScope`.

    Keras initialises them at the end of the scope, and keeps the list if that
    fails.
    """
    return global_state.get_global_attribute(
        "uninitialized_variables", [], set_to_default=True
    )


def initialize(variable, zeros):
    """Gives a variable of that list its first value.

    The public `assign` needs an existing value.

    Args:
        variable: a Keras variable without a value.
        zeros: whether the value is zero, instead of that of its initializer.
    """
    if zeros:
        variable._initializer = lambda shape, dtype=None: np.zeros(shape, dtype)
    variable._deferred_initialize()
