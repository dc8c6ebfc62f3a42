"""What taggers see of four-momenta: logarithms, angles, invariants."""

import keras
from keras import ops

TINY = 1e-8


def _safe(x):
    return ops.maximum(x, TINY)


def _space(p):
    """|p| `(...)` of four-momenta `(..., 4)`."""
    return ops.sqrt(_safe(ops.sum(ops.square(p[..., 1:]), axis=-1)))


def square_mass(p):
    """E^2 - p^2, at least 0, `(...)` of four-momenta `(..., 4)`.

    The squares of fast particles cancel to all digits. So the products are
    taken with what their rounding leaves out, and the sums with it: each
    backend rounds otherwise, and the logarithm of the mass would tell.
    """
    squares, left = _square(p)
    total, more = squares[..., 0], left[..., 0]
    for i in (1, 2, 3):
        total, error = _sum(total, -squares[..., i])
        more = more - left[..., i] + error
    return ops.maximum(total + more, 0.0)


def _square(x):
    """x^2 rounded, and what that leaves out (Dekker)."""
    square = x * x
    bits = 12 if keras.backend.standardize_dtype(x.dtype) == "float32" else 27
    large = (2.0**bits + 1.0) * x
    high = large - (large - x)  # about the first half of the bits
    low = x - high
    return square, ((high * high - square) + 2.0 * high * low) + low * low


def _sum(a, b):
    """a + b rounded, and what that leaves out (Knuth)."""
    total = a + b
    of_b = total - a
    return total, (a - (total - of_b)) + (b - of_b)


def jet_square_mass(p, mask, jet):
    """m^2 of jets `(B, 1)`: `(E + |J|) sum(E_i - p_i J / |J|)`.

    Each term is positive, so that nothing cancels, as it does in E - |J| of the
    sum J.

    Args:
        p: four-momenta of the constituents `(B, N, 4)`.
        mask: `(B, N)`, boolean.
        jet: `total` of them.
    """
    size = _space(p)
    units = p[..., 1:] / size[..., None]
    axis = jet[..., 1:] / _space(jet)[..., None]
    away = 0.5 * ops.sum(ops.square(units - axis), axis=-1)
    slow = square_mass(p) / (size * (p[..., 0] + size))
    terms = ops.where(mask, size * (away + slow), 0.0)
    whole = jet[..., 0] + _space(jet)
    return whole * ops.sum(terms, axis=1, keepdims=True)


def transverse(p):
    """pT `(...)` of four-momenta `(..., 4)`."""
    return ops.sqrt(_safe(ops.square(p[..., 1]) + ops.square(p[..., 2])))


def pseudorapidity(p):
    """eta `(...)` of four-momenta `(..., 4)`."""
    return ops.arcsinh(p[..., 3] / transverse(p))


def rapidity(p):
    """y `(...)`; differences of it do not change under boosts along z."""
    square = ops.square(transverse(p)) + square_mass(p)
    return ops.arcsinh(p[..., 3] / ops.sqrt(square))


def azimuth_between(p, q):
    """phi of p less phi of q, in [-pi, pi]."""
    cross = p[..., 2] * q[..., 1] - p[..., 1] * q[..., 2]
    return ops.arctan2(cross, p[..., 1] * q[..., 1] + p[..., 2] * q[..., 2])


def polar_from(p, jet):
    """eta of p less that of the jet, which flies to positive eta."""
    eta = pseudorapidity(jet)
    away = pseudorapidity(p) - eta
    return ops.where(eta < 0, -away, away)


def total(p, mask):
    """The four-momentum of the jet `(B, 1, 4)`."""
    return ops.sum(ops.where(mask[..., None], p, 0.0), axis=1, keepdims=True)


def filled(p, mask):
    """Padding replaced by a particle that all functions here accept."""
    one = ops.convert_to_tensor([1.0, 1.0, 0.0, 0.0], p.dtype)
    return ops.where(mask[..., None], p, one)


