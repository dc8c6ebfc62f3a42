"""What each registered group must do, in every dtype."""

import contextlib
import copy
import functools
import inspect

import keras
import numpy as np
import pytest
from compiled import once
from keras import ops

from keras_remul import groups

# Every argument at a value that is not its default.
EXAMPLES = [
    groups.SO2(axis=[1.0, -2.0, 0.5], min_angle=10.0, max_angle=170.0),
    groups.O2(axis="y"),
    groups.SO3(min_angle=10.0, max_angle=170.0),
    groups.O3(),
    groups.Translations(dimension=2, translation_std=2.0),
    groups.SE2(translation_std=2.0),
    groups.E2(translation_std=2.0),
    groups.SE3(translation_std=2.0),
    groups.E3(translation_std=2.0),
    groups.Lorentz(max_rapidity=0.5),
    groups.Boosts(axis="x", max_rapidity=0.5),
    groups.Scalings(max_factor=3.0, dimension=2),
    groups.Cyclic(4),
    groups.Dihedral(4),
    groups.Negation(),
    groups.Permutations(5),
    groups.CircularShifts(sizes=(3, 4)),
    groups.Wallpaper(2, order=2, reflections=False),
    groups.Product(
        {
            "space": groups.Product(
                {"turn": groups.O3(), "unit": groups.Scalings(1.5)}
            ),
            "nodes": groups.Permutations(4),
        }
    ),
]
every = pytest.mark.parametrize(
    "group", EXAMPLES, ids=lambda group: type(group).__name__
)
EPSILON = {
    "bfloat16": 2.0**-8,
    "float16": 2.0**-11,
    "float64": 2.0**-53,
}


def registered(base):
    """The classes of the package that Keras can load, below `base`."""
    found, queue = set(), [base]
    while queue:
        for cls in queue.pop().__subclasses__():
            queue.append(cls)
            name = keras.saving.get_registered_name(cls)
            if name.startswith("keras_remul>"):
                found.add(cls)
    return found


@contextlib.contextmanager
def allowed(dtype):
    with contextlib.ExitStack() as stack:
        if keras.backend.backend() == "jax" and dtype == "float64":
            import jax

            stack.enter_context(jax.enable_x64(True))
        yield


def numpy(g):
    """Elements as NumPy arrays, those of narrow dtypes as float32."""

    def convert(a):
        narrow = dtype_of(a) in ("bfloat16", "float16")
        array = ops.convert_to_numpy(a)
        return array.astype("float32") if narrow else array

    return keras.tree.map_structure(convert, g)


def dtype_of(a):
    return keras.backend.standardize_dtype(a.dtype)


def dtypes(g):
    return {dtype_of(a) for a in keras.tree.flatten(g)}


def close(a, b, atol, name=""):
    keras.tree.map_structure(
        lambda a, b: np.testing.assert_allclose(a, b, atol=atol, err_msg=name),
        numpy(a),
        numpy(b),
    )


def test_every_registered_group_has_an_example():
    assert {type(group) for group in EXAMPLES} == registered(groups.Group)
    for group in EXAMPLES:
        parameters = inspect.signature(type(group)).parameters
        config = group.get_config()
        assert set(parameters) == set(config)
        for name, parameter in parameters.items():
            assert config[name] != parameter.default, (group, name)


@every
def test_copies_are_equal(group):
    config = keras.saving.serialize_keras_object(group)
    for again in (
        keras.saving.deserialize_keras_object(config),
        copy.deepcopy(group),
    ):
        assert again == group and hash(again) == hash(group)
        assert repr(again) == repr(group)
        assert again.get_config() == group.get_config()
    for other in EXAMPLES:
        assert (other == group) == (other is group)
    for value in group.get_config().values():
        if not isinstance(value, dict):  # of factors, which have their own
            assert str(value) in repr(group)


