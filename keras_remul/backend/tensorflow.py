"""TensorFlow: a step changes its variables in place."""

import tensorflow as tf


def matmul(a, b):
    # tf.matmul rounds its operands to TF32 on recent GPUs and has no argument
    # against it; the matrices here are tiny, so multiply and add instead.
    return tf.reduce_sum(a[..., :, :, None] * b[..., None, :, :], axis=-2)


def map_batch(model, fn, args):
    (data,) = args
    return (fn(data),)