def product(p, q):
    """Minkowski products p q, at least 0, without cancellation.

    p q = |p| |q| (1 - cos + a + b + a b), with E = |p| (1 + a) for p and b for
    q, and 1 - cos from the difference of the unit vectors: the energies of
    particles that are nearly parallel would cancel.

    Args:
        p: four-momenta `(..., 4)`.
        q: four-momenta that broadcast to them.

    Returns:
        Array `(...)`.
    """
    sizes, units, slow = [], [], []
    for a in (p, q):
        size = _space(a)
        sizes.append(size)
        units.append(a[..., 1:] / size[..., None])
        slow.append(square_mass(a) / (size * (a[..., 0] + size)))
    angle = 0.5 * ops.sum(ops.square(units[0] - units[1]), axis=-1)
    slow = slow[0] + slow[1] + slow[0] * slow[1]
    return sizes[0] * sizes[1] * (angle + slow)


def square_masses(p):
    """(p_i + p_j)^2 of all pairs `(..., N, N)` of `(..., N, 4)`."""
    own = square_mass(p)
    own = own[..., :, None] + own[..., None, :]
    return own + 2 * product(p[..., :, None, :], p[..., None, :, :])


def square_distances(p):
    """Delta R^2, in y and phi, of all pairs `(..., N, N)` of `(..., N, 4)`.

    It is exactly 0 from a particle to itself.
    """
    y = rapidity(p)
    y = y[..., :, None] - y[..., None, :]
    phi = azimuth_between(p[..., :, None, :], p[..., None, :, :])
    nodes = ops.arange(ops.shape(p)[-2])
    same = nodes[:, None] == nodes[None]
    return ops.where(same, 0.0, ops.square(y) + ops.square(phi))


def softer(p):
    """The lower pT of each pair, and its share z of their sum.

    Args:
        p: four-momenta `(..., N, 4)`.

    Returns:
        Two arrays `(..., N, N)`.
    """
    pt = transverse(p)
    a, b = pt[..., :, None], pt[..., None, :]
    low = ops.minimum(a, b)
    return low, low / (a + b)


def log(x):
    """Logarithm of a number that may be 0."""
    return ops.log(_safe(x))


def scaled(columns, scales):
    """(value - shift) * scale of each column, clipped to [-5, 5].

    Args:
        columns: list of arrays `(...)`.
        scales: `(shift, scale)` of each.

    Returns:
        Array `(..., F)`.
    """
    x = ops.stack(columns, axis=-1)
    shift, scale = (
        ops.convert_to_tensor(values, x.dtype)
        for values in zip(*scales, strict=True)
    )
    return ops.clip((x - shift) * scale, -5.0, 5.0)


# As the public weights of ParticleNet need them.
KINEMATICS = (
    (1.7, 0.7),  # ln pT
    (2.0, 0.7),  # ln E
    (-4.7, 0.7),  # ln of the share of pT
    (-4.7, 0.7),  # ln of the share of E
    (0.2, 4.0),  # Delta R
    (0.0, 1.0),
    (0.0, 1.0),
)


def kinematics(p, jet, polar):
    """The seven kinematic features of constituents, scaled.

    Args:
        p: four-momenta `(B, N, 4)`, padding `filled`.
        jet: `total` of them.
        polar: their distances in eta or y from the jet `(B, N)`.

    Returns:
        Array `(B, N, 7)`: ln pT, ln E, ln of the shares of the jet's pT and E,
        Delta R, `polar`, the distance in azimuth.
    """
    phi = azimuth_between(p, jet)
    pt, energy = log(transverse(p)), log(p[..., 0])
    away = ops.sqrt(ops.square(polar) + ops.square(phi) + 1e-14)
    return scaled(
        [
            pt,
            energy,
            pt - log(transverse(jet)),
            energy - log(jet[..., 0]),
            away,
            polar,
            phi,
        ],
        KINEMATICS,
    )
