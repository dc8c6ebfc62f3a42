"""Compiled models: what the model computes, with the weights of then."""

import keras
import numpy as np
import pytest

from keras_remul import backend, compiled, models

BACKEND = keras.backend.backend()


def inputs(batch=3, nodes=4):
    rng = np.random.default_rng(nodes)
    x = {
        key: rng.normal(size=(batch, nodes, 3)).astype("float32")
        for key in ("velocities", "positions")  # keys not sorted
    }
    x["mask"] = np.arange(nodes) < np.array([[nodes]] * (batch - 1) + [[2]])
    return x


def need_a_compiler():
    if BACKEND != "torch":
        return
    from torch._inductor import cpp_builder, exc

    try:
        cpp_builder.get_cpp_compiler()
    except exc.InvalidCxxCompiler as error:
        pytest.skip(f"PyTorch compiles by a C++ compiler: {error}")


def assert_same(answer, model, x):
    y = keras.ops.convert_to_numpy(answer(x))
    np.testing.assert_allclose(y, model.predict(x, verbose=0), atol=1e-5)


def test_it_computes_what_the_model_does():
    need_a_compiler()
    model = models.Transformer(num_layers=1, hidden_dim=8, num_heads=2)
    answer = compiled(model, inputs())
    assert keras.ops.is_tensor(answer(inputs()))
    assert_same(answer, model, inputs())
    assert_same(answer, model, inputs(batch=2, nodes=6))
    before = keras.ops.convert_to_numpy(answer(inputs()))
    model.compile("adam", "mse")
    model.fit(inputs(), inputs()["positions"] + 1.0, verbose=0)
    assert np.abs(model.predict(inputs(), verbose=0) - before).max() > 1e-4
    after = keras.ops.convert_to_numpy(answer(inputs()))
    np.testing.assert_allclose(after, before, atol=1e-6)


def test_inputs_unlike_the_sample():
    need_a_compiler()
    x = {"a": np.ones((2, 3), "float32"), "b": np.ones((2, 3), "int32")}
    given = {
        key: keras.Input((3,), name=key, dtype=v.dtype) for key, v in x.items()
    }
    y = given["a"] - 2.0 * keras.ops.cast(given["b"], "float32")
    answer = compiled(keras.Model(given, y), x)
    wide = {"a": np.full((2, 3), 4.0), "b": x["b"]}
    found = keras.ops.convert_to_numpy(answer(wide))
    np.testing.assert_array_equal(found, np.full((2, 3), 2.0, "float32"))
    for wrong in ({"c": x["a"], "b": x["b"]}, [x["a"], x["b"]], {"a": x["a"]}):
        with pytest.raises(ValueError, match="structure of the sample.*'a'"):
            answer(wrong)
    with pytest.raises(ValueError, match="dtype int32.*float32"):
        answer({"a": x["a"], "b": x["a"]})


@pytest.mark.skipif(BACKEND != "jax", reason="traced again for each size")
def test_what_is_trainable_may_change():
    model = models.Transformer(num_layers=2, hidden_dim=8, num_heads=2)
    model(inputs())
    for weight in model.trainable_variables:
        weight.assign(weight + 0.1 * keras.random.normal(weight.shape))
    model.blocks[0].trainable = False
    answer = compiled(model, inputs())
    model.blocks[0].trainable, model.blocks[1].trainable = True, False
    assert_same(answer, model, inputs(batch=2))


def test_outputs_that_differ_and_what_cannot_be_compiled(monkeypatch):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    x = np.ones((2, 3), "float32")

    def wrong(model, sample, shapes):
        return (lambda x: model(x) + 1.0,) * 2

    monkeypatch.setattr(backend, "compiled", wrong)
    with pytest.raises(ValueError, match="compiled model gives other outputs"):
        compiled(model, x)

    def fail(*args):
        raise RuntimeError("No working C++ compiler found")

    monkeypatch.setattr(backend, "compiled", fail)
    with pytest.raises(RuntimeError, match=f"{BACKEND}.*No working C.*g\\+\\+"):
        compiled(model, x)
    with pytest.raises(ValueError, match="two samples"):
        compiled(model, x[:1])
