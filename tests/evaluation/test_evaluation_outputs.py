"""Measures of outputs of all kinds: dtypes, structures, shapes, padding."""

import collections
import itertools

import keras
import numpy as np
import pytest
from keras import ops

from keras_remul import Symmetry, evaluate_equivariance, groups
from keras_remul.presets.evaluate import mean_squared_error
from keras_remul.representations import PerSample
from keras_remul.utils.leaves import NotFiniteError

SO3 = groups.SO3()


def fn(transform):
    """A function of NumPy arrays from one of arrays."""
    return lambda x: transform(
        keras.tree.map_structure(ops.convert_to_numpy, x)
    )


@pytest.fixture
def nodes(rng):
    return rng.normal(size=(6, 3, 3)).astype("float32")


def height(x):
    return x[..., 2:]  # along z: not invariant


# Shapes of labels.


@pytest.mark.parametrize("shape", [(6, 1), (6, 3, 1), (6,)])
@pytest.mark.parametrize("group", [SO3, groups.O3(), groups.SO2(axis="z")])
def test_labels_with_and_without_the_last_axis(rng, shape, group):
    x = rng.normal(size=(*shape[:2], 3)).astype("float32")
    f = fn(lambda x: height(x).reshape(shape) + 1)
    symmetry = Symmetry(group, "vector", "scalar")
    y = height(x).reshape(shape)
    other = y.reshape(shape[:-1]) if len(shape) > 1 else y[:, None]
    options = {"num_samples": 3, "seed": 1}
    expected = evaluate_equivariance(f, x, symmetry, y, **options)
    assert evaluate_equivariance(f, x, symmetry, other, **options) == expected
    assert expected["mse"] == pytest.approx(
        np.mean(
            [
                (f(ops.convert_to_numpy(symmetry.transform_inputs(g, x))) - y)
                ** 2
                for g in elements(group, 6, **options)
            ]
        ),
        rel=1e-5,
    )
    by = [
        evaluate_equivariance(f, x, symmetry, origin=r, **options)
        for r in (y, other)
    ]
    assert by[0] == by[1]
    scale = np.sqrt(((f(x) - y) ** 2).reshape(6, -1).sum(axis=1)).mean()
    assert by[0]["relative_equivariance_error"] == pytest.approx(
        by[0]["equivariance_error"] / scale
    )


def elements(group, n, num_samples, seed):
    for s in np.random.default_rng(seed).integers(2**31, size=num_samples):
        yield group.sample(n, seed=int(s))


def wrong_shapes(shape):
    """All that NumPy would broadcast against `shape`, and some others."""
    yield from itertools.product(*({1, n} for n in shape))
    yield from (shape[1:], (1, *shape), (*shape, 2), (), (shape[0] + 1,))


@pytest.mark.parametrize("argument", ["y", "origin"])
@pytest.mark.parametrize("outputs", ["vector", "scalar"])
def test_nothing_is_broadcast(nodes, argument, outputs):
    symmetry = Symmetry(SO3, "vector", outputs)
    f = fn(lambda x: x if outputs == "vector" else x[..., 1:])
    shape = f(nodes).shape
    for wrong in set(wrong_shapes(shape)) - {shape}:
        data = {argument: np.zeros(wrong, "float32")}
        with pytest.raises(ValueError, match=f"`{argument}` must have the sh"):
            evaluate_equivariance(f, nodes, symmetry, num_samples=2, **data)
    with pytest.raises(ValueError, match="Expected `y` to be one array"):
        evaluate_equivariance(f, nodes, symmetry, {"a": nodes}, num_samples=2)


def test_labels_of_a_preset_are_not_broadcast(rng):
    x = rng.normal(size=(6, 3)).astype("float32")
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    y = rng.normal(size=(6, 1))
    expected = np.mean((model.predict(x, verbose=0) - y) ** 2)
    for labels in (y, y[:, 0]):
        assert mean_squared_error(model, x, labels) == pytest.approx(expected)
    with pytest.raises(ValueError, match="`y` must have the shape"):
        mean_squared_error(model, x, np.zeros((6, 6)))


