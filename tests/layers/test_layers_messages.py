"""Messages made a piece of the pairs at a time are those made all at once."""

import importlib

import keras
import numpy as np
import pytest
from keras import ops

from keras_remul import backend
from keras_remul.layers import EGNNLayer, MessagePassing
from keras_remul.layers.message_passing import masked
from keras_remul.layers.plain import of_rows
from keras_remul.models import EGNN, MessagePassingNetwork

BATCH, NODES, WIDTH, LISTED = 5, 4, 6, 3


def drawn(rng, *shape):
    return ops.convert_to_tensor(rng.normal(size=shape).astype("float32"))


def in_small_pieces(monkeypatch):
    """Two samples, or some receivers, at a time."""
    module = importlib.import_module(
        f"keras_remul.backend.{keras.backend.backend()}"
    )
    # TensorFlow takes all at once.
    numbers = 2 * NODES * NODES * WIDTH
    monkeypatch.setattr(module, "PIECE", numbers, raising=False)


def functions(rng, listed):
    """`{name: function of the nodes}` of layers whose branches all matter."""
    neighbors, width = None, NODES
    if listed:
        width = LISTED
        numbers = rng.integers(-1, NODES, size=(BATCH, NODES, width))
        neighbors = ops.convert_to_tensor(numbers.astype("int32"))
    mask = ops.convert_to_tensor(rng.random((BATCH, NODES, width)) > 0.3)
    pairs = drawn(rng, BATCH, NODES, width, 2)
    x = drawn(rng, BATCH, NODES, 3)
    passing, egnn = MessagePassing(WIDTH), EGNNLayer(WIDTH)
    shape = (None, None, WIDTH)
    passing.build(shape, pairs.shape)
    egnn.build(shape, x.shape, pairs.shape)
    for layer in (passing, egnn):
        layer.set_weights(
            [rng.normal(size=w.shape) / 2 for w in layer.get_weights()]
        )
    return {
        "nodes": lambda h: passing(h, pairs, mask, neighbors=neighbors)[0],
        "messages": lambda h: passing(h, pairs, mask, neighbors=neighbors)[1],
        "moves": lambda h: egnn(h, x, pairs, mask, neighbors=neighbors)[1],
    }


@pytest.mark.parametrize("listed", [False, True])
def test_values_and_derivatives(listed, rng, monkeypatch):
    found = functions(rng, listed)
    h, v = drawn(rng, BATCH, NODES, WIDTH), drawn(rng, BATCH, NODES, WIDTH)

    def everything():
        result = []
        for fn in found.values():

            def squares(h, fn=fn):
                return ops.square(fn(h))

            result += backend.value_and_gradient(squares, h, [])
            result.append(backend.jvp(squares)(h, v))
        return [ops.convert_to_numpy(a) for a in result]

    whole = everything()
    in_small_pieces(monkeypatch)
    for a, b in zip(everything(), whole, strict=True):
        assert np.abs(b).max() > 1e-3
        np.testing.assert_allclose(a, b, atol=1e-5 * np.abs(b).max())


def test_what_is_not_there_is_no_number_that_counts(rng):
    m = rng.normal(size=(2, 3, 4)).astype("float32")
    m[0, 1] = np.nan
    mask = np.array([[True, False, True], [True, True, True]])
    expected = np.where(mask[..., None], m, 0.0).sum(1)
    y = ops.sum(masked(*map(ops.convert_to_tensor, (m, mask))), axis=-2)
    np.testing.assert_allclose(ops.convert_to_numpy(y), expected, rtol=1e-5)
    mask[0, 1] = True
    y = ops.sum(masked(*map(ops.convert_to_tensor, (m, mask))), axis=-2)
    assert np.isnan(ops.convert_to_numpy(y)[0]).all()


def test_layers_that_are_called_once_on_the_whole(rng):
    layer, x = keras.layers.Dense(2, "silu"), drawn(rng, 3, 4)
    y = ops.convert_to_numpy(layer(x))
    (call,) = of_rows([layer], x.dtype)
    np.testing.assert_allclose(ops.convert_to_numpy(call(x)), y, atol=1e-6)
    for other in (
        keras.layers.Dense(2, lambda y: y - ops.mean(y)),
        keras.layers.Dense(2, dtype="mixed_bfloat16"),
    ):
        other(x)
        assert of_rows([layer, other], x.dtype) is None


@pytest.mark.parametrize("cls", [EGNN, MessagePassingNetwork])
def test_what_is_changed_in_a_layer_counts(cls, rng):
    x = {"positions": rng.normal(size=(2, 4, 3)).astype("float32")}
    model = cls(num_layers=2, hidden_dim=4, readout="nodes")
    before = ops.convert_to_numpy(model(x))
    block = model.blocks[0]
    passing = block if cls is MessagePassingNetwork else block.messages
    original, seen = passing.call, []

    def call(*args, **kwargs):
        seen.append(1)
        return original(*args, **kwargs)

    passing.call = call
    np.testing.assert_allclose(
        ops.convert_to_numpy(model(x)), before, atol=1e-6
    )
    assert len(seen) == 1