@every
@pytest.mark.parametrize("dtype", list(EPSILON))  # float32: test_groups.py
def test_axioms_to_the_precision_of_each_dtype(group, dtype):
    with allowed(dtype):
        a, b = (group.sample(16, seed=i, dtype=dtype) for i in range(2))
        # int32 where elements are indices or shifts.
        expected = dtypes(a)
        assert expected <= {dtype, "int32"}
        largest = max(
            np.abs(leaf).max() for leaf in keras.tree.flatten(numpy(a))
        )
        atol = 16 * EPSILON[dtype] * max(1, largest) ** 2
        found = once(functools.partial(laws, group, dtype))(a, b)
        for name, elements in found["elements"].items():
            assert dtypes(elements) == expected, name
        for name, (x, y) in found["exact"].items():
            close(x, y, 0.0, name)
        for name, (x, y) in found["close"].items():
            close(x, y, atol, name)
        if group.dimension:
            assert dtype_of(found["linear"]) == dtype
            determinant = np.linalg.det(numpy(found["linear"]))
            if found["parity"] is None:
                assert (determinant > 0).all()
            else:
                assert dtype_of(found["parity"]) == dtype
                np.testing.assert_array_equal(
                    numpy(found["parity"]), np.sign(determinant)
                )
            for part in (found["translation"], found["scale"]):
                assert part is None or dtype_of(part) == dtype
        # The draw of a narrow dtype is that of float32, rounded.
        if dtype in ("bfloat16", "float16"):
            wide = numpy(group.sample(16, seed=0, dtype="float32"))
            rounded = keras.tree.map_structure(
                lambda wide, a: ops.cast(wide, a.dtype), wide, a
            )
            close(a, rounded, 0.0)


def laws(group, dtype, a, b):
    """Elements, sides that are equal, and how a acts on vectors."""
    e = group.identity(16, dtype=dtype)
    inverse, ab = group.inverse(a), group.compose(a, b)
    found = {
        "elements": {"identity": e, "inverse": inverse, "product": ab},
        "exact": {"left identity": (group.compose(e, a), a)},
        "close": {
            "right inverse": (group.compose(a, inverse), e),
            "inverse of a product": (
                group.compose(group.inverse(b), inverse),
                group.inverse(ab),
            ),
        },
    }
    if group.num_elements:
        found["elements"]["listed"] = group.elements(dtype=dtype)
    if group.dimension:
        for method in ("linear", "parity", "translation", "scale"):
            found[method] = getattr(group, method)(a)
    return found


@pytest.mark.parametrize(
    "group", [g for g in EXAMPLES if g.num_elements], ids=repr
)
def test_narrow_draws_reach_no_index_out_of_range(group):
    # bfloat16 rounds all that is above 0.998 to 1.
    z = ops.full((2, group.num_normals), 5.0, dtype="bfloat16")
    drawn, listed = (
        np.concatenate(
            [a.reshape(len(a), -1) for a in keras.tree.flatten(numpy(g))], -1
        )
        for g in (group.from_normal(z), group.elements("bfloat16"))
    )
    assert (drawn[0] == listed).all(axis=1).any()


@every
@pytest.mark.parametrize("n", [0, 1])
def test_no_element_and_one(group, n):
    a = group.sample(n, seed=0)

    @once
    def law(a):
        inverse = group.inverse(a)
        return group.identity(n), inverse, group.compose(a, inverse)

    e, inverse, product = law(a)
    for g in (a, e, inverse, product):
        for leaf, of_e in zip(
            keras.tree.flatten(g), keras.tree.flatten(e), strict=True
        ):
            assert tuple(leaf.shape) == tuple(of_e.shape)
            assert leaf.shape[0] == n
    close(product, e, 1e-5)


def as_lists(g):
    if isinstance(g, dict):
        return {name: as_lists(part) for name, part in g.items()}
    return np.asarray(g).tolist()


