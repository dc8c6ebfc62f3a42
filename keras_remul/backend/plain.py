"""Layers that can be called without the overhead of a Keras call.

`Layer.__call__` casts, looks for masks, opens scopes, and so on. PyTorch does
this at each step, and it takes several times as long as the product of a small
layer. None of it is needed where a layer of ours calls one of its sublayers on
an array of the right dtype. Private parts of Keras show whether a layer does
nothing else in a call.
"""

import operator

import keras
from keras import layers
from keras.src.backend.common import global_state

from keras_remul import backend

# The variables of the layers of Keras, and their `call` as it was imported.
_WEIGHTS = {
    layers.Dense: ("_kernel", "bias", layers.Dense.call),
    layers.LayerNormalization: (
        "gamma",
        "beta",
        layers.LayerNormalization.call,
    ),
}
_LAST = [-1]
# What must be empty or None; the hooks are those of torch.nn.Module.
_EXTRAS = ["activity_regularizer", "_remat_mode"]
if keras.backend.backend() == "torch":
    _EXTRAS += ["_forward_hooks", "_forward_pre_hooks"]
    _EXTRAS += ["_backward_hooks", "_backward_pre_hooks"]
_extras = operator.itemgetter("_dtype_policy", *_EXTRAS)


def is_plain(layer, cls):
    """Whether a call of the layer does only what `cls.call` does.

    False for a layer of a subclass, or one with its own `call`, of a class that
    was given another `call`, or with a hook, mixed precision, quantisation,
    LoRA, an activity regularizer, or gradient checkpoints; also under a
    `keras.distribution`, which may have a layout for the output. These can
    change, so check at each call.

    Args:
        layer: a built layer.
        cls: the class that it is expected to be of.
    """
    own = cls.call.__qualname__ == f"{cls.__qualname__}.call"
    return own and _adds_nothing(layer, cls) and _nobody_else_does()


def plain_weights(dense, norms, dtype):
    """The weights of layers, in pairs, if all of them are plain.

    Args:
        dense: built layers, each expected to be a `keras.layers.Dense`.
        norms: those expected to be a `keras.layers.LayerNormalization`, of the
            last axis.
        dtype: dtype of the array that they are called on.

    Returns:
        List of the kernel and bias (or None) of each Dense, then gamma and beta
        of each normalisation. None if a layer is not plain or has another
        dtype.
    """
    if not _nobody_else_does():
        return None
    scopes = global_state.GLOBAL_STATE_TRACKER.__dict__
    direct = (
        scopes.get("stateless_scope") is None
        and scopes.get("torch_device") is None
    )
    result = []
    expected = [layers.Dense] * len(dense)
    expected += [layers.LayerNormalization] * len(norms)
    for layer, cls in zip((*dense, *norms), expected, strict=True):
        if not _adds_nothing(layer, cls):
            return None
        first, second, call = _WEIGHTS[cls]
        state = layer.__dict__
        if cls.call is not call or state.get("lora_enabled"):
            return None
        if state.get("axis", _LAST) != _LAST:
            return None
        first, second = state[first], state[second]
        if first is None or (second is None and "axis" in state):
            return None
        # Past the questions that `value` asks, if their answers are known.
        one = first._value if direct else first.value
        if second is not None:
            second = second._value if direct else second.value
        if one.dtype != dtype:
            return None
        result.append((one, second))
    return result


def is_called_directly(model, inputs):
    """Whether `model(inputs)` at inference does only what `model.call` does.

    False inside of another layer, which may have said that this is training;
    where the losses of an earlier call are to be removed; for inputs that are
    not tensors yet; and for classes or methods that are not this package's.

    Args:
        model: a model that casts none of its inputs, and whose `call` puts the
            mask on its output.
        inputs: dict of arrays, or whatever else the model was called with.
    """
    if type(inputs) is not dict or not backend.is_eager(inputs.values()):
        return False
    cls, scopes = type(model), global_state.GLOBAL_STATE_TRACKER.__dict__
    return (
        model.built
        and not model._losses
        and scopes.get("current_call_ctx") is None
        and scopes.get("stateless_scope") is None
        and _is_ours(cls, cls.call)
        and _adds_nothing(model, cls)
        and _nobody_else_does()
    )


def _is_ours(*owners):
    return all(o.__module__.startswith("keras_remul.") for o in owners)


def _adds_nothing(layer, cls):
    """Whether a layer has nothing beyond what its class defines."""
    state = layer.__dict__
    policy, *extras = _extras(state)
    return not (
        type(layer) is not cls
        or any(extras)
        or type(policy) is not keras.DTypePolicy
        or policy._compute_dtype != policy._variable_dtype
        or "call" in state
    )


def _nobody_else_does():
    """Whether nothing is added to the calls of all layers."""
    scopes = global_state.GLOBAL_STATE_TRACKER.__dict__
    autocast = scopes.get("autocast_scope")
    return (
        (autocast is None or autocast.dtype is None)
        and scopes.get("distribution") is None
        and not backend.intercepts_calls()
    )