def test_class_labels(rng):
    x = rng.normal(size=(6, 3)).astype("float32")
    logits = fn(lambda x: x @ np.ones((3, 4)))
    symmetry = Symmetry(SO3, "vector", "scalar")
    for labels in (np.arange(6) % 4, np.arange(6)[:, None] % 4):
        with pytest.raises(ValueError, match="class labels have no meaning"):
            evaluate_equivariance(logits, x, symmetry, labels)
    figures = evaluate_equivariance(
        logits, x, symmetry, np.eye(4, dtype="int32")[np.arange(6) % 4]
    )
    assert figures["mse"] > 0
    # None leaves the figures of one output out.
    both = Symmetry(SO3, "vector", {"class": "scalar", "force": "vector"})
    figures = evaluate_equivariance(
        lambda x: {"class": logits(x), "force": ops.convert_to_numpy(x)},
        x,
        both,
        {"class": None, "force": x + 1},
        num_samples=3,
    )
    assert "mse" not in figures and "mse" not in figures["outputs"]["class"]
    assert figures["outputs"]["force"]["mse"] == pytest.approx(1.0, rel=1e-5)


@pytest.mark.parametrize("dtype", ["int32", "int64", "uint8", "bool"])
def test_integer_labels_and_outputs(rng, dtype):
    x = rng.normal(size=(6, 3)).astype("float32")
    symmetry = Symmetry(SO3, "vector", "scalar")
    y = np.array([0, 1, 1, 0, 1, 0])
    arguments = {"num_samples": 3, "per_sample": True}
    f = fn(lambda x: (x[:, :1] > 0).astype(dtype))
    of_float = fn(lambda x: (x[:, :1] > 0).astype("float32"))
    a = evaluate_equivariance(f, x, symmetry, y.astype(dtype), **arguments)
    b = evaluate_equivariance(of_float, x, symmetry, y[:, None], **arguments)
    for name, values in b.items():
        np.testing.assert_array_equal(a[name], values)


# Several outputs.

KINDS = {"energy": "scalar", "forces": "vector", "charges": "scalar"}
STRUCTURES = {
    "dict": KINDS,
    "list": list(KINDS.values()),
    "tuple": tuple(KINDS.values()),
    "nested": {"all": [KINDS["energy"], {"forces": "vector"}], "q": "scalar"},
}


def several(x):
    """A large energy, and forces that break all rotations but about z."""
    energy = 1e4 + np.square(x).sum(axis=(1, 2))[:, None]
    return energy, x + np.array([0.0, 0.0, 1.0], "float32"), x[..., :1] ** 2


def arranged(kind, values):
    energy, forces, charges = values
    return {
        "dict": lambda: {
            "forces": forces,
            "charges": charges,
            "energy": energy,
        },
        "list": lambda: [energy, forces, charges],
        "tuple": lambda: (energy, forces, charges),
        "nested": lambda: {"q": charges, "all": [energy, {"forces": forces}]},
    }[kind]()


@pytest.mark.parametrize("kind", STRUCTURES)
@pytest.mark.parametrize("masked", [False, True])
def test_each_output_has_its_figures(nodes, kind, masked):
    """Those that it has alone, whatever the structure and its order."""
    reps = ["scalar", "vector", "scalar"]
    mask = np.array([[1, 1, 0]] * 3 + [[1, 1, 1]] * 3)
    x = {"r": nodes, "mask": mask} if masked else {"r": nodes}
    y = several(nodes + 0.1)
    options = {"num_samples": 3, "per_sample": True}
    f = fn(lambda x: arranged(kind, several(x["r"])))
    symmetry = Symmetry(SO3, {"r": "vector"}, STRUCTURES[kind])
    whole = evaluate_equivariance(f, x, symmetry, arranged(kind, y), **options)
    nested = whole["outputs"]
    parts = {
        "dict": lambda: [nested[k] for k in ("energy", "forces", "charges")],
        "list": lambda: nested,
        "tuple": lambda: nested,
        "nested": lambda: [
            nested["all"][0],
            nested["all"][1]["forces"],
            nested["q"],
        ],
    }[kind]()
    squares = 0.0
    for i, (rep, part) in enumerate(zip(reps, parts, strict=True)):
        alone = evaluate_equivariance(
            fn(lambda x, i=i: several(x["r"])[i]),
            x,
            Symmetry(SO3, {"r": "vector"}, rep),
            y[i],
            **options,
        )
        assert "outputs" not in alone
        for name, value in alone.items():
            np.testing.assert_allclose(part[name], value, rtol=1e-6)
        squares = squares + alone["average_equivariance_error"] ** 2
    # Together: one vector, but for the relative error.
    np.testing.assert_allclose(
        whole["average_equivariance_error"] ** 2, squares, rtol=1e-5
    )
    worst = max(
        parts, key=lambda part: part["relative_equivariance_error"].mean()
    )
    np.testing.assert_array_equal(
        whole["relative_equivariance_error"],
        worst["relative_equivariance_error"],
    )
    assert (
        whole["relative_equivariance_error"].mean() > 0.1
    )  # the energy hides nothing


