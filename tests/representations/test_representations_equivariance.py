"""Functions that are equivariant by hand, for each group and representation.

They are evaluated in NumPy float64, so that what is measured is how exactly
the library moves inputs and outputs.
"""

import contextlib

import keras
import numpy as np
import pytest
from keras import ops
from scipy import special

from keras_remul import Symmetry, groups
from keras_remul.representations import (
    DirectSum,
    FourVector,
    Homogeneous,
    Irrep,
    Point,
    Pseudoscalar,
    Pseudovector,
    Scalar,
    SymmetricMatrix,
    Tensor,
    Vector,
)

MINKOWSKI = np.diag([1.0, -1.0, -1.0, -1.0])
NODES = 5


def harmonics(degree, v):
    """|v|^l times the real spherical harmonics of SciPy, polar axis y."""
    x, y, z = np.moveaxis(np.asarray(v, "float64"), -1, 0)
    r = np.sqrt(x**2 + y**2 + z**2)
    theta, phi = np.arccos(np.clip(y / r, -1, 1)), np.arctan2(x, z)
    rows = []
    for m in range(-degree, degree + 1):
        wave = special.sph_harm_y(degree, abs(m), theta, phi)
        sign = (-1) ** m * (np.sqrt(2) if m else 1)  # Condon-Shortley phase
        rows.append(sign * (wave.imag if m < 0 else wave.real))
    return r[..., None] ** degree * np.stack(rows, axis=-1)


def others(v):
    """Differences of the nodes from their neighbors: no origin."""
    return v - np.roll(v, 1, axis=1), v - np.roll(v, 2, axis=1)


def outer(*vectors):
    """The tensor product on the last axes."""
    product = vectors[0]
    for v in vectors[1:]:
        rank = product.ndim - 2
        product = product[..., None] * v.reshape(
            v.shape[:2] + (1,) * rank + (-1,)
        )
    return product


def packed(matrix):
    d = matrix.shape[-1]
    pairs = [(i, i) for i in range(d)]
    pairs += {2: [(0, 1)], 3: [(1, 2), (0, 2), (0, 1)]}.get(
        d, [(2, 3), (1, 3), (1, 2), (0, 3), (0, 2), (0, 1)]
    )
    return np.stack([matrix[..., i, j] for i, j in pairs], axis=-1)


def determinant(a, b, c):
    if a.shape[-1] == 2:
        return a[..., :1] * b[..., 1:] - a[..., 1:] * b[..., :1]
    return np.sum(np.cross(a, b) * c, axis=-1, keepdims=True)


def with_product(v):
    """Sums of two nodes: a third direction that is not in their plane."""
    a, b = others(v)
    return a, b, v - np.roll(v, 3, axis=1)


def as_irrep(degree, parity):
    def f(v):
        a, b, c = with_product(v)
        y = harmonics(degree, a) + harmonics(degree, 2 * b - a)
        natural = parity == (-1) ** degree
        return y if natural else y * determinant(a, b, c)

    return f


# name, representation of the output and the function of points (B, N, d).
FUNCTIONS = [
    (Scalar(), lambda v: norm(others(v)[0])),
    (Pseudoscalar(), lambda v: determinant(*with_product(v))),
    (Vector(), lambda v: others(v)[0] * 1.5 - others(v)[1]),
    (Point(), lambda v: v + 0.3 * others(v)[1]),
    (Pseudovector(), lambda v: np.cross(*others(v))),
    (Tensor(1), lambda v: others(v)[1]),
    (Tensor(2), lambda v: outer(*others(v))),
    (Tensor(3), lambda v: outer(*with_product(v))),
    (Tensor(4), lambda v: outer(*others(v), *others(v))),
    (SymmetricMatrix(), lambda v: packed(outer(others(v)[0], others(v)[0]))),
    (
        FourVector(),
        lambda v: np.concatenate(
            [
                norm(others(v)[1]),
                others(v)[0],
            ],
            axis=-1,
        ),
    ),
    (
        DirectSum(["scalar", "vector", Tensor(2), "2e"]),
        lambda v: np.concatenate(
            [
                norm(others(v)[0]),
                others(v)[1],
                outer(*others(v)).reshape(*v.shape[:2], 9),
                harmonics(2, others(v)[0]),
            ],
            axis=-1,
        ),
    ),
    *[
        (Irrep(degree, parity), as_irrep(degree, parity))
        for degree in range(7)
        for parity in (1, -1)
    ],
]
SPACE = [
    groups.SO2(axis=[1.0, 2.0, -0.5]),
    groups.SO3(),
    groups.SO3(max_angle=10.0),
    groups.O3(),
    groups.Translations(),
    groups.SE3(),
    groups.E3(),
]
PLANE = [
    groups.SO2(axis=None),
    groups.O2(),
    groups.SE2(),
    groups.E2(),
    groups.Cyclic(4),
    groups.Cyclic(5),
    groups.Dihedral(3),
]


