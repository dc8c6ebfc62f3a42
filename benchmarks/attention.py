"""Time of self-attention layers, as ratios to keras.layers.MultiHeadAttention.

Command   KERAS_BACKEND=jax python benchmarks/attention.py [--nodes 5 31 128]

Each layer runs as it would under `fit`: compiled on JAX and TensorFlow, eager
on torch. Calls of all layers are interleaved and the median of each is taken,
so that a slow spell of the machine strikes all of them. Below 1 is faster.
"""

import argparse
import time

import keras
import numpy as np
from keras import ops

from keras_remul.layers import MultiHeadSelfAttention


class DotProductAttention(MultiHeadSelfAttention):
    """The same layer through `ops.dot_product_attention` on each backend."""

    def _attend(self, qkv, mask, training):
        q, k, v = ops.split(qkv, 3, axis=-1)
        return ops.dot_product_attention(q, k, v, mask=mask)


class StockAttention(keras.layers.MultiHeadAttention):
    """`keras.layers.MultiHeadAttention` of x with itself."""

    def __init__(self, dim, num_heads, **kwargs):
        super().__init__(num_heads, dim // num_heads, **kwargs)

    def build(self, shape):
        super().build(shape, shape)

    def call(self, x, mask=None):
        mask = None if mask is None else mask[:, None, :]
        return super().call(x, x, attention_mask=mask)


def forward_and_step(layer, x, mask):
    """Two functions without arguments: forward, and forward with gradients."""
    backend = keras.backend.backend()
    kwargs = {} if mask is None else {"mask": mask}
    if backend == "jax":
        import jax

        def loss(variables, x, kwargs):
            y, _ = layer.stateless_call(variables, [], x, **kwargs)
            return ops.mean(ops.square(y)), y

        forward = jax.jit(lambda v, x, kwargs: loss(v, x, kwargs)[1])
        step = jax.jit(jax.grad(loss, has_aux=True))
        v = [v.value for v in layer.trainable_variables]
        return (
            lambda: jax.block_until_ready(forward(v, x, kwargs)),
            lambda: jax.block_until_ready(step(v, x, kwargs)),
        )
    if backend == "tensorflow":
        import tensorflow as tf

        @tf.function
        def forward():
            return layer(x, **kwargs)

        @tf.function
        def step():
            with tf.GradientTape() as tape:
                loss = ops.mean(ops.square(layer(x, **kwargs)))
            variables = [v.value for v in layer.trainable_variables]
            return tape.gradient(loss, variables)

        return lambda: forward().numpy(), lambda: step()[-1].numpy()

    import torch

    def synchronize():
        if torch.cuda.is_available():
            torch.cuda.synchronize()

    def forward():
        with torch.no_grad():
            layer(x, **kwargs)
        synchronize()

    def step():
        layer.zero_grad()
        ops.mean(ops.square(layer(x, **kwargs))).backward()
        synchronize()

    return forward, step


def medians(functions, repeats):
    """Median seconds of each function, calls interleaved."""
    times = np.empty((repeats, len(functions)))
    for function in functions * 3:
        function()
    for i in range(repeats):
        for j, function in enumerate(functions):
            start = time.perf_counter()
            function()
            times[i, j] = time.perf_counter() - start
    return np.median(times, axis=0)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nodes", type=int, nargs="+", default=[5, 31, 128])
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--heads", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=200)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--mask", action="store_true")
    args = parser.parse_args()

    classes = [StockAttention, MultiHeadSelfAttention, DotProductAttention]
    print(f"{keras.backend.backend()}, {args}")
    print(f"{'nodes':>6} {'':8} {'stock ms':>9}", end="")
    print(*(f"{cls.__name__:>23}" for cls in classes[1:]))
    for nodes in args.nodes:
        x = keras.random.normal((args.batch, nodes, args.dim))
        mask = ops.ones((args.batch, nodes), "bool") if args.mask else None
        pairs = []
        for cls in classes:
            layer = cls(args.dim, args.heads, dtype=args.dtype)
            layer.build(x.shape)
            pairs.append(forward_and_step(layer, x, mask))
        for name, functions in zip(
            ["forward", "step"], zip(*pairs, strict=True), strict=True
        ):
            stock, *others = medians(functions, args.repeats)
            print(f"{nodes:6} {name:8} {1e3 * stock:9.3f}", end="")
            print(*(f"{t / stock:23.2f}" for t in others))


if __name__ == "__main__":
    main()