def patched(monkeypatch, cls):
    original, seen = cls.call, []

    def call(self, *args, **kwargs):
        seen.append(1)
        return original(self, *args, **kwargs)

    monkeypatch.setattr(cls, "call", call)
    return seen


@pytest.mark.parametrize("cls", [EGNN, MessagePassingNetwork])
def test_another_call_of_the_class_counts(cls, rng, monkeypatch):
    x = {"positions": rng.normal(size=(2, 4, 3)).astype("float32")}
    model = cls(num_layers=2, hidden_dim=4, readout="nodes")
    model(x)
    seen = patched(monkeypatch, MessagePassing)
    model(x)
    assert len(seen) == 2


def listed(rng, batch, width):
    """Arguments of a layer: nodes, pairs, mask and a list."""
    return [
        drawn(rng, batch, NODES, WIDTH),
        drawn(rng, batch, NODES, width, 2),
        ops.ones((batch, NODES, width), "bool"),
        ops.zeros((batch, NODES, width), "int32"),
    ]


@pytest.mark.parametrize("batch, width", [(0, LISTED), (2, 0), (0, 0)])
def test_no_samples_and_no_neighbors(batch, width, rng):
    layer = MessagePassing(WIDTH)
    h, pairs, mask, neighbors = listed(rng, batch, width)
    layer.build(h.shape, (None, None, None, 2))
    y, m = layer(h, pairs, mask, neighbors=neighbors)
    assert tuple(y.shape) == (batch, NODES, WIDTH)
    assert tuple(m.shape) == (batch, NODES, width, WIDTH)
    moves = EGNNLayer(WIDTH)
    moves.build(h.shape, (None, None, 3), (None, None, None, 2))
    x = drawn(rng, batch, NODES, 3)
    _, moved = moves(h, x, pairs, mask, neighbors=neighbors)
    assert tuple(moved.shape) == (batch, NODES, 3)


def test_a_layer_sees_the_axes_of_the_samples(rng):
    """Also with a list, whose receivers are samples of their own in pieces."""
    layer, shapes = MessagePassing(WIDTH), []

    def activation(z):
        shapes.append(tuple(z.shape))
        return z

    arguments = listed(rng, 2, LISTED)
    layer.build(arguments[0].shape, arguments[1].shape)
    layer.message.activation = activation
    layer(*arguments[:3], neighbors=arguments[3])
    assert shapes == [(2, NODES, LISTED, WIDTH)]


def test_arguments_as_a_call_takes_them(rng):
    """Other dtypes, masks of numbers, pairs that all samples share."""
    layer = MessagePassing(WIDTH)
    h, pairs, mask, neighbors = listed(rng, 2, LISTED)
    layer.build(h.shape, pairs.shape)
    mask = ops.convert_to_tensor(rng.random((2, NODES, LISTED)) > 0.3)
    pairs = ops.repeat(pairs[:1], 2, axis=0)
    expected = layer(h, pairs, mask, neighbors=neighbors)
    for found in (
        layer(h, pairs, 2 * ops.cast(mask, "int32"), neighbors=neighbors),
        layer(h, pairs[:1], mask, neighbors=neighbors),
        layer.exchange(
            ops.convert_to_numpy(h).astype("float64"),
            pairs,
            mask,
            neighbors,
            lambda m, mask: ops.where(mask[..., None], m, 0.0),
        ),
    ):
        for a, b in zip(found, expected, strict=True):
            assert a.dtype == b.dtype
            np.testing.assert_allclose(
                ops.convert_to_numpy(a), ops.convert_to_numpy(b), atol=1e-6
            )


@pytest.mark.skipif(
    keras.backend.backend() != "torch", reason="a transform of PyTorch"
)
def test_gradients_of_each_sample(rng):
    import torch

    model = EGNN(num_layers=2, hidden_dim=4)
    x = drawn(rng, 3, NODES, 3)
    model({"positions": x})

    def loss(x):
        return model({"positions": x[None]}).square().sum()

    each = torch.func.vmap(torch.func.grad(loss))(x)
    expected = torch.stack([torch.func.grad(loss)(one) for one in x])
    torch.testing.assert_close(each, expected)


@pytest.mark.parametrize("cls", [EGNN, MessagePassingNetwork])
def test_many_nodes_with_a_list_train(cls, rng):
    nodes, listed = 2000, 16
    x = {
        "positions": rng.normal(size=(1, nodes, 3)).astype("float32"),
        "neighbors": rng.integers(nodes, size=(1, nodes, listed)),
    }
    y = x["positions"] * 0.9
    model = cls(num_layers=1, hidden_dim=16)
    model.compile(keras.optimizers.Adam(1e-2), "mse")
    losses = [float(model.train_on_batch(x, y)) for _ in range(4)]
    assert losses[-1] < losses[0]
