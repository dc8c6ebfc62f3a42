"""JAX: state is passed in and out of a step, never changed in place."""

import contextlib
import functools
import logging
import warnings
from typing import Any

import jax
import jax.numpy as jnp
import keras
from jax.core import Tracer

from keras_remul.backend import keras_internals
from keras_remul.backend.mixins import ModelMixin
from keras_remul.backend.signature import specs

# Numbers of an array that a core keeps at hand.
PIECE = 2**16


def matmul(a, b) -> Any:
    # The default precision on GPU and TPU rounds the operands (TF32, bf16),
    # which would make every rotation inexact by about 1e-3.
    return jnp.matmul(a, b, precision="highest")


def linear(x, kernel, bias):
    # Of flat matrices: the gradient of the kernel is then one product too,
    # which is what XLA is quick at on a CPU.
    y = jnp.matmul(x.reshape(-1, x.shape[-1]), kernel)
    y = y if bias is None else y + bias
    return y.reshape(*x.shape[:-1], kernel.shape[-1])


def layer_norm(x, gamma, beta, epsilon):
    wide = jnp.promote_types(x.dtype, "float32")
    parts = (a.astype(wide) for a in (x, gamma, beta))
    return _layer_norm(*parts, epsilon).astype(x.dtype)


@functools.partial(jax.custom_jvp, nondiff_argnums=(3,))
def _layer_norm(x, gamma, beta, epsilon):
    return _normalized(x, epsilon)[0] * gamma + beta


@_layer_norm.defjvp
def _layer_norm_jvp(epsilon, primals, tangents):
    (x, gamma, beta), (dx, dgamma, dbeta) = primals, tangents
    y, inverse = _normalized(x, epsilon)
    dx = (
        dx
        - jnp.mean(dx, -1, keepdims=True)
        - y * jnp.mean(dx * y, -1, keepdims=True)
    )
    tangent = dx * inverse * gamma + y * dgamma + dbeta
    return y * gamma + beta, tangent


def _normalized(x, epsilon):
    # Without the barrier XLA computes the whole sum of branches that x is once
    # more wherever a gradient needs it.
    x = jax.lax.optimization_barrier(x)
    x = x - jnp.mean(x, -1, keepdims=True)
    inverse = jax.lax.rsqrt(
        jnp.mean(jnp.square(x), -1, keepdims=True) + epsilon
    )
    return x * inverse, inverse


def gelu(x):
    return jax.nn.gelu(x, approximate=True)


def silu(x):
    return jax.nn.silu(x)


def attention(qkv, heads, mask, bias):
    shape = qkv.shape[:2]
    qkv = qkv.reshape(*shape, heads, -1)
    q, k, v = jnp.split(qkv, 3, axis=-1)  # each (B, N, K, F)
    q = q * q.shape[-1] ** -0.5
    # There XLA is quicker at products of whole matrices. In an exported program
    # the number of nodes is no number.
    many = isinstance(shape[1], int) and shape[1] > 48
    if many:
        q, k, v = (jnp.swapaxes(a, 1, 2) for a in (q, k, v))
        logits = jnp.matmul(q, jnp.swapaxes(k, -1, -2))
    else:
        logits = jnp.einsum("bnkf,bmkf->bknm", q, k)
    if qkv.dtype in (jnp.float16, jnp.bfloat16):
        logits = logits.astype("float32")
    if bias is not None:
        logits = logits + bias.astype(logits.dtype)
    if mask is not None:
        logits = jnp.where(mask[:, None, None, :], logits, -1e30)
    weights = _softmax(logits).astype(qkv.dtype)
    if many:
        y = jnp.swapaxes(jnp.matmul(weights, v), 1, 2)
    else:
        y = jnp.einsum("bknm,bmkf->bnkf", weights, v)
    return y.reshape(*shape, -1)


def mlp(x, first, second):
    return linear(gelu(linear(x, *first)), *second)


@jax.custom_jvp
def _softmax(x):
    # That of jax.nn keeps more arrays of this size for the gradient.
    y = jnp.exp(x - jnp.max(x, -1, keepdims=True))
    return y / jnp.sum(y, -1, keepdims=True)


@_softmax.defjvp
def _softmax_jvp(primals, tangents):
    y, dx = _softmax(*primals), tangents[0]
    return y, y * (dx - jnp.sum(y * dx, -1, keepdims=True))


