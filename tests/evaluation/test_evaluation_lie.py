"""The Lie derivative and the profile against derivatives done by hand."""

import functools

import keras
import numpy as np
import pytest
from keras import ops

from keras_remul import (
    RemulModel,
    Symmetry,
    backend,
    equivariance_profile,
    groups,
    lie_derivative,
    models,
)
from keras_remul.layers.gatr_block import _distance_features
from keras_remul.layers.lengths import lengths
from keras_remul.representations import PerSample
from keras_remul.utils.leaves import to_numpy

INPUTS = {"positions": "point", "velocities": "vector", "charges": "scalar"}
CONTINUOUS = [
    groups.SO2(axis="y"),
    groups.SO2(axis=[1.0, 2.0, -0.5]),
    groups.SO2(axis=None),
    groups.O2(),
    groups.SO3(),
    groups.O3(),
    groups.Translations(),
    groups.SE2(),
    groups.E2(),
    groups.SE3(),
    groups.E3(),
    groups.Lorentz(),
    groups.Scalings(),
]


def expm(matrix):
    """The exponential of small matrices, by its series."""
    result = term = np.eye(len(matrix))
    for k in range(1, 25):
        term = term @ matrix / k
        result = result + term
    return result


def test_jvp_by_hand():
    x = ops.convert_to_tensor([1.0, 2.0])
    v = ops.convert_to_tensor([0.5, -1.0])
    tangent = backend.jvp(
        lambda x, s: {"a": ops.sum(x**2) * s["s"], "b": [ops.sin(x)]}
    )(x, v, {"s": ops.convert_to_tensor(3.0)})
    # 2 x.v s = 2 (0.5 - 2) 3
    assert float(tangent["a"]) == pytest.approx(-9.0)
    np.testing.assert_allclose(
        ops.convert_to_numpy(tangent["b"][0]),
        np.cos([1.0, 2.0]) * [0.5, -1.0],
        rtol=1e-6,
    )


@pytest.mark.parametrize("group", CONTINUOUS, ids=repr)
def test_generators_lead_into_the_group(group):
    """exp(t A): the group's own inverse undoes it, and the law is obeyed."""
    matrices = group.generators()
    assert matrices
    basis = np.stack([m.ravel() for m in matrices.values()])
    assert np.linalg.matrix_rank(basis) == len(matrices)
    for name, matrix in matrices.items():
        element = expm(0.7 * matrix)[None].astype("float32")
        inverse = ops.convert_to_numpy(
            group.inverse(ops.convert_to_tensor(element))
        )
        np.testing.assert_allclose(
            inverse[0], expm(-0.7 * matrix), atol=1e-5, err_msg=name
        )


def test_number_and_sense_of_generators():
    assert len(groups.SE3().generators()) == 6
    assert list(groups.SO2(axis="y").generators()) == ["rotation"]
    np.testing.assert_allclose(
        groups.SO2(axis="y").generators()["rotation"],
        groups.SO3().generators()["rotation_y"],
        atol=1e-6,
    )
    x, y, z = np.eye(3)
    turn = groups.SO3().generators()["rotation_z"]
    np.testing.assert_allclose(turn @ x, y)  # right-handed
    assert groups.Cyclic(4).generators() == {}
    assert groups.Permutations(5).generators() == {}

    class Unknown(groups.Group):
        dimension = 3

    with pytest.raises(NotImplementedError, match="does not state its"):
        Unknown().generators()


def test_fixed_vector_by_hand(rng):
    """f adds a: L_A f = -A a, for all x."""
    a = np.array([3.0, 0.0, 4.0], "float32")
    x = rng.normal(size=(7, 3)).astype("float32")
    symmetry = Symmetry(groups.SO3(), "vector", "vector")
    result = lie_derivative(lambda x: ops.add(x, a), x, symmetry)
    expected = {"rotation_x": 4.0, "rotation_y": 5.0, "rotation_z": 3.0}
    for name, value in expected.items():
        assert result[name] == pytest.approx(value, rel=1e-5)
    assert result["total"] == pytest.approx(np.sqrt(50.0), rel=1e-5)
    scale = np.linalg.norm(x + a, axis=1).mean()
    assert result["relative"] == pytest.approx(np.sqrt(50) / scale, rel=1e-5)


def test_translations_by_hand(rng):
    """f doubles positions: L = 2 e - e for each unit vector e and node."""
    x = rng.normal(size=(7, 4, 3)).astype("float32")
    symmetry = Symmetry(groups.SE3(), "point", "point")
    result = lie_derivative(lambda x: 2 * x, x, symmetry)
    for axis in "xyz":
        assert result[f"translation_{axis}"] == pytest.approx(2.0, rel=1e-5)
        assert result[f"rotation_{axis}"] == pytest.approx(0.0, abs=1e-5)


