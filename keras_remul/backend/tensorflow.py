"""TensorFlow: a step changes its variables in place."""

import contextlib
import threading
import warnings
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from keras_remul.backend import devices, keras_internals
from keras_remul.backend.mixins import ModelMixin
from keras_remul.backend.signature import specs


def matmul(a, b) -> Any:
    if not tf.config.list_logical_devices("GPU"):
        return tf.matmul(a, b)
    # There tf.matmul rounds its operands to TF32 and has no argument against
    # it. XLA makes one loop of this.
    return tf.reduce_sum(a[..., :, :, None] * b[..., None, :, :], axis=-2)


def linear(x, kernel, bias):
    y = ops.matmul(x, kernel)
    return y if bias is None else y + bias


def layer_norm(x, gamma, beta, epsilon):
    return ops.layer_normalization(x, gamma, beta, -1, epsilon)


def gelu(x):
    return tf.nn.gelu(x, approximate=True)


def silu(x):
    return tf.nn.silu(x)


def attention(qkv, heads, mask, bias):
    dtype, width = qkv.dtype, qkv.shape[-1] // (3 * heads)
    nodes = tf.shape(qkv)[1] if qkv.shape[1] is None else qkv.shape[1]
    qkv = tf.reshape(qkv, (-1, nodes, heads, 3 * width))
    # Split, not sliced: the gradient of a slice is a whole array.
    q, k, v = tf.split(tf.transpose(qkv, (0, 2, 1, 3)), 3, axis=-1)
    logits = tf.matmul(q * width**-0.5, k, transpose_b=True)  # (B, K, N, N)
    if dtype in (tf.float16, tf.bfloat16):
        logits = tf.cast(logits, tf.float32)
    if bias is not None:
        logits = logits + tf.cast(bias, logits.dtype)
    if mask is not None:
        logits = tf.where(mask[:, None, None, :], logits, -1e30)
    weights = tf.cast(tf.nn.softmax(logits), dtype)
    y = tf.transpose(tf.matmul(weights, v), (0, 2, 1, 3))
    return tf.reshape(y, (-1, nodes, heads * width))


def mlp(x, first, second):
    return linear(gelu(linear(x, *first)), *second)


def in_pieces(fn, arrays, width):
    return fn(*arrays)


def intercepts_calls():
    return False


def is_eager(arrays):
    return False


def is_traced(x):
    return isinstance(x, keras.KerasTensor) or not tf.executing_eagerly()


def one_program(fn, static=()):
    return fn


def jvp(fn):
    def derivative(t, v, *args):
        with tf.autodiff.ForwardAccumulator(t, v) as accumulator:
            output = fn(t, *args)
        return accumulator.jvp(
            output, unconnected_gradients=tf.UnconnectedGradients.ZERO
        )

    return derivative


def kept_generators():
    return contextlib.nullcontext()  # predicting draws from none


def value_and_gradient(fn, x, variables, add_loss=None):
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = fn(x)
        total = tf.reduce_sum(y)
    return y, tape.gradient(total, x)


def cond(pred, true_fn, false_fn, variables, add_loss=None):
    return tf.cond(pred, true_fn, false_fn)


def map_batch(model, fn, args):
    (data,) = args
    return (fn(data),)


def every(model, interval, step, other, args):
    if model.distribute_strategy.num_replicas_in_sync > 1:
        raise ValueError(
            "On TensorFlow `interval` works on one device only, since "
            "tf.distribute allows no optimizer step inside tf.cond. Use "
            f"`fraction={1 / interval:.3g}`, which costs the same. Received: "
            f"interval={interval}"
        )
    iterations = tf.convert_to_tensor(model.optimizer.iterations)
    return tf.cond(
        iterations % interval == 0, lambda: step(*args), lambda: other(*args)
    )


# Each replica of a tf.distribute strategy runs its step in a thread.
_local = threading.local()


def build_early(model, data):
    # A traced step that makes variables is traced twice. Of replicas Keras
    # knows it.
    one = model.distribute_strategy.num_replicas_in_sync == 1
    if one and not model.run_eagerly:
        keras_internals.build(model, data)


@contextlib.contextmanager
def restored(model):
    yield


def write_exported(model, path, format, sample, shapes):
    # tf2onnx warns of its own deprecated parts.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.export(
            path,
            format=format,
            verbose=False,
            input_signature=[specs(sample, shapes)],
        )


def load_exported(path, format):
    if format != "tf_saved_model":
        return None
    program = tf.saved_model.load(str(path))
    return lambda x: keras.tree.map_structure(
        lambda a: a.numpy(),
        program.serve(keras.tree.map_structure(tf.constant, x)),
    )


def compiled(model, sample, shapes):
    parts = model.trainable_variables, model.non_trainable_variables
    state = [[tf.identity(v.value) for v in part] for part in parts]
    signature = keras.tree.map_structure(
        lambda spec: tf.TensorSpec(spec.shape, spec.dtype),
        specs(sample, shapes),
    )

    @tf.function(input_signature=[signature], autograph=False)
    def predict(x):
        return model.stateless_call(*state, x, training=False)[0]

    def run(x):
        return predict(keras.tree.map_structure(tf.convert_to_tensor, x))

    return run, run


class TaskGradients(ModelMixin):
    def train_step(self, *args):
        if not self.weighting.uses_gradient_norms:
            return super().train_step(*args)
        # The tape of Keras is out of reach of compute_loss; this one is not.
        with tf.GradientTape(persistent=True) as _local.tape:
            logs = super().train_step(*args)
        _local.tape = None
        return logs

    def update_with_gradients(self, losses: Any, measured: Any) -> None:
        """Gives the weighting the measures of a step, with gradient norms.

        Args:
            losses: L_obj and L_equi of the step, scalars with gradients.
            measured: the `StepMeasures` of the step, without norms.
        """
        variables = self.weighting.gradient_variables(self.model)
        values = [v.value for v in variables]
        tape = _local.tape
        with tape.stop_recording():
            # Zero for weights that the loss does not use.
            norms = [
                _norm(tape.gradient(loss, values, unconnected_gradients="zero"))
                for loss in losses
            ]
        norms = tf.cast(tf.stack(norms), tf.float32)
        self.weighting.update(measured._replace(gradient_norms=norms))


def _norm(gradients):
    gradients = [devices.mean_over_replicas(g) for g in gradients]
    return tf.sqrt(sum(tf.reduce_sum(tf.square(g)) for g in gradients))