def test_ordered_dicts_and_lists_for_tuples(nodes):
    symmetry = Symmetry(SO3, "vector", {"b": "vector", "a": "scalar"})
    plain = fn(lambda x: {"a": x[..., :1], "b": x})
    expected = evaluate_equivariance(plain, nodes, symmetry, num_samples=2)
    ordered = fn(lambda x: collections.OrderedDict(b=x, a=x[..., :1]))
    assert evaluate_equivariance(ordered, nodes, symmetry, num_samples=2) == (
        expected
    )
    listed = Symmetry(SO3, "point", ("point", "scalar"))
    found = evaluate_equivariance(
        fn(lambda x: [x, x[..., :1]]), nodes, listed, num_samples=2
    )
    assert found["outputs"][1] == expected["outputs"]["a"]


def test_keras_models_with_several_outputs(rng):
    x = rng.normal(size=(6, 3)).astype("float32")
    inputs = keras.Input((3,))
    a, b = keras.layers.Dense(3)(inputs), keras.layers.Dense(1)(inputs)
    for outputs in ([a, b], {"b": b, "a": a}):
        model = keras.Model(inputs, outputs)
        kinds = (
            ["vector", "scalar"]
            if isinstance(outputs, list)
            else {"a": "vector", "b": "scalar"}
        )
        symmetry = Symmetry(SO3, "vector", kinds)
        y = model.predict(x, verbose=0)
        figures = evaluate_equivariance(model, x, symmetry, y, num_samples=2)
        assert len(figures["outputs"]) == 2


# Dtypes.


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_float_dtypes_of_outputs(nodes, dtype):
    """Exact functions that return few digits have their rounding as error."""
    symmetry = Symmetry(SO3, "vector", "vector")
    rounding = {"float16": 1e-3, "bfloat16": 1e-2, "float64": 1e-6}[dtype]

    def cast(x):
        return ops.cast(x, dtype) if dtype == "bfloat16" else x.astype(dtype)

    exact = evaluate_equivariance(
        fn(cast), nodes, symmetry, nodes, num_samples=3
    )
    assert exact["relative_equivariance_error"] < rounding
    large = evaluate_equivariance(  # squares overflow float16
        fn(lambda x: cast(x + 1000)),
        nodes,
        symmetry,
        nodes + 1000,
        num_samples=3,
    )
    assert all(np.isfinite(v) for v in large.values())
    assert large["relative_equivariance_error"] > 0.1


def test_tensors_of_pytorch_on_each_backend(nodes):
    torch = pytest.importorskip("torch")
    symmetry = Symmetry(SO3, "vector", "vector")
    weight = torch.nn.Parameter(torch.tensor(2.0))

    def f(x):
        return torch.tensor(ops.convert_to_numpy(x)) * weight

    figures = evaluate_equivariance(f, nodes, symmetry, num_samples=2)
    assert figures["relative_equivariance_error"] < 1e-6


# Padding.


@pytest.mark.parametrize("junk", [np.nan, np.inf, 1e6])
@pytest.mark.parametrize("outputs", ["vector", "scalar", "point"])
def test_what_is_in_padding_changes_nothing(nodes, junk, outputs):
    mask = np.array([[True, True, True]] * 2 + [[True, True, False]] * 4)

    def f(x, fill):
        out = x["r"] ** 2 if outputs != "scalar" else x["r"][..., :2]
        return np.where(np.asarray(x["mask"])[..., None] != 0, out, fill)

    x = {"r": nodes, "mask": mask}
    symmetry = Symmetry(SO3, {"r": "vector"}, outputs)
    options = {"num_samples": 3}
    results = [
        evaluate_equivariance(
            fn(lambda x, fill=fill: f(x, fill)),
            x,
            symmetry,
            f(x, fill) + 1,
            origin=f(x, fill) + 2,
            **options,
        )
        for fill in (0.0, junk)
    ]
    assert results[0] == pytest.approx(results[1], rel=1e-6)
    default = [
        evaluate_equivariance(
            fn(lambda x, fill=fill: f(x, fill)), x, symmetry, **options
        )
        for fill in (0.0, junk)
    ]
    assert default[0] == pytest.approx(default[1], rel=1e-6)