def transformer(x, gain=30.0):
    model = models.Transformer(num_layers=1, hidden_dim=8, num_heads=2)
    model(x)
    model.head.kernel.assign(model.head.kernel * gain)
    return model


def test_agrees_with_finite_differences(bodies):
    x, _ = bodies
    model = transformer(x)
    symmetry = Symmetry(groups.SE3(), INPUTS, "point")
    values = lie_derivative(
        RemulModel(model, symmetry), x, symmetry, per_sample=True
    )
    t = 1e-2
    for name, matrix in symmetry.group.generators().items():
        ends = []
        for step in (t, -t):
            g = np.tile(expm(step * matrix), (12, 1, 1)).astype("float32")
            back = np.tile(expm(-step * matrix), (12, 1, 1)).astype("float32")
            of_moved = model(symmetry.transform_inputs(g, x))
            ends.append(
                ops.convert_to_numpy(symmetry.transform_outputs(back, of_moved))
            )
        slope = (ends[0] - ends[1]).reshape(12, -1) / (2 * t)
        np.testing.assert_allclose(
            values[name], np.linalg.norm(slope, axis=1), rtol=1e-2, atol=2e-3
        )
    assert values["rotation_x"].min() > 0.05
    assert values["translation_x"].max() < 1e-4


def test_equivariant_function_and_batches(bodies):
    x, _ = bodies

    def drift(x, power=1):
        return x["positions"] + 0.5 * x["charges"] * x["velocities"] ** power

    symmetry = Symmetry(groups.E3(), INPUTS, "point")
    assert lie_derivative(drift, x, symmetry)["total"] < 1e-5
    broken = functools.partial(drift, power=3)
    whole = lie_derivative(broken, x, symmetry)
    assert whole["relative"] > 0.1
    parts = lie_derivative(broken, x, symmetry, batch_size=6)
    assert parts == pytest.approx(whole, rel=1e-5, abs=1e-6)


def test_padding_changes_no_derivative(bodies):
    x, _ = bodies
    model = transformer(x)
    symmetry = Symmetry(groups.SO2(axis="y"), INPUTS, "point")
    whole = lie_derivative(model, x, symmetry)
    padded = {
        key: np.concatenate([value, 9 + value[:, :2]], axis=1)
        for key, value in x.items()
    }
    padded["mask"] = np.array([[1.0] * 5 + [0.0] * 2] * 12, "float32")
    masked = lie_derivative(model, padded, symmetry)
    assert masked == pytest.approx(whole, rel=1e-3, abs=1e-5)


def test_products_and_own_generators(bodies):
    x, _ = bodies
    product = groups.Product(
        {"space": groups.SO3(), "nodes": groups.Permutations(5)}
    )
    model = transformer(x)
    result = lie_derivative(model, x, Symmetry(product, INPUTS, "point"))
    symmetry = Symmetry(groups.SO3(), INPUTS, "point")
    expected = lie_derivative(model, x, symmetry)
    assert result["space_rotation_y"] == pytest.approx(
        expected["rotation_y"], rel=1e-5
    )
    turn = groups.SO3().generators()["rotation_y"]
    own = lie_derivative(model, x, symmetry, generators={"turn": 2 * turn})
    assert own["turn"] == pytest.approx(2 * expected["rotation_y"], rel=1e-4)


def test_errors_of_the_derivative(rng):
    x = rng.normal(size=(4, 2)).astype("float32")
    plane = Symmetry(groups.SO2(axis=None), "vector", "vector")
    with pytest.raises(ValueError, match="made of\n?.*`keras.ops`"):
        lie_derivative(lambda x: ops.convert_to_numpy(x), x, plane)
    with pytest.raises(ValueError, match="no element close to the identity"):
        quarter = Symmetry(groups.Cyclic(4), "vector", "vector")
        lie_derivative(lambda x: x, x, quarter)
    with pytest.raises(ValueError, match=r"'a' must be a matrix .* \(2, 2\)"):
        lie_derivative(lambda x: x, x, plane, generators={"a": np.eye(3)})


# Dtypes, structures, products.


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "int32"])
def test_dtypes_of_inputs_and_outputs(rng, dtype):
    """f squares: L = 2 x (A x) - A x^2, also for integers, also cast."""
    x = rng.integers(-4, 5, size=(6, 3, 3)).astype("float32")
    symmetry = Symmetry(groups.SO3(), "vector", "vector")
    expected = lie_derivative(ops.square, x, symmetry)
    assert expected["total"] > 1
    given = ops.convert_to_numpy(ops.cast(x, dtype))
    found = lie_derivative(ops.square, given, symmetry)
    assert found == pytest.approx(expected, rel=1e-5)
    if "float" in dtype:
        rounded = lie_derivative(
            lambda x: ops.cast(100 * ops.square(x), dtype), given, symmetry
        )
        for name in ("total", "rotation_x"):  # squares overflow float16
            assert rounded[name] == pytest.approx(
                100 * expected[name], rel=0.02
            )


