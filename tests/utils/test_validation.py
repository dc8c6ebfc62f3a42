"""Data that cannot be trained on are named before the first step."""

import keras
import numpy as np
import pytest
from keras import ops

import keras_remul as kr
from keras_remul.utils.validation import check_finite

FLOATS = ["float16", "bfloat16", "float32", "float64", "complex64"]


def array(values, dtype, container):
    """The values as an array of NumPy, the backend or PyTorch."""
    values = np.asarray(values)
    if container == "torch":
        torch = pytest.importorskip("torch")
        tensor = torch.tensor(values).to(getattr(torch, dtype))
        return tensor.requires_grad_(tensor.is_floating_point())
    if container == "numpy":
        if dtype == "bfloat16":
            dtype = pytest.importorskip("ml_dtypes").bfloat16
        return values.astype(dtype)
    if dtype in ("float64", "complex64") and keras.backend.backend() == "jax":
        dtype = "float32"
    return ops.cast(ops.convert_to_tensor(values), dtype)


@pytest.mark.parametrize("container", ["numpy", "backend", "torch"])
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_every_float_dtype(dtype, container, value):
    good = array([[1.0, 2.0]] * 4, dtype, container)
    check_finite({"a": [good]}, "x")
    bad = np.ones((4, 2), "float32")
    bad[2, 1] = bad[3, 0] = value
    bad = array(bad, dtype, container)
    with pytest.raises(ValueError) as error:
        check_finite({"a": [good, bad]}, "x")
    assert "`x['a'][1]` holds 2 values" in str(error.value)
    assert "in 2 of 4 samples; the first is sample 2" in str(error.value)


@pytest.mark.parametrize("container", ["numpy", "backend", "torch"])
@pytest.mark.parametrize("dtype", ["int8", "int32", "uint8", "bool"])
def test_integers_pass_untouched(dtype, container):
    data = array([[0, 1]] * 3, dtype, container)
    check_finite(data, "x")
    assert keras.backend.standardize_dtype(data.dtype) == dtype


@pytest.mark.parametrize(
    "leaf",
    [
        np.array(["a", "b"]),
        np.array([b"a", b"b"]),
        np.array([1.0, None], "object"),
        np.array([np.zeros(2), np.zeros(3)], "object"),
        np.array(["2020-01-01"], "datetime64[D]"),
    ],
    ids=["str", "bytes", "None", "ragged", "dates"],
)
def test_what_is_not_a_number(leaf):
    with pytest.raises(ValueError, match=r"`y\['label'\]` must hold numbers"):
        check_finite({"label": leaf}, "y")


def test_none_scalars_and_empty():
    check_finite(None, "sample_weight")
    check_finite([np.float32(1), 2, np.zeros((0, 3))], "y")
    check_finite(array([1e300], "float64", "torch"), "x")  # not of float32
    with pytest.raises(ValueError, match=r"`y\[1\]` holds 1 values"):
        check_finite((1.0, float("nan")), "y")


WORDS = [
    ("max_angle", lambda: kr.groups.SO3(max_angle="ten")),
    ("max_rapidity", lambda: kr.groups.Lorentz(max_rapidity="one")),
    ("max_factor", lambda: kr.groups.Scalings(max_factor="2")),
    ("n", lambda: kr.groups.SO3().sample("3")),
    ("n", lambda: kr.groups.SO3().sample(-1)),
    ("beta", lambda: kr.weighting.Constant(beta="1")),
    ("tolerance", lambda: kr.weighting.Constrained(tolerance="x")),
]


@pytest.mark.backend_independent
@pytest.mark.parametrize("argument, make", WORDS)
def test_words_in_place_of_numbers(argument, make):
    with pytest.raises(ValueError, match=f"^Argument `{argument}` must be a"):
        make()
