"""TensorFlow: a step changes its variables in place."""

import tensorflow as tf


def matmul(a, b):
    # tf.matmul rounds its operands to TF32 on recent GPUs and has no argument
    # against it; the matrices here are tiny, so multiply and add instead.
    return tf.reduce_sum(a[..., :, :, None] * b[..., None, :, :], axis=-2)


def value_and_gradient(fn, x, variables):
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = fn(x)
        total = tf.reduce_sum(y)
    return y, tape.gradient(total, x)


def map_batch(model, fn, args):
    (data,) = args
    return (fn(data),)


def every(model, interval, step, other, args):
    iterations = tf.convert_to_tensor(model.optimizer.iterations)
    return tf.cond(
        iterations % interval == 0, lambda: step(*args), lambda: other(*args)
    )


class TaskGradients:
    _tape = None

    def train_step(self, *args):
        if not self.weighting.uses_gradient_norms:
            return super().train_step(*args)
        # The tape of Keras is out of reach of compute_loss; this one is not.
        with tf.GradientTape(persistent=True) as self._tape:
            logs = super().train_step(*args)
        self._tape = None
        return logs

    def update_with_gradients(self, losses, measured):
        variables = self.weighting.gradient_variables(self.model)
        values = [v.value for v in variables]
        with self._tape.stop_recording():
            norms = [
                _norm(self._tape.gradient(loss, values)) for loss in losses
            ]
        self.weighting.update(measured._replace(gradient_norms=tf.stack(norms)))


def _norm(gradients):
    return tf.sqrt(sum(tf.reduce_sum(tf.square(g)) for g in gradients))
