"""Small matrices: axes and rotations whose derivatives are always finite.

The derivative of an eigenvector is divided by differences of eigenvalues, that
of the nearest rotation by sums of singular values. If such a number is zero,
the result is not determined, and the derivatives of `ops.eigh` and `ops.svd`
are NaN. Here the values come from these two functions without a derivative. Two
steps of Newton's method, made of products, follow: they change the values only
by rounding, and have the derivatives of the result, to the second order, in
forward and in reverse mode. Rotations that are not determined are left out of
the steps.
"""

from keras import ops

from keras_remul import backend

STEPS = 2  # the errors of derivatives are of the third order
# Differences relative to the largest value that count as zero.
CLOSE = 1e-5


def determinant(m):
    """The determinants of matrices `(n, d, d)`, d = 2 or 3, by products."""
    if m.shape[-1] == 2:
        return m[:, 0, 0] * m[:, 1, 1] - m[:, 0, 1] * m[:, 1, 0]
    a, b, c = m[:, 0], m[:, 1], m[:, 2]
    return ops.sum(a * _cross(b, c), axis=-1)


def eigh(x):
    """Eigenvalues and eigenvectors of symmetric matrices.

    Args:
        x: `(n, d, d)`.

    Returns:
        The eigenvalues `(n, d)`, the smallest first, and the eigenvectors
        `(n, d, d)`, columns. The derivative of an eigenvector leaves out
        rotations among eigenvectors with equal eigenvalues.
    """
    _, vectors = ops.eigh(ops.stop_gradient(x))
    vectors = ops.stop_gradient(vectors)
    for _ in range(STEPS):
        # T. Ogita, K. Aishima, "Iterative refinement for symmetric eigenvalue
        # decomposition", Japan J. Indust. Appl. Math. 35 (2018) 1007.
        excess = ops.eye(x.shape[-1], dtype=x.dtype) - _product(
            _transposed(vectors), vectors
        )
        moved = _product(_transposed(vectors), _product(x, vectors))
        values = _diagonal(moved) / (1.0 - _diagonal(excess))
        gap = values[:, None, :] - values[:, :, None]
        turn = _divide(moved + values[:, None, :] * excess, gap, values)
        undetermined = ops.cast(_is_close(gap, values), x.dtype)
        turn = turn + 0.5 * undetermined * excess
        vectors = vectors + _product(vectors, turn)
    moved = _product(_transposed(vectors), _product(x, vectors))
    return _diagonal(moved), vectors


def nearest_rotation(m):
    """The rotation R with the largest tr(R^T m), for each m.

    Args:
        m: matrices `(n, d, d)`, d = 2 or 3.

    Returns:
        Rotations `(n, d, d)`. The derivative leaves out rotations that do not
        change the trace.

    Reference:
        W. Kabsch, Acta Crystallographica A32 (1976) 922.
    """
    # Any unit will do, and squares of some units underflow.
    size = ops.max(ops.abs(m), axis=(1, 2), keepdims=True)
    size = ops.stop_gradient(ops.where(size > 0, size, ops.ones_like(size)))
    m = m / size
    u, _, vt = (
        ops.stop_gradient(part)
        for part in ops.svd(ops.stop_gradient(m), full_matrices=False)
    )
    proper = ops.sign(determinant(u) * determinant(vt))[:, None, None]
    u = ops.concatenate([u[:, :, :-1], u[:, :, -1:] * proper], axis=-1)
    rotation = _product(u, vt)
    for _ in range(STEPS):
        # The symmetric part of R^T m is diagonal in the basis of vt, but for
        # terms of the second order.
        seen = _product(_transposed(rotation), m)
        seen = _product(vt, _product(seen, _transposed(vt)))
        values = _diagonal(seen)
        total = values[:, None, :] + values[:, :, None]
        turn = _divide(seen - _transposed(seen), total, values)
        turn = _product(_transposed(vt), _product(turn, vt))
        rotation = rotation + _product(rotation, turn)
        excess = ops.eye(m.shape[-1], dtype=m.dtype) - _product(
            _transposed(rotation), rotation
        )
        rotation = rotation + 0.5 * _product(rotation, excess)
    return rotation


def _divide(a, b, values):
    """a / b; zero where b is close to zero, as on the diagonal of a."""
    close = _is_close(b, values)
    quotient = a / ops.where(close, ops.ones_like(b), b)
    return ops.where(close, ops.zeros_like(quotient), quotient)


def _is_close(b, values):
    largest = ops.max(ops.abs(values), axis=-1)[:, None, None]
    return ops.abs(b) <= CLOSE * largest


def _diagonal(m):
    return ops.stack([m[:, i, i] for i in range(m.shape[-1])], axis=-1)


def _transposed(m):
    return ops.swapaxes(m, -1, -2)


def _product(a, b):
    return backend.matmul(a, b)


def _cross(a, b):
    return ops.stack(
        [
            a[:, i - 2] * b[:, i - 1] - a[:, i - 1] * b[:, i - 2]
            for i in range(3)
        ],
        axis=-1,
    )
