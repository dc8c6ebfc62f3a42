"""Layers that can be called without what Keras does around a call.

`Layer.__call__` casts, looks for masks, opens scopes, and so on: on PyTorch,
which does this at each step, that takes several times as long as the product
of a small layer. Nothing of it is needed where a layer of ours calls one of its
sublayers on an array of the right dtype. Whether a layer has no more to it than
its class says is read off private parts of Keras.
"""

import keras
from keras import layers
from keras.src.backend.common import global_state

from keras_remul import backend

_CALLS = {cls: cls.call for cls in (layers.Dense, layers.LayerNormalization)}
_HOOKS = (
    "_forward_hooks",
    "_forward_pre_hooks",
    "_backward_hooks",
    "_backward_pre_hooks",
)


def is_plain(layer, cls):
    """Whether a call of the layer does what `cls.call` does, and no more.

    Not so if the layer is of a subclass, or has a `call` or a hook of its own,
    mixed precision, quantisation, LoRA, a regularizer of its activity, or
    gradient checkpoints; nor under a `keras.distribution`, which may have a
    layout for the output. These may come and go, so ask at each call.

    Args:
        layer: a built layer.
        cls: the class that it is expected to be of.
    """
    state = layer.__dict__
    policy = state["_dtype_policy"]
    if not (
        type(layer) is cls
        and type(policy) is keras.DTypePolicy
        and policy._compute_dtype == policy._variable_dtype
        and "call" not in state
        and _CALLS.get(cls, cls.call) is cls.call
        and not state.get("lora_enabled")
        and state["activity_regularizer"] is None
        and state["_remat_mode"] is None
    ):
        return False
    # Those of torch.nn.Module; the other backends have none.
    for name in _HOOKS:
        if state.get(name):
            return False
    scopes = global_state.GLOBAL_STATE_TRACKER.__dict__
    autocast = scopes.get("autocast_scope")
    return (
        (autocast is None or autocast.dtype is None)
        and scopes.get("distribution") is None
        and not backend.intercepts_calls()
    )


def value(variable):
    """`variable.value`, in a plain layer: past the questions that it asks."""
    scopes = global_state.GLOBAL_STATE_TRACKER.__dict__
    if (
        variable._value is None
        or scopes.get("stateless_scope") is not None
        or scopes.get("torch_device") is not None
    ):
        return variable.value
    return variable._value