@pytest.mark.parametrize("size", [3, 4])
def test_a_mask_covers_what_is_declared_per_node(rng, size):
    """A mask of 3 nodes, and an output (B, 3) that is not of nodes."""
    x = {
        "r": rng.normal(size=(6, size, 3)).astype("float32"),
        "mask": np.array([[1] * (size - 1) + [0]] * 6, "float32"),
    }
    total = fn(lambda x: (x["r"] ** 2 * x["mask"][..., None]).sum(axis=1))
    symmetry = Symmetry(SO3, {"r": "vector"}, PerSample("vector"))
    masked = evaluate_equivariance(total, x, symmetry, num_samples=3)
    short = {"r": x["r"][:, :-1], "mask": x["mask"][:, :-1]}
    plain = evaluate_equivariance(total, short, symmetry, num_samples=3)
    assert masked == pytest.approx(plain, rel=1e-5)


def test_samples_that_are_all_padding(nodes):
    x = {"r": nodes, "mask": np.ones((6, 3))}
    x["mask"][2] = 0
    symmetry = Symmetry(SO3, {"r": "vector"}, "vector")
    f = fn(lambda x: x["r"] ** 2)
    values = evaluate_equivariance(f, x, symmetry, nodes, per_sample=True)
    assert values["mse"][2] == values["orbit_variance"][2] == 0.0
    figures = evaluate_equivariance(f, x, symmetry, nodes)
    rest = [0, 1, 3, 4, 5]
    assert figures["mse"] == pytest.approx(values["mse"][rest].mean())
    with pytest.raises(ValueError, match="leaves no node"):
        evaluate_equivariance(f, {**x, "mask": 0 * x["mask"]}, symmetry)


# Numbers that are none.


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_not_finite(nodes, bad):
    symmetry = Symmetry(SO3, "vector", {"a": "vector", "b": "scalar"})

    def f(x, where=3):
        b = x[..., :1] + 0
        b[where:, 0] = bad
        return {"a": x, "b": b}

    with pytest.raises(NotFiniteError, match=r"`f\(x\)\['b'\]` .* 3 of 6 .* 3"):
        evaluate_equivariance(fn(f), nodes, symmetry)
    good = fn(lambda x: f(x, 6))
    with pytest.raises(NotFiniteError, match=r"`y\['b'\]` holds NaN"):
        evaluate_equivariance(good, nodes, symmetry, f(nodes))
    with pytest.raises(NotFiniteError, match="`origin"):
        evaluate_equivariance(good, nodes, symmetry, origin=f(nodes))

    def of_moved(x):
        return f(x, 6 if np.allclose(x, nodes) else 0)

    with pytest.raises(NotFiniteError, match=r"`f\(phi\(g\) x\)\['b'\]`"):
        evaluate_equivariance(fn(of_moved), nodes, symmetry)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (dict(y="complex"), "`y` must hold real numbers.*complex64"),
        (dict(y="text"), "`y` must hold real numbers.*U"),
        (dict(y="large"), "`y` holds NaN, infinite or too large"),
        (dict(origin="complex"), "`origin` must hold real numbers"),
        (dict(num_samples=1), "`num_samples` must be an integer, at least 2"),
        (
            dict(num_samples=2.5),
            "`num_samples` must be an integer.*num_samples=2.5",
        ),
        (dict(num_samples=True), "`num_samples` must be an integer"),
        (dict(seed=-1), "`seed` must be an integer, at least 0"),
        (dict(seed=1.5), "`seed` must be an integer"),
        (dict(batch_size=0), "`batch_size` must be an integer, at least 1"),
        (dict(batch_size="a"), "`batch_size` must be an integer"),
    ],
)
def test_arguments_that_make_no_sense(nodes, arguments, message):
    made = {
        "complex": nodes + np.complex64(1j),
        "text": nodes.astype(str),
        "large": np.full(nodes.shape, 1e200),
    }
    for key in ("y", "origin"):
        if key in arguments:
            arguments = {**arguments, key: made[arguments[key]]}
    symmetry = Symmetry(SO3, "vector", "vector")
    with pytest.raises(ValueError, match=message):
        evaluate_equivariance(lambda x: x, nodes, symmetry, **arguments)


