"""The only place that imports a framework; everything else is `keras.ops`.

`jax.py`, `torch.py` and `tensorflow.py` hold the same functions with the same
signatures, so that a diff of two of them shows only the framework:

    matmul(a, b)                   batched product in full precision
    linear(x, kernel, bias)        x times a matrix over the last axis, plus a
                                   bias, which may be None
    layer_norm(x, gamma, beta, epsilon)
                                   layer normalisation over the last axis, in
                                   float32 at least
    gelu(x)                        its approximation by tanh
    silu(x)                        x sigmoid(x); nobody must use x afterwards,
                                   it may hold the result
    attention(qkv, heads, mask, bias)
                                   softmax(q k^T / sqrt(F) + bias) v, for qkv
                                   (B, N, 3 C), q, k, v of each head in turn;
                                   a mask (B, N), a bias (B, heads, N, N)
    mlp(x, first, second)          a linear map, gelu, a linear map, of x
                                   (B, N, C); each map a kernel and a bias
    in_pieces(fn, arrays, width)   fn(*arrays), arrays with one first axis; by
                                   JAX and PyTorch on a CPU on some of its rows
                                   at a time, so many that their largest array
                                   in fn, of `width` numbers a row, fits into a
                                   cache
    intercepts_calls()             whether the framework does more on a call of
                                   any layer than to call it
    is_eager(arrays)               whether a model that is called on the arrays
                                   runs step by step, in Python; never on JAX
                                   and TensorFlow, which compile it
    is_traced(x)                   whether x has no values yet: in a function
                                   that is being compiled
    jvp(fn)                        function (t, v, *args): the derivative of
                                   fn(t, *args) along v, compiled on JAX
    value_and_gradient(fn, x, variables, add_loss=None)
                                   fn(x) and the gradient of its sum, which
                                   can be differentiated once more; on JAX the
                                   losses that layers add in fn get out only
                                   through `add_loss`, that of the layer which
                                   calls this
    cond(pred, true_fn, false_fn, variables, add_loss=None)
                                   `true_fn()` or `false_fn()`, tensors, which
                                   may call models with these variables; losses
                                   as above; an exported program may take the
                                   former always
    kept_generators()              context that puts back the state of the
                                   framework's global random generators
    map_batch(model, fn, args)     apply `fn` to the batch in the arguments of
                                   a `train_step` or `test_step`
    every(model, interval, step, other, args)
                                   `step(*args)` at every `interval`-th step of
                                   the optimizer, else `other(*args)`
    one_program(fn, static=())     fn of arrays, on JAX compiled in one piece
                                   for each shape; arguments number `static`
                                   are hashable and never change
    build_early(model, data)       makes the variables of the model, before a
                                   step is compiled for which they would be made
                                   at a price; `data` are x, y (or None) and
                                   weights (or None), arrays
    restored(model)                context that leaves the model its variables,
                                   also when a fit, evaluate or predict in it
                                   is interrupted
    load_exported(path, format)    an exported file as a function of arrays, or
                                   None where the backend cannot
    compiled(model, sample, shapes)
                                   the model, with the weights of now, as a
                                   compiled function of inputs, and as one that
                                   need not wait for the compiler
    write_exported(model, path, format, sample, shapes)
                                   a model as a file, for arrays like a nested
                                   sample; its shapes by the names of the
                                   inputs, where names stand for free axes
    TaskGradients                  mixin of RemulModel: tells its weighting the
                                   norms of the gradients of each task
"""

import keras

if keras.backend.backend() == "jax":
    from keras_remul.backend.jax import (
        TaskGradients,
        attention,
        build_early,
        compiled,
        cond,
        every,
        gelu,
        in_pieces,
        intercepts_calls,
        is_eager,
        is_traced,
        jvp,
        kept_generators,
        layer_norm,
        linear,
        load_exported,
        map_batch,
        matmul,
        mlp,
        one_program,
        restored,
        silu,
        value_and_gradient,
        write_exported,
    )
elif keras.backend.backend() == "torch":
    from keras_remul.backend.torch import (
        TaskGradients,
        attention,
        build_early,
        compiled,
        cond,
        every,
        gelu,
        in_pieces,
        intercepts_calls,
        is_eager,
        is_traced,
        jvp,
        kept_generators,
        layer_norm,
        linear,
        load_exported,
        map_batch,
        matmul,
        mlp,
        one_program,
        restored,
        silu,
        value_and_gradient,
        write_exported,
    )
elif keras.backend.backend() == "tensorflow":
    from keras_remul.backend.tensorflow import (
        TaskGradients,
        attention,
        build_early,
        compiled,
        cond,
        every,
        gelu,
        in_pieces,
        intercepts_calls,
        is_eager,
        is_traced,
        jvp,
        kept_generators,
        layer_norm,
        linear,
        load_exported,
        map_batch,
        matmul,
        mlp,
        one_program,
        restored,
        silu,
        value_and_gradient,
        write_exported,
    )
else:
    raise ImportError(
        "keras_remul runs on the Keras backends 'tensorflow', 'jax' and "
        f"'torch'. Received: KERAS_BACKEND={keras.backend.backend()!r}."
    )

__all__ = [
    "TaskGradients",
    "attention",
    "build_early",
    "compiled",
    "cond",
    "every",
    "gelu",
    "in_pieces",
    "intercepts_calls",
    "is_eager",
    "is_traced",
    "jvp",
    "kept_generators",
    "layer_norm",
    "linear",
    "load_exported",
    "map_batch",
    "matmul",
    "mlp",
    "one_program",
    "restored",
    "silu",
    "value_and_gradient",
    "write_exported",
]
