"""Variables that were made, but have no value yet.

Within `keras.StatelessScope` a variable is only noted in a list of Keras, and
gets its value at the scope's end. Two things are done with that list here. A
model of a file is made without memory for its weights, so that it can be
refused; and where it is refused, its variables are taken off the list, for
Keras would fail on them at the end of every later scope.
"""

import keras

from keras_remul.backend import keras_internals


def make_to_load(make):
    """`make()`, a model whose weights are to be loaded: they are zero.

    Args:
        make: function without arguments. Whatever it raises leaves no trace,
            and no memory is taken for weights before it returns.
    """
    noted = keras_internals.uninitialized_variables()
    before = len(noted)
    try:
        with keras.StatelessScope(initialize_variables=False):
            model = make()
        made = noted[before:]
    finally:
        del noted[before:]
    for variable in made:
        # No draws: JAX would compile that of each shape, for seconds in all.
        floats = keras.backend.is_float_dtype(variable.dtype)
        keras_internals.initialize(variable, zeros=floats)
    return model