def in_pieces(fn, arrays, width):
    rows = arrays[0].shape[0]
    # An exported program has a free batch size: it must not be asked for.
    free = not isinstance(rows, int) or not isinstance(width, int)
    if free or jax.default_backend() != "cpu":
        return fn(*arrays)
    size = max(1, PIECE // max(width, 1))
    if rows <= size:
        return fn(*arrays)
    # What a gradient needs of a piece is computed again: that is quicker than
    # to write it to memory and to read it.
    fn = jax.checkpoint(fn)
    end = rows - rows % size
    pieces = [a[:end].reshape(-1, size, *a.shape[1:]) for a in arrays]
    result = jax.lax.map(lambda piece: fn(*piece), pieces)
    result = jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:]), result)
    if end == rows:
        return result
    rest = fn(*(a[end:] for a in arrays))
    return jax.tree.map(lambda *a: jnp.concatenate(a), result, rest)


def intercepts_calls():
    return False


def is_eager(arrays):
    return False


def is_traced(x):
    return isinstance(x, (Tracer, keras.KerasTensor))


def one_program(fn, static=()):
    # Called as it is, each of its operations is a program, compiled and
    # started alone; loops are compiled at each call.
    compiled = jax.jit(fn, static_argnums=static)

    @functools.wraps(fn)
    def run(*args):
        symbolic = any(isinstance(a, keras.KerasTensor) for a in args)
        return fn(*args) if symbolic else compiled(*args)

    return run


def jvp(fn):
    # Weights enter as constants; what fn assigns to variables is dropped.
    @jax.jit
    def derivative(t, v, *args):
        with keras.StatelessScope():
            return jax.jvp(lambda t: fn(t, *args), (t,), (v,))[1]

    return derivative


def kept_generators():
    return contextlib.nullcontext()  # it has none


def value_and_gradient(fn, x, variables, add_loss=None):
    mapping = [(v, v.value) for v in variables]

    # What fn assigns to variables (the states of random generators) must
    # leave the differentiated function as a result.
    def run(x):
        with keras.StatelessScope(mapping, collect_losses=True) as scope:
            y = fn(x)
        changed = {
            i: scope.get_current_value(v)
            for i, (v, value) in enumerate(mapping)
            if scope.get_current_value(v) is not value
        }
        return jnp.sum(y), (y, changed, scope.losses)

    gradient, (y, changed, losses) = jax.grad(run, has_aux=True)(x)
    for i, value in changed.items():
        variables[i].assign(value)
    if add_loss is not None:
        for loss in losses:
            add_loss(loss)
    return y, gradient


def cond(pred, true_fn, false_fn, variables, add_loss=None):
    if not isinstance(pred, Tracer):
        return true_fn() if pred else false_fn()
    mapping = [(v, v.value) for v in variables]

    # As in value_and_gradient, what fn changes must leave as a result; branches
    # of different numbers of calls have different numbers of losses.
    def stateless(fn):
        def run():
            with keras.StatelessScope(mapping, collect_losses=True) as scope:
                y = fn()
            values = [scope.get_current_value(v) for v in variables]
            losses = [jnp.asarray(a, "float32") for a in scope.losses]
            return y, values, sum(losses, jnp.zeros((), "float32"))

        return run

    y, values, loss = jax.lax.cond(
        pred, stateless(true_fn), stateless(false_fn)
    )
    for variable, value in zip(variables, values, strict=True):
        if not variable.trainable:
            variable.assign(value)
    if add_loss:
        add_loss(loss)
    return y


def map_batch(model, fn, args):
    state, data = args
    variables = model.non_trainable_variables
    mapping = list(zip(variables, state[1], strict=True))
    mapping += zip(model.metrics_variables, state[-1], strict=True)
    with keras.StatelessScope(state_mapping=mapping) as scope:
        data = fn(data)
    current = [scope.get_current_value(v) for v in variables]
    return (state[0], current, *state[2:]), data


def every(model, interval, step, other, args):
    variables = model.optimizer.variables
    mapping = list(zip(variables, args[0][2], strict=True))
    with keras.StatelessScope(state_mapping=mapping):
        # Fewer than the steps where gradients are accumulated.
        iterations = jnp.asarray(model.optimizer.iterations)
    return jax.lax.cond(iterations % interval == 0, step, other, *args)


def build_early(model, data):
    # Where Keras itself would call the model, an operation at a time.
    if data[1] is None:
        keras_internals.build(model, data)