@pytest.mark.parametrize("dtype", ["mixed_float16", "float16"])
def test_models_of_low_precision_at_rest(bodies, dtype):
    x, _ = bodies
    x = {key: value[:3] for key, value in x.items()}
    x["velocities"] = np.zeros_like(x["velocities"])
    symmetry = Symmetry(groups.SO2(axis="y"), INPUTS, "point")
    model = models.EGNN(num_layers=1, hidden_dim=8, dtype=dtype)
    assert lie_derivative(model, x, symmetry)["relative"] < 0.01


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_derivatives_of_layers_at_zero(dtype):
    zero = ops.zeros((1, 2, 8), dtype)

    def everything(t):
        v = zero + t * ops.ones_like(zero)
        geometry = models.SE3Transformer(num_degrees=2)._geometry(
            0 * v[..., :3], None, dtype
        )
        return [lengths(v, 1e-12), _distance_features(v, v), geometry[:2]]

    one = ops.ones((), dtype)
    tangent = backend.jvp(everything)(0 * one, one)
    for leaf in keras.tree.flatten(tangent):
        assert np.isfinite(np.asarray(to_numpy(leaf), "float64")).all()
    large = ops.cast([[300.0, 400.0]], dtype)  # its squares overflow float16
    assert float(lengths(large, 1e-6)[0, 0]) == pytest.approx(500, rel=1e-2)


def test_nested_products(bodies):
    x, _ = bodies
    turns = groups.SO2(axis="y")
    inner = groups.Product({"space": turns, "nodes": groups.Permutations(5)})
    nested = groups.Product({"all": inner, "sign": groups.Cyclic(1)})
    inputs = {key: f"{value}@all" for key, value in INPUTS.items()}

    def broken(x):
        return x["positions"] + x["velocities"] ** 3

    one = lie_derivative(broken, x, Symmetry(turns, INPUTS, "point"))
    symmetry = Symmetry(nested, inputs, "point@all")
    found = lie_derivative(broken, x, symmetry)
    assert list(found) == ["all_space_rotation", "total", "relative"]
    assert found["total"] == pytest.approx(one["total"], rel=1e-5)
    matrix = turns.generators()["rotation"]
    own = {"twice": {"all": {"space": 2 * matrix}}}
    found = lie_derivative(broken, x, symmetry, generators=own)
    assert found["twice"] == pytest.approx(2 * one["total"], rel=1e-5)
    for wrong in (matrix, {"some": matrix}, {"all": matrix}):
        with pytest.raises(ValueError, match="must be a dict of factors"):
            lie_derivative(broken, x, symmetry, generators={"a": wrong})


def test_names_of_generators_do_not_meet(rng):
    x = rng.normal(size=(4, 3)).astype("float32")
    turns = groups.SO2(axis="y")
    product = groups.Product({"a_b": turns, "a": groups.Product({"b": turns})})
    symmetry = Symmetry(product, "vector@a_b", "vector@a_b")
    with pytest.raises(ValueError, match="Two generators .* 'a_b_rotation'"):
        lie_derivative(lambda x: x, x, symmetry)
    plain = Symmetry(turns, "vector", "vector")
    for name in ("total", "relative"):
        with pytest.raises(ValueError, match="must not be named"):
            lie_derivative(lambda x: x, x, plain, generators={name: np.eye(3)})


def test_outputs_per_sample_with_a_mask_and_in_any_order(rng):
    """A mask of three nodes, and an output (B, 3) that is not of nodes."""
    x = {
        "r": rng.normal(size=(6, 3, 3)).astype("float32"),
        "mask": np.array([[1, 1, 0]] * 6, "float32"),
    }

    def f(x):
        total = ops.sum(x["r"] ** 2 * x["mask"][..., None], axis=1)
        return {"b": x["r"] ** 3, "a": total}

    kinds = {"a": PerSample("vector"), "b": "vector"}
    symmetry = Symmetry(groups.SO3(), {"r": "vector"}, kinds)
    masked = lie_derivative(f, x, symmetry)
    short = {"r": x["r"][:, :2], "mask": x["mask"][:, :2]}
    plain = lie_derivative(f, short, symmetry)
    assert masked == pytest.approx(plain, rel=1e-5)
    assert masked["total"] > 0.1


