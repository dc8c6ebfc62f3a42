"""The outputs of models and laws, by one program where JAX runs.

JAX compiles an operation at a time for what is merely called: hundreds of
programs that start slowly. Compiled in one piece it is there in a fraction of
that time. PyTorch and TensorFlow call the function or model as it is.
"""

import functools
import weakref

import keras
from keras import ops


def once(fn):
    """fn, of nests of arrays, as one program where JAX runs.

    Worth it for a function of many operations. It is compiled for each shape
    and dtype of its arguments; all else that it uses is fixed at that time.
    Elsewhere fn is called with tensors.
    """
    if keras.backend.backend() == "jax":
        import jax

        return jax.jit(fn)

    def run(*args):
        return fn(*keras.tree.map_structure(ops.convert_to_tensor, args))

    return run


PROGRAMS = weakref.WeakKeyDictionary()


def outputs(model, x):
    """What the model makes of x at inference, as NumPy arrays.

    Args:
        model: a Keras model; one that is not built is built for x.
        x: inputs, a nest of arrays.
    """
    if keras.backend.backend() != "jax":
        return keras.tree.map_structure(ops.convert_to_numpy, model(x))
    if not model.built:
        model.build(keras.tree.map_structure(lambda a: tuple(a.shape), x))
    variables = model.trainable_variables, model.non_trainable_variables
    state = [[v.value for v in part] for part in variables]
    y = _program(model)(state, x)
    return keras.tree.map_structure(ops.convert_to_numpy, y)


def _program(model):
    import jax

    if model not in PROGRAMS:
        PROGRAMS[model] = jax.jit(functools.partial(_run, weakref.ref(model)))
    return PROGRAMS[model]


def _run(model, state, x):
    return model().stateless_call(*state, x)[0]