SCALED = [
    groups.Scalings(max_factor=3.0),
    groups.Product({"turn": groups.O3(), "unit": groups.Scalings(3.0)}),
]
# With permutations of the nodes: functions that do not know their order.
PERMUTED = [
    groups.Product({"space": g, "nodes": groups.Permutations(NODES)})
    for g in (groups.SO3(), groups.E3())
]


def minkowski(a, b):
    return np.einsum("...i,ij,...j->...", a, MINKOWSKI, b)[..., None]


def of_set(v):
    mean = v.mean(axis=1, keepdims=True)
    distance = np.linalg.norm(v - mean, axis=-1, keepdims=True)
    return v + distance * (v - mean)


def norm(v):
    return np.linalg.norm(v, axis=-1, keepdims=True)


OF_LORENTZ = [
    (Scalar(), lambda v: minkowski(*others(v))),
    (Vector(), lambda v: v * minkowski(*others(v))),
    (FourVector(), lambda v: v * minkowski(*others(v)) + others(v)[0]),
    (Tensor(2), lambda v: outer(*others(v))),
    (SymmetricMatrix(), lambda v: packed(outer(v, v))),
]
OF_SCALED = [
    (Vector(), lambda v: others(v)[0]),
    (Tensor(2), lambda v: outer(*others(v))),
    (SymmetricMatrix(), lambda v: packed(outer(v, v))),
    (Homogeneous(-1), lambda v: 1 / norm(others(v)[0])),
    (Homogeneous(-2, Vector()), lambda v: v / norm(v) ** 2),
]
OF_SETS = [
    (Point(), of_set),
    (Scalar(), lambda v: norm(v - v.mean(axis=1, keepdims=True))),
]


def fits(group, rep):
    if group.dimension == 2 and isinstance(rep, Tensor):
        return rep.rank <= 2  # the hand-made ones need no more
    try:
        rep.check(group)
    except ValueError:
        return False
    return True


CASES = [
    *[(g, [c for c in FUNCTIONS if fits(g, c[0])]) for g in SPACE + PLANE],
    (groups.Lorentz(), OF_LORENTZ),
    *[(group, OF_SCALED) for group in SCALED],
    *[(group, OF_SETS) for group in PERMUTED],
]


@contextlib.contextmanager
def precision(dtype):
    keras.config.set_floatx(dtype)
    with contextlib.ExitStack() as stack:
        if keras.backend.backend() == "jax":
            import jax

            stack.enter_context(jax.enable_x64(dtype == "float64"))
        yield
    keras.config.set_floatx("float32")


def errors(group, cases, dtype, seed=0):
    """E' = ||f(g x) - g f(x)|| / ||f(x)||, means over samples, of each case.

    And how far g moves f(x), relative to the same norm.
    """
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(16, NODES, group.dimension)).astype(dtype)
    with precision(dtype):
        inputs = Symmetry(group, Point(), Scalar())
        g = inputs.sample(len(x), seed=seed)
        moved_x = ops.convert_to_numpy(inputs.transform_inputs(g, x))
        assert moved_x.dtype == dtype
        for rep, f in cases:
            symmetry = Symmetry(group, Point(), rep)
            y = f(x.astype("float64"))
            moved = symmetry.transform_outputs(g, y.astype(dtype))
            moved = ops.convert_to_numpy(moved)
            assert moved.dtype == dtype
            of_moved = f(moved_x.astype("float64"))
            yield (
                rep,
                size(of_moved - moved) / size(y),
                size(moved - y) / size(y),
            )


def size(y):
    """The norm of a sample's output, in the mean over samples."""
    return np.linalg.norm(y.reshape(len(y), -1), axis=1).mean()


LIMITS = {"float32": 1e-6, "float64": 1e-12}


@pytest.mark.parametrize("dtype", list(LIMITS))
@pytest.mark.parametrize(
    "group, cases", CASES, ids=[repr(group) for group, _ in CASES]
)
def test_hand_made_functions(group, cases, dtype):
    for rep, error, change in errors(group, cases, dtype):
        assert error < LIMITS[dtype], rep
        # The test could have failed: g does something to the output.
        if isinstance(rep, Scalar) or rep == Irrep(0, 1):
            still = not group.num_nodes
        else:
            still = isinstance(group, groups.Translations) and (rep != Point())
            if group.proper:
                still |= rep in (Pseudoscalar(), Irrep(0, -1))
        assert (change < 1e-6) if still else (change > 1e-2), rep


def test_the_wrong_representation_is_found():
    vector = FUNCTIONS[2][1]
    wrong = [(Pseudovector(), vector), (Scalar(), vector)]
    for _, error, _ in errors(groups.O3(), wrong, "float32"):
        assert error > 0.1
    wrong = [(Irrep(3, 1), as_irrep(3, -1)), (Irrep(2), as_irrep(2, -1))]
    for _, error, _ in errors(groups.O3(), wrong, "float32"):
        assert error > 0.1
