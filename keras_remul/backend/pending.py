"""Variables that were made, but have no value yet.

Within `keras.StatelessScope` a variable is only put on a list, and gets its
value at the end of the scope. This module uses that list for two things. A
model from a file is made without memory for its weights, so that it can be
refused before memory is taken. If it is refused, its variables are removed from
the list; otherwise Keras would fail on them at the end of every later scope.
"""

import keras

from keras_remul.backend import keras_internals


def make_to_load(make):
    """Calls `make()` for a model whose weights will be loaded: they are zero.

    Args:
        make: function without arguments. If it raises, its variables are
            removed from the list; no memory is taken for weights before it
            returns.
    """
    model, made = _without_memory(make)
    for variable in made:
        # No draws: JAX would compile that of each shape, for seconds in all.
        floats = keras.backend.is_float_dtype(variable.dtype)
        keras_internals.initialize(variable, zeros=floats)
    return model


def make_fresh(make):
    """Calls `make()` for a model that keeps the weights that it is made with.

    Args:
        make: as for `make_to_load`. It is called twice: first no memory is
            taken for weights.
    """
    _without_memory(make)
    return make()


def _without_memory(make):
    """What `make()` returns, and its variables, which have no value yet."""
    noted = keras_internals.uninitialized_variables()
    before = len(noted)
    try:
        with keras.StatelessScope(initialize_variables=False):
            made = make()
        return made, noted[before:]
    finally:
        del noted[before:]
