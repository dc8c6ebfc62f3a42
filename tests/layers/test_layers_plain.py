"""Sublayers called the short way do what the layers of Keras do."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from keras_remul import backend
from keras_remul.backend.plain import is_plain, plain_weights
from keras_remul.layers import TransformerBlock
from keras_remul.layers.plain import dense, norm

WIDTH, HEADS = 8, 2
# The second is large enough for the kernels of large arrays.
SHAPES = [(2, 3), (16, 160)]
# Numbers of samples and nodes for which PyTorch has ways of its own.
SHORT = [(160, 5), (20, 31)]


def drawn(rng, *shape, dtype="float32"):
    x = ops.convert_to_tensor(rng.normal(size=shape).astype("float32"))
    return ops.cast(x, dtype)


def stock_attention(qkv, mask, bias):
    shape = (*qkv.shape[:2], HEADS, qkv.shape[-1] // HEADS)
    q, k, v = ops.split(ops.reshape(qkv, shape), 3, axis=-1)
    logits = ops.einsum("bnkf,bmkf->bknm", q, k) / q.shape[-1] ** 0.5
    if bias is not None:
        logits = logits + bias
    if mask is not None:
        logits = ops.where(mask[:, None, None, :], logits, -1e9)
    y = ops.einsum("bknm,bmkf->bnkf", ops.softmax(logits), v)
    return ops.reshape(y, (*qkv.shape[:2], -1))


def stock_norm(x, gamma, beta):
    mean, variance = ops.moments(x, axes=[-1], keepdims=True)
    return (x - mean) * ops.rsqrt(variance + 1e-3) * gamma + beta


def pairs(rng, shape):
    """`{name: (ours, the same by plain operations, width)}`."""
    kernel, bias = drawn(rng, WIDTH, 5), drawn(rng, 5)
    gamma, beta = drawn(rng, WIDTH), drawn(rng, WIDTH)
    mask = np.arange(shape[1]) < np.arange(1, shape[0] + 1)[:, None]
    mask = ops.convert_to_tensor(mask)
    of_pairs = drawn(rng, shape[0], HEADS, shape[1], shape[1])
    found = {
        "linear": (
            lambda x: backend.linear(x, kernel, bias),
            lambda x: ops.matmul(x, kernel) + bias,
            WIDTH,
        ),
        "linear without bias": (
            lambda x: backend.linear(x, kernel, None),
            lambda x: ops.matmul(x, kernel),
            WIDTH,
        ),
        "layer_norm": (
            lambda x: backend.layer_norm(x, gamma, beta, 1e-3),
            lambda x: stock_norm(x, gamma, beta),
            WIDTH,
        ),
        "gelu": (
            backend.gelu,
            lambda x: (
                0.5 * x * (1 + ops.tanh(0.7978845608 * (x + 0.044715 * x**3)))
            ),
            WIDTH,
        ),
    }
    first = drawn(rng, WIDTH, 64), drawn(rng, 64)
    second = drawn(rng, 64, 5), drawn(rng, 5)
    found["mlp"] = (
        lambda x: backend.mlp(x, first, second),
        lambda x: (
            ops.matmul(
                ops.gelu(ops.matmul(x, first[0]) + first[1], True), second[0]
            )
            + second[1]
        ),
        WIDTH,
    )
    for name, m, b in (
        ("attention", None, None),
        ("attention, mask", mask, None),
        ("attention, bias", None, of_pairs),
        ("attention, both", mask, of_pairs),
    ):
        found[name] = (
            lambda x, m=m, b=b: backend.attention(x, HEADS, m, b),
            lambda x, m=m, b=b: stock_attention(x, m, b),
            3 * WIDTH,
        )
    return found


NAMES = list(pairs(np.random.default_rng(0), (1, 2)))


def close(a, b):
    a, b = map(ops.convert_to_numpy, (a, b))
    np.testing.assert_allclose(a, b, atol=2e-5 * np.abs(b).max())


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", NAMES)
def test_values_and_derivatives(name, shape, rng):
    ours, stock, width = pairs(rng, shape)[name]
    x, v = drawn(rng, *shape, width), drawn(rng, *shape, width)
    c = drawn(rng, *ours(x).shape)

    close(ours(x), stock(x))
    # The values that come with a gradient may go another way.
    for a, b in zip(
        backend.value_and_gradient(lambda x: ours(x) * c, x, []),
        backend.value_and_gradient(lambda x: stock(x) * c, x, []),
        strict=True,
    ):
        close(a, b)
    close(backend.jvp(ours)(x, v), backend.jvp(stock)(x, v))


@pytest.mark.parametrize("shape", SHORT)
@pytest.mark.parametrize("name", ["attention", "attention, mask"])
def test_attention_of_few_nodes(name, shape, rng):
    test_values_and_derivatives(name, shape, rng)


@pytest.mark.skipif(
    keras.backend.backend() != "torch", reason="what PyTorch does in pieces"
)
def test_a_large_mlp_without_gradients(rng):
    import torch

    ours, stock, _ = pairs(rng, (1, 2))["mlp"]
    x = drawn(rng, 40, 160, WIDTH)
    with torch.no_grad():
        found, expected = ours(x), stock(x)
    close(found, expected)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("name", NAMES)
def test_short_dtypes(name, dtype, rng):
    ours, _, width = pairs(rng, (2, 3))[name]
    x = drawn(rng, 2, 3, width)
    if name.startswith("l"):  # weights have the dtype of the layer
        return check_layers(dtype, x)
    if name == "mlp":
        return None  # as above
    y = ours(ops.cast(x, dtype))
    assert keras.backend.standardize_dtype(y.dtype) == dtype
    y = ops.convert_to_numpy(ops.cast(y, "float32"))
    np.testing.assert_allclose(y, ops.convert_to_numpy(ours(x)), atol=0.06)


def check_layers(dtype, x):
    for layer, call in (
        (layers.Dense(4, dtype=dtype), dense),
        (layers.LayerNormalization(dtype=dtype), norm),
    ):
        y = layer(x)
        found = call(layer, ops.cast(x, dtype))
        assert found.dtype == y.dtype
        a, b = (
            ops.convert_to_numpy(ops.cast(a, "float32")) for a in (found, y)
        )
        np.testing.assert_allclose(a, b, atol=0.06)


def block_and_input(rng, **kwargs):
    block = TransformerBlock(WIDTH, HEADS, **kwargs)
    x = drawn(rng, 2, 3, WIDTH)
    block(x)
    return block, x


def shortened(block, x):
    """Whether all its linear maps and norms take the short way."""
    attention = block.attention
    maps = attention.qkv, attention.output_dense, block.mlp_in, block.mlp_out
    norms = block.attention_norm, block.mlp_norm
    return plain_weights(maps, norms, x.dtype) is not None


def test_the_short_way_is_taken(rng):
    block, x = block_and_input(rng)
    assert shortened(block, x) and is_plain(block, TransformerBlock)
    mixed, x = block_and_input(rng, dtype="mixed_bfloat16")
    assert not shortened(mixed, x)


class Negative(layers.Dense):
    def call(self, x):
        return -super().call(x)


def subclassed(block):
    block.mlp_out.__class__ = Negative


def own_call(block):
    call = block.mlp_in.call
    block.mlp_in.call = lambda x: 0 * call(x)


def activation(block):
    block.mlp_in.activation = keras.activations.relu


def low_rank(block):
    block.mlp_in.enable_lora(1)
    block.mlp_in.lora_kernel_b.assign_add(
        np.ones(block.mlp_in.lora_kernel_b.shape, "float32")
    )


def quantized(block):
    block.mlp_in.quantize("int8")


@pytest.mark.parametrize(
    "change", [subclassed, own_call, activation, low_rank, quantized]
)
def test_what_is_changed_in_a_sublayer_counts(change, rng):
    block, x = block_and_input(rng)
    before = ops.convert_to_numpy(block(x))
    change(block)
    found = ops.convert_to_numpy(block(x))
    h = x + block.attention(block.attention_norm(x))
    y = ops.gelu(block.mlp_in(block.mlp_norm(h)), approximate=True)
    expected = ops.convert_to_numpy(h + block.mlp_out(y))
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert np.abs(found - before).max() > 1e-5


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="hooks of torch")
def test_hooks_are_called(rng):
    block, x = block_and_input(rng)
    seen = []
    hook = block.mlp_in.register_forward_hook(lambda *a: seen.append(1))
    block(x)
    hook.remove()
    block(x)
    assert len(seen) == 1


def test_losses_of_activities_are_added(rng):
    block, x = block_and_input(rng)
    block.mlp_in.activity_regularizer = keras.regularizers.L2(1.0)
    block(x)
    assert len(block.losses) == 1