@every
def test_elements_of_numpy_and_lists(group):
    a, b = (group.sample(16, seed=i) for i in range(2))
    x = np.arange(16 * 12, dtype="float32")
    for convert in (numpy, lambda g: as_lists(numpy(g))):
        p, q = convert(a), convert(b)
        close(group.compose(p, q), group.compose(a, b), 0.0)
        close(group.inverse(p), group.inverse(a), 0.0)
        if group.dimension:
            for method in ("linear", "translation", "parity", "scale"):
                expected = getattr(group, method)(a)
                if expected is not None:
                    close(getattr(group, method)(p), expected, 0.0)
        if group.num_nodes:
            nodes = x[: 16 * group.num_nodes].reshape(16, -1)
            close(group.permute(p, nodes), group.permute(a, nodes), 0.0)
        if group.grid_axes:
            sizes = getattr(group, "sizes", (2, 2))
            cells = x[: 16 * np.prod(sizes)].reshape(16, *sizes, 1)
            close(group.move_grid(p, cells), group.move_grid(a, cells), 0.0)


@every
def test_elements_of_integers(group):
    # Signs, quarter turns and shifts by whole units are often written so.
    e = group.identity(16)
    whole = keras.tree.map_structure(lambda a: a.astype("int64"), numpy(e))
    for g in (group.compose(whole, whole), group.inverse(whole)):
        assert dtypes(g) == dtypes(e)
        close(g, e, 0.0)
    assert dtypes(group.compose(whole, e)) == dtypes(e)


@every
def test_dtypes_that_are_not_floating(group):
    with pytest.raises(ValueError, match="`dtype` must be a floating.*int32"):
        group.sample(2, dtype="int32")


def test_elements_that_are_no_integers():
    for group in (groups.Permutations(3), groups.CircularShifts((3,))):
        with pytest.raises(ValueError, match="are integers.*float32"):
            group.inverse(np.zeros((1, 3), "float32"))


def test_generators_of_products():
    inner = groups.Product({"turn": groups.SO3(), "unit": groups.Scalings()})
    group = groups.Product(
        {"space": inner, "nodes": groups.Permutations(3), "b": groups.SE2()}
    )
    generators = group.generators()
    assert list(generators) == [
        *(f"space_turn_rotation_{axis}" for axis in "xyz"),
        "space_unit_scaling",
        "b_rotation",
        "b_translation_x",
        "b_translation_y",
    ]
    nested = generators["space_unit_scaling"]
    assert nested["nodes"] is None and nested["b"] is None
    assert nested["space"]["turn"] is None
    np.testing.assert_array_equal(nested["space"]["unit"], np.eye(3))
    # identity + t A, leaf by leaf, is an element up to t^2.
    identity = group.identity(2)
    for name, generator in generators.items():
        near = keras.tree.map_structure(
            lambda e, a: e if a is None else e + ops.cast(1e-3 * a, e.dtype),
            identity,
            generator,
        )
        moved = [
            np.abs(numpy(a) - numpy(e)).max() > 0
            for a, e in zip(
                keras.tree.flatten(near),
                keras.tree.flatten(identity),
                strict=True,
            )
        ]
        assert sum(moved) == 1, name
        close(group.compose(near, group.inverse(near)), identity, 1e-5)


class Stretched(groups.Group):
    """A group of a user: no configuration, and a state that may change."""

    dimension, num_normals = 2, 1

    def __init__(self, factor):
        self.factor = factor

    def from_normal(self, z):
        return self.factor * ops.ones_like(z)[:, :, None] * ops.eye(2)

    def linear(self, g):
        return g


def test_elements_follow_the_state_of_the_group():
    """Also where groups are equal by what they say of themselves."""
    first, other = Stretched(2.0), Stretched(3.0)
    assert first == other
    found = [first.sample(1, seed=0), other.sample(1, seed=0)]
    other.factor = 4.0
    found.append(other.sample(1, seed=0))
    assert [float(ops.convert_to_numpy(g)[0, 0, 0]) for g in found] == [2, 3, 4]
