"""Attention and transformer block against NumPy, with masks and dtypes."""

import keras
import numpy as np
import pytest
from compiled import once
from keras import ops

from keras_remul import layers

DIM, HEADS, BATCH, NODES = 8, 2, 3, 5


def inputs(seed=0):
    x = np.random.default_rng(seed).normal(size=(BATCH, NODES, DIM))
    mask = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [0, 0, 0, 0, 0]], bool)
    return x.astype("float32"), mask


def call(layer, *args, **kwargs):
    y = ops.cast(layer(*args, **kwargs), "float32")
    return ops.convert_to_numpy(y)


def numpy_attention(layer, x, mask):
    """Head by head, and only over the valid keys."""
    w, b, w_out, b_out = (ops.convert_to_numpy(v) for v in layer.weights)
    head_dim = DIM // HEADS
    y = np.zeros_like(x)
    for i in range(len(x)):
        for head in range(HEADS):
            columns = 3 * head_dim * head + np.arange(3 * head_dim)
            qkv = x[i] @ w[:, columns] + b[columns]
            q, k, v = np.split(qkv, 3, axis=-1)
            weights = np.exp(q @ k[mask[i]].T / np.sqrt(head_dim))
            weights /= weights.sum(-1, keepdims=True)
            cols = head_dim * head + np.arange(head_dim)
            y[i][:, cols] = weights @ v[mask[i]]
    return y @ w_out + b_out


def build(dropout=0.0, dtype="float32"):
    keras.utils.set_random_seed(1)
    layer = layers.MultiHeadSelfAttention(DIM, HEADS, dropout, dtype=dtype)
    layer.build((None, None, DIM))
    for v in layer.weights:  # biases too, so that a lost one shows
        v.assign(0.5 * keras.random.normal(v.shape, seed=len(v.shape)))
    return layer


# With dropout, inference takes the form without the fused kernel.
@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_matches_numpy(dropout):
    x, mask = inputs()
    layer = build(dropout)
    full = np.ones_like(mask)
    np.testing.assert_allclose(
        call(layer, x), numpy_attention(layer, x, full), atol=2e-5
    )
    np.testing.assert_allclose(
        call(layer, x, mask=mask)[:2],
        numpy_attention(layer, x[:2], mask),
        atol=2e-5,
    )


@pytest.mark.parametrize("dropout", [0.0, 0.1])
@pytest.mark.parametrize("dtype", ["float32", "mixed_float16", "bfloat16"])
def test_padded_keys_have_no_weight(dtype, dropout):
    x, mask = inputs()
    layer = build(dropout, dtype)
    y = call(layer, x, mask=mask)
    x[~mask] = 37.0
    moved = call(layer, x, mask=mask)
    assert np.array_equal(y[mask], moved[mask])
    assert np.isfinite(moved).all()


@pytest.mark.parametrize("dtype", ["mixed_float16", "mixed_bfloat16"])
def test_low_precision_is_close_to_float32(dtype):
    x, mask = inputs()
    low = call(build(dtype=dtype), x, mask=mask)[mask]
    expected = call(build(), x, mask=mask)[mask]
    np.testing.assert_allclose(low, expected, atol=0.1)


def test_mask_of_zeros_and_ones_is_accepted():
    x, mask = inputs()
    layer = build()
    y = call(layer, x, mask=mask)
    np.testing.assert_array_equal(y, call(layer, x, mask=mask.astype("int32")))


@pytest.mark.parametrize(
    "cls", [layers.MultiHeadSelfAttention, layers.TransformerBlock]
)
def test_permutation_config_and_symbolic_shape(cls):
    x, mask = inputs()
    layer = cls(DIM, HEADS, name="layer")
    y = call(layer, x, mask=mask)
    order = np.random.default_rng(0).permutation(NODES)
    permuted = call(layer, x[:, order], mask=mask[:, order])
    assert not np.allclose(y[0], permuted[0], atol=1e-3)
    np.testing.assert_allclose(y[0, order], permuted[0], atol=1e-5)

    copy = cls.from_config(layer.get_config())
    assert copy.get_config() == layer.get_config()
    copy.build(x.shape)
    copy.set_weights(layer.get_weights())
    np.testing.assert_array_equal(y, call(copy, x, mask=mask))
    assert cls(DIM, HEADS)(keras.Input((None, DIM))).shape == (None, None, DIM)


def test_dropout_acts_in_training_only():
    x, _ = inputs()
    block = layers.TransformerBlock(DIM, HEADS, dropout=0.5)
    assert np.array_equal(call(block, x), call(block, x))
    first, second = (call(block, x, training=True) for _ in range(2))
    assert not np.allclose(first, second)


def test_dim_must_be_a_multiple_of_heads():
    with pytest.raises(ValueError, match="multiple of `num_heads`.*dim=10"):
        layers.MultiHeadSelfAttention(10, 4)


@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_queries_of_some_nodes(dropout):
    x, mask = inputs()
    layer = build(dropout)
    bias = np.random.default_rng(1).normal(size=(BATCH, HEADS, NODES, NODES))
    bias = bias.astype("float32")
    whole = call(layer, x, mask=mask, bias=bias)
    found = call(layer, x, mask=mask, bias=bias[:, :, 1:3], query=x[:, 1:3])
    np.testing.assert_allclose(found[:2], whole[:2, 1:3], atol=2e-6)


def test_a_class_token_asks_itself_and_the_valid_nodes():
    x, mask = inputs()
    block = layers.NormFormerBlock(DIM, HEADS)
    block.build((None, None, DIM))
    token = x[:, :1] + 1.0
    run = once(lambda x, mask: block(x, mask=mask, token=token))
    y = ops.convert_to_numpy(run(x, mask))
    assert y.shape == (BATCH, 1, DIM)
    dirty = ops.convert_to_numpy(run(np.where(mask[..., None], x, 7.0), mask))
    np.testing.assert_allclose(dirty, y, atol=1e-6)
    whole = ops.convert_to_numpy(run(x, np.ones_like(mask)))
    assert np.abs(whole - y)[1:].max() > 1e-2
    bias = np.zeros((BATCH, HEADS, NODES, NODES), "float32")
    with pytest.raises(ValueError, match="no `bias` beside a `token`"):
        block(x, bias=bias, token=token)
