"""JAX: state is passed in and out of a step, never changed in place."""

import jax.numpy as jnp
import keras


def matmul(a, b):
    # The default precision on GPU and TPU rounds the operands (TF32, bf16),
    # which would make every rotation inexact by about 1e-3.
    return jnp.matmul(a, b, precision="highest")


def map_batch(model, fn, args):
    state, data = args
    variables = model.non_trainable_variables
    with keras.StatelessScope(
        state_mapping=list(zip(variables, state[1], strict=True))
    ) as scope:
        data = fn(data)
    current = [scope.get_current_value(v) for v in variables]
    return (state[0], current, *state[2:]), data