def test_derivatives_that_are_no_numbers(rng):
    x = rng.normal(size=(4, 3)).astype("float32")
    symmetry = Symmetry(groups.SO3(), "vector", "vector")
    with pytest.raises(ValueError, match="derivative 'rotation_x' of f` holds"):
        lie_derivative(lambda x: ops.sqrt(0 * x), x, symmetry)
    with pytest.raises(ValueError, match=r"`f\(x\)` holds NaN"):
        lie_derivative(lambda x: ops.log(-ops.abs(x)), x, symmetry)
    with pytest.raises(ValueError, match="same number of samples"):
        lie_derivative(lambda x: x, x[:0], symmetry)


# The profile.


class Norms(keras.layers.Layer):
    def call(self, x):
        return ops.sum(ops.square(x), axis=-1, keepdims=True)


class Doubled(keras.layers.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.inner = keras.layers.Rescaling(2.0, name="inner")

    def call(self, x):
        return self.inner(x)


def test_profile_by_hand(rng):
    inputs = keras.Input((4, 3))
    norms = Norms(name="norms")(inputs)
    doubled = Doubled(name="doubled")(inputs)
    model = keras.Model(inputs, norms * doubled)
    x = rng.normal(size=(60, 4, 3)).astype("float32")
    symmetry = Symmetry(groups.SO3(), "vector", "vector")
    profile = equivariance_profile(model, x, symmetry, num_samples=30)
    assert profile["norms"] < 1e-6
    # One R turns all vectors of a sample: the change is (Rx - x), and the
    # mean of |Rx - x|^2 / |x|^2 is 2; that of the norm is a little less.
    assert 1.2 < profile["doubled"] < 2**0.5
    inner = [v for k, v in profile.items() if k.endswith("inner")]
    assert inner == [profile["doubled"]]
    assert "call" not in vars(model.get_layer("norms"))  # as it was before


def test_profile_of_subclassed_models_and_masks(bodies):
    x, _ = bodies
    model = transformer(x)
    symmetry = Symmetry(groups.SO3(), INPUTS, "point")
    profile = equivariance_profile(model, x, symmetry)
    assert {"embedding", "block_0", "norm", "head"} <= {
        path.split("/")[-1] for path in profile
    }
    assert all(0.01 < value < 2 for value in profile.values())
    still = Symmetry(groups.Translations(), INPUTS, "point")
    profile_of_shifts = equivariance_profile(model, x, still)
    assert max(profile_of_shifts.values()) < 1e-4  # positions are centered
    padded = {
        key: np.concatenate([value, 9 + value[:, :2]], axis=1)
        for key, value in x.items()
    }
    padded["mask"] = np.array([[1.0] * 5 + [0.0] * 2] * 12, "float32")
    masked = equivariance_profile(
        RemulModel(model, symmetry), padded, symmetry, batch_size=100
    )
    name = next(path for path in profile if path.endswith("embedding"))
    assert masked[name] == pytest.approx(profile[name], rel=1e-4)


def test_profile_counts_the_calls_of_a_shared_layer(rng):
    layer = keras.layers.Rescaling(3.0, name="shared")
    inputs = keras.Input((3,))
    model = keras.Model(inputs, layer(layer(inputs)))
    x = rng.normal(size=(10, 3)).astype("float32")
    symmetry = Symmetry(groups.SO3(), "vector", "vector")
    parts = equivariance_profile(
        model, x, symmetry, batch_size=4, num_samples=2
    )
    assert list(parts) == ["shared", "shared#2"]
    assert parts["shared"] == pytest.approx(parts["shared#2"], rel=1e-5)


@pytest.mark.parametrize("group", [groups.SO3(), groups.Permutations(4)])
def test_the_profile_does_not_depend_on_the_batch_size(rng, group):
    kind = "vector" if group.dimension else "scalar"
    inputs = keras.Input((4, 3))
    model = keras.Model(
        inputs, keras.layers.Rescaling(2.0, 1.0, name="layer")(inputs)
    )
    x = rng.normal(size=(6, 4, 3)).astype("float32")
    symmetry = Symmetry(group, kind, kind)
    results = [
        equivariance_profile(model, x, symmetry, batch_size=size)["layer"]
        for size in (1, 4, 256)
    ]
    assert results == pytest.approx([results[-1]] * 3, rel=1e-5)
    assert results[0] > 0.1


def test_errors_of_the_profile(rng):
    symmetry = Symmetry(groups.SO3(), "vector", "vector")
    x = rng.normal(size=(4, 3)).astype("float32")
    with pytest.raises(ValueError, match="`model` must be a keras.Model"):
        equivariance_profile(lambda x: x, x, symmetry)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3)])
    with pytest.raises(ValueError, match="`num_samples` must be at least 1"):
        equivariance_profile(model, x, symmetry, num_samples=0)
