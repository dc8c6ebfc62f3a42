"""The projective geometric algebra G(3, 0, 1) of space.

Generators e0, e1, e2, e3 with e0 e0 = 0 and ei ei = 1. The blade number m has
the factor e_(i+1) for each bit i < 3 of m, and e0, in front, for bit 3:

    0   1    2   3    4   5    6    7     8   9    10  ...  15
    1   e1   e2  e12  e3  e13  e23  e123  e0  e01  e02      e0123

so that a multivector is a + e0 b with a and b of eight components each. All
tables below follow from `product_sign`.

Arrays of multivectors have the shape `(8, P, B, N, 2 C)`: the component of a
and b first, P parities (see `layers.GATrBlock`), and on the last axis C
channels of a, then C of b. Each component is then a block of memory of its
own, and every map a product of few large matrices.
"""

import keras
import numpy as np
from keras import ops

GRADE = np.array([bin(m).count("1") for m in range(16)])


def product_sign(i, j):
    """s in e_i e_j = s e_(i xor j): 1, -1 or 0."""
    if i & j & 8:  # e0 e0 = 0
        return 0
    place = (1, 2, 3, 0)  # e0 stands in front
    swaps = sum(
        place[a] > place[b]
        for a in range(4)
        for b in range(4)
        if i >> a & 1 and j >> b & 1
    )
    return (-1) ** swaps


def _dual(m):
    """Sign and number of the blade d with e_m d = e0123."""
    return product_sign(m, 15 ^ m), 15 ^ m


def _join_sign(i, j):
    """s in e_i v e_j = s e_(i and j): the wedge product of the duals."""
    if i | j != 15:
        return 0
    (s, i), (t, j) = _dual(i), _dual(j)
    undual, _ = _dual(15 ^ (i | j))
    return s * t * product_sign(i, j) * undual


# Terms (i, j, k, s) of  x y = sum s x_i y_j e_k.
PRODUCT = [
    (i, j, i ^ j, product_sign(i, j))
    for i in range(16)
    for j in range(16)
    if product_sign(i, j)
]
JOIN = [
    (i, j, i & j, _join_sign(i, j))
    for i in range(16)
    for j in range(16)
    if _join_sign(i, j)
]


def geometric_product(x, y):
    """The geometric product, channel by channel.

    Args:
        x, y: multivectors `(8, P, B, N, 2 C)`, their P may be 1 or the same.

    Returns:
        `(8, P, B, N, 2 C)`.
    """
    return _bilinear(x, y, PRODUCT)


def join(x, y):
    """The join (regressive product): points to lines, lines to planes.

    It changes sign under reflections, unlike the geometric product.

    Args:
        x, y: multivectors `(8, P, B, N, 2 C)`, their P may be 1 or the same.

    Returns:
        `(8, P, B, N, 2 C)`.
    """
    return _bilinear(x, y, JOIN)


def _bilinear(x, y, terms):
    if keras.backend.backend() == "torch":
        return _bilinear_gathered(x, y, terms)
    # Unrolled: the compilers make one loop of it, without temporaries.
    x, y = _components(x), _components(y)
    result = [0.0] * 16
    for i, j, k, sign in terms:
        term = x[i] * y[j]
        result[k] = result[k] + term if sign > 0 else result[k] - term
    a, b = ops.stack(result[:8]), ops.stack(result[8:])
    return ops.concatenate([a, b], axis=-1)


def _components(x):
    """The sixteen components `(P, B, N, C)`."""
    halves = ops.split(x, 2, axis=-1)
    return [x for half in halves for x in ops.unstack(half, 8, axis=0)]


def _bilinear_gathered(x, y, terms):
    """In few calls, since each call has overhead on eager torch."""
    x, y = ops.split(x, 2, axis=-1), ops.split(y, 2, axis=-1)
    # Rows of y, of -y, and one of zeros to point at.
    y = [ops.concatenate([c, -c, ops.zeros_like(c[:1])]) for c in y]
    result = [0.0, 0.0]
    for half, (u, v), rows in _blocks(terms):
        gathered = ops.take(y[v], rows, axis=0)  # (8 * 8, P, B, N, C)
        gathered = ops.reshape(gathered, (8, 8, *gathered.shape[1:]))
        result[half] += ops.sum(x[u] * gathered, axis=1)
    return ops.concatenate(result, axis=-1)


def _blocks(terms):
    """The terms by halves: (half of k, halves of i and j, rows of y)."""
    blocks = {}
    for i, j, k, sign in terms:
        block = (k // 8, (i // 8, j // 8))
        rows = blocks.setdefault(block, np.full((8, 8), 16))
        rows[k % 8, i % 8] = j % 8 + (8 if sign < 0 else 0)
    return [(*block, rows.ravel()) for block, rows in blocks.items()]


def _linear_basis():
    """The nine equivariant maps as matrices from (a, b) to (a, b).

    Projection to each of five grades, and e0 times each of the first four.

    Returns:
        `(8, 2, 2, 9)`: component, half in, half out, map.
    """
    basis = np.zeros((8, 2, 2, 9), "float32")
    for m in range(8):
        grade = GRADE[m]
        basis[m, 0, 0, grade] = 1.0
        basis[m, 1, 1, grade + 1] = 1.0
        basis[m, 0, 1, 5 + grade] = 1.0
    return basis


LINEAR_BASIS = _linear_basis()

# b-components of the trivector of a point: x e123 = sum_i s_i x_i e_(7 - i).
POINT_ROWS = [7 ^ (1 << i) for i in range(3)]
POINT_SIGNS = np.array(
    [product_sign(1 << i, 7) for i in range(3)], dtype="float32"
)