@contextlib.contextmanager
def restored(model):
    variables = [*model.variables, *model.metrics_variables]
    if getattr(model, "optimizer", None) is not None:
        variables += model.optimizer.variables
    before = keras_internals.values(variables)
    try:
        yield
    except BaseException:
        # Keras takes the values out of the model while it runs: those of the
        # last step, or, where there was none, those before.
        model.jax_state_sync()
        keras_internals.put_back(variables, before)
        raise


@contextlib.contextmanager
def _errors_only(name):
    """The logger of a package leaves its warnings out."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def write_exported(model, path, format, sample, shapes):
    # jax2tf warns of its own deprecated parts, jax2onnx's files of types that
    # they leave out; the outputs of the files are compared with the model's.
    with _errors_only("onnx_ir"), warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        options = {}
        if format == "tf_saved_model":
            # Keras would name the nodes of each input apart.
            names = [f"({', '.join(map(str, s))})" for s in shapes.values()]
            names = keras.tree.pack_sequence_as(sample, names)
            options["jax2tf_kwargs"] = {"polymorphic_shapes": [names]}
        model.export(
            path,
            format=format,
            verbose=False,
            input_signature=[specs(sample, shapes)],
            **options,
        )


def load_exported(path, format):
    if format != "tf_saved_model":
        return None
    import tensorflow as tf  # jax2tf writes it, so it is there

    program = tf.saved_model.load(str(path))
    return lambda x: keras.tree.map_structure(
        lambda a: a.numpy(),
        program.serve(keras.tree.map_structure(tf.constant, x)),
    )


def compiled(model, sample, shapes):
    # Copies: training gives away the arrays that variables hold.
    variables = list(model.variables)
    state = [jnp.copy(v.value) for v in variables]

    @jax.jit
    def predict(state, x):
        # Traced again for each size, whichever variables then are trainable.
        mapping = list(zip(variables, state, strict=True))
        with keras.StatelessScope(state_mapping=mapping):
            return model(x, training=False)

    def run(x):
        return predict(state, x)

    return run, run


class TaskGradients(ModelMixin):
    _task: Any = None

    def update_with_gradients(self, losses: Any, measured: Any) -> None:
        """Gives the weighting the measures of a step, with gradient norms.

        Args:
            losses: L_obj and L_equi of the step, scalars with gradients.
            measured: the `StepMeasures` of the step, without norms.
        """
        # Inside a differentiated function the losses have no gradient to
        # give; compute_loss_and_updates, which is outside, takes it.
        self._task = losses, measured

    def compute_loss_and_updates(
        self,
        trainable_variables,
        non_trainable_variables,
        metrics_variables,
        x,
        y,
        sample_weight,
        training=False,
        optimizer_variables=None,
    ):
        compute = functools.partial(
            super().compute_loss_and_updates,
            non_trainable_variables=non_trainable_variables,
            metrics_variables=metrics_variables,
            x=x,
            y=y,
            sample_weight=sample_weight,
            training=training,
            optimizer_variables=optimizer_variables,
        )
        if not (
            self.weighting.uses_gradient_norms
            and training
            and self.has_both_tasks(x)
        ):
            return compute(trainable_variables)
        wanted = self.weighting.gradient_variables(self.model)
        wanted = {id(v) for v in wanted}
        variables = self.trainable_variables
        places = [i for i, v in enumerate(variables) if id(v) in wanted]

        def run(values):
            everything = list(trainable_variables)
            for place, value in zip(places, values, strict=True):
                everything[place] = value
            result = compute(everything)
            (losses, measured), self._task = self._task, None
            return losses, (result, measured)

        # XLA removes from these two pullbacks all but the path to the layer.
        losses, pullback, (result, measured) = jax.vjp(
            run, [trainable_variables[i] for i in places], has_aux=True
        )
        one, zero = jnp.ones_like(losses[0]), jnp.zeros_like(losses[0])
        norms = jnp.stack(
            [_norm(pullback(seed)[0]) for seed in ((one, zero), (zero, one))]
        )
        norms = jax.lax.stop_gradient(norms)
        loss, (unscaled, y_pred, state, metrics) = result
        variables = self.non_trainable_variables
        with keras.StatelessScope(
            state_mapping=list(zip(variables, state, strict=True))
        ) as scope:
            self.weighting.update(measured._replace(gradient_norms=norms))
        state = [scope.get_current_value(v) for v in variables]
        return loss, (unscaled, y_pred, state, metrics)


def _norm(gradients):
    return jnp.sqrt(sum(jnp.sum(jnp.square(g)) for g in gradients))