def test_complex_outputs(nodes):
    symmetry = Symmetry(SO3, "vector", "vector")
    with pytest.raises(ValueError, match=r"`f\(x\)` must hold real numbers"):
        evaluate_equivariance(fn(lambda x: x + 1j * x**3), nodes, symmetry)


def test_zero_over_zero_is_not_a_number(nodes):
    symmetry = Symmetry(SO3, "vector", "vector")
    f = fn(lambda x: 0 * x)
    figures = evaluate_equivariance(
        f, nodes, symmetry, 0 * nodes, num_samples=2
    )
    assert figures["equivariance_error"] == 0 and figures["mse"] == 0
    assert np.isnan(figures["relative_equivariance_error"])
    assert np.isnan(figures["orbit_variance_share"])


def test_counts_of_samples(nodes):
    symmetry = Symmetry(SO3, {"a": "vector", "b": "vector"}, "vector")
    f = fn(lambda x: x["a"])
    with pytest.raises(ValueError, match="same number of samples"):
        evaluate_equivariance(f, {"a": nodes, "b": nodes[:5]}, symmetry)
    with pytest.raises(ValueError, match="same number of samples"):
        evaluate_equivariance(f, {"a": nodes[:0], "b": nodes[:0]}, symmetry)
    with pytest.raises(ValueError, match="`x` holds 6 samples"):
        mean = fn(lambda x: x["a"].mean(axis=0, keepdims=True))
        evaluate_equivariance(mean, {"a": nodes, "b": nodes}, symmetry)


# Batches and finite groups.


@pytest.mark.parametrize("group", [SO3, groups.SE3(), groups.Permutations(3)])
def test_figures_do_not_depend_on_the_batch_size(nodes, group):
    kind = "scalar" if group.dimension is None else "point"
    symmetry = Symmetry(group, kind, kind)
    model = keras.Sequential(
        [keras.Input((3, 3)), keras.layers.Dense(3, activation="tanh")]
    )
    seen = []

    def function(x):
        seen.append(len(x))
        return ops.flip(ops.tanh(x), axis=1)

    for f in (model, function):
        results = [
            evaluate_equivariance(
                f, nodes, symmetry, nodes, num_samples=4, batch_size=size
            )
            for size in (1, 4, 256)
        ]
        assert results[0] == pytest.approx(results[2], rel=1e-4, abs=1e-6)
        assert results[1] == pytest.approx(results[2], rel=1e-4, abs=1e-6)
    assert set(seen) == {1, 2, 4, 6}


FINITE = [
    groups.Cyclic(4),
    groups.Dihedral(3),
    groups.Permutations(3),
    groups.CircularShifts([3]),
    groups.Product({"nodes": groups.Permutations(3), "c": groups.Cyclic(2)}),
    groups.Product(
        {
            "a": groups.Product({"p": groups.Permutations(3)}),
            "b": groups.Cyclic(2),
        }
    ),
]


@pytest.mark.parametrize("group", FINITE, ids=repr)
def test_finite_groups_are_averaged_exactly(rng, group):
    """The seed plays no part, and symmetrising leaves no variance."""
    kind = "scalar" if group.dimension is None else "vector"
    if group.grid_axes and group.dimension is None:
        kind = "image"
    x = rng.normal(size=(5, 3, 2)).astype("float32")
    symmetry = Symmetry(group, kind, kind)
    bias = rng.normal(size=(3, 2))
    f = fn(lambda x: np.sin(x) + bias)
    a, b = (
        evaluate_equivariance(f, x, symmetry, x, num_samples=12, seed=s)
        for s in (0, 1)
    )
    assert a == b
    assert a["orbit_variance"] > 0.01
    average = sum(
        ops.convert_to_numpy(
            symmetry.transform_outputs(
                group.inverse(g), f(symmetry.transform_inputs(g, x))
            )
        )
        for g in each(group, 5)
    )
    average = average / group.num_elements
    assert a["symmetrized_mse"] == pytest.approx(
        np.mean((average - x) ** 2), rel=1e-4
    )


def each(group, n):
    elements = group.elements()
    for i in range(group.num_elements):
        yield keras.tree.map_structure(
            lambda a, i=i: ops.stack([a[i]] * n), elements
        )
