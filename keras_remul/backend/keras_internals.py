"""The private parts of Keras that this package uses, a function for each.

What has no public name may be gone in the next version. So nothing but this
module touches it, and `plain`, which is about calls of layers;
`tests/test_keras_internals.py` says for each what would break, and
`pyproject.toml` bounds the version of Keras.
"""

import numpy as np
from keras.src.backend.common import global_state


def with_sublayers(layer):
    """A layer and all layers inside of it, each once; a list.

    `keras.Model.layers` are those of the first level, and a layer that is no
    model tells of none.
    """
    return layer._flatten_layers()


def compiled_loss(model):
    """The loss that `compile` was given: of (y, y_pred, sample_weight).

    None without one. The public `compute_loss` adds the losses of the layers,
    which REMUL weighs by neither alpha nor beta.
    """
    return model._compile_loss


def summed_loss(model, loss):
    """A loss of a layer as Keras adds it to the total, a scalar.

    Public is the total alone. On TensorFlow it is divided by the number of
    replicas, which only the trainer of Keras knows.
    """
    return model._aggregate_additional_loss(loss)


def values(variables):
    """What variables hold, None where the trainer of JAX took it out.

    The public `value` fails on these.
    """
    return [variable._value for variable in variables]


def put_back(variables, kept):
    """Gives variables that hold nothing the `values` that they had.

    The public `assign` copies; the values of a step that was cut short may be
    gone by then, and the error that cut it short is the one to be seen.
    """
    for variable, value in zip(variables, kept, strict=True):
        if variable._value is None and value is not None:
            variable._value = value


def uninitialized_variables():
    """The list of variables that were made in a `StatelessScope`.

    Keras works it off at the end of the scope, and keeps it where that fails.
    """
    return global_state.get_global_attribute(
        "uninitialized_variables", [], set_to_default=True
    )


def initialize(variable, zeros):
    """Gives a variable of that list its first value.

    The public `assign` needs one to be there.

    Args:
        variable: a Keras variable without a value.
        zeros: whether it is zero, in place of what its initializer says.
    """
    if zeros:
        variable._initializer = lambda shape, dtype=None: np.zeros(shape, dtype)
    variable._deferred_initialize()
