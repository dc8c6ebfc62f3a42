"""Simulation of star and planets, all systems at once."""

import itertools

import numpy as np
from tqdm.auto import tqdm

NUM_PLANETS = 3
STAR_MASS = (1.0, 10.0)
PLANET_MASS = (0.01, 0.1)
RADIUS = (0.1, 1.0)
VELOCITY_NOISE = 0.01
SHIFT = 20.0
TIME_STEP = 0.001
STEPS = 100
MAX_DISTANCE = 2.0
CHUNK = 2000  # candidates; part of the protocol: it orders the random numbers


def random_rotations(rng, size, angles=None):
    """Rotation matrices `(size, 3, 3)`.

    Args:
        rng: a `numpy.random.Generator`.
        size: number of matrices.
        angles: None for the Haar measure, or (low, high) in degrees: axis
            uniform on the sphere and angle uniform between the two.
    """
    if angles is None:
        q = rng.standard_normal((size, 4))
        q /= np.sqrt((q**2).sum(axis=1, keepdims=True))
    else:
        axis = rng.standard_normal((size, 3))
        axis /= np.sqrt((axis**2).sum(axis=1, keepdims=True))
        half = np.radians(rng.uniform(*angles, size=(size, 1))) / 2
        q = np.concatenate([np.cos(half), np.sin(half) * axis], axis=1)
    w, x, y, z = q.T
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return np.moveaxis(np.array(rows), -1, 0)


def _rotate(rotations, x):
    """R x for `(S, 3, 3)` and `(S, N, 3)`, summed in a fixed order."""
    terms = [rotations[:, None, :, k] * x[:, :, k, None] for k in range(3)]
    return terms[0] + terms[1] + terms[2]


def _log_uniform(rng, limits, size):
    return np.exp(rng.uniform(*np.log(limits), size=size))


def initial_states(rng, size, angles=None, planets=NUM_PLANETS):
    """Draws star and planets.

    The star is at rest, of mass log-uniform in [1, 10]. The planets, of mass
    log-uniform in [0.01, 0.1], lie in the ring 0.1 < r < 1 of the xy plane,
    uniformly by area. Each moves with the circular speed sqrt(M / r) in one
    sense or the other, plus N(0, 0.01) on each component. Then bodies are
    permuted, and the system rotated and shifted by N(0, 20).

    Args:
        rng: a `numpy.random.Generator`.
        size: number of systems, S.
        angles: of the rotations, see `random_rotations`.
        planets: number of planets. Defaults to 3.

    Returns:
        `(masses, positions, velocities)` of shapes `(S, N)`, `(S, N, 3)` and
        `(S, N, 3)`, float64, for N bodies.
    """
    star = _log_uniform(rng, STAR_MASS, (size, 1))
    light = _log_uniform(rng, PLANET_MASS, (size, planets))
    r = np.sqrt(rng.uniform(*np.square(RADIUS), size=light.shape))
    phase = rng.uniform(0, 2 * np.pi, size=r.shape)
    sense = rng.choice([-1.0, 1.0], size=r.shape)
    noise = VELOCITY_NOISE * rng.standard_normal((*r.shape, 3))
    cos, sin, zero = np.cos(phase), np.sin(phase), np.zeros_like(phase)
    speed = sense * np.sqrt(star / r)
    x = np.stack([r * cos, r * sin, zero], axis=-1)
    v = np.stack([-speed * sin, speed * cos, zero], axis=-1) + noise

    at_rest = np.zeros((size, 1, 3))
    masses = np.concatenate([star, light], axis=1)
    x = np.concatenate([at_rest, x], axis=1)
    v = np.concatenate([at_rest, v], axis=1)

    order = np.argsort(rng.random(masses.shape), axis=1)
    masses = np.take_along_axis(masses, order, axis=1)
    x = np.take_along_axis(x, order[..., None], axis=1)
    v = np.take_along_axis(v, order[..., None], axis=1)

    rotations = random_rotations(rng, size, angles)
    shift = SHIFT * rng.standard_normal((size, 1, 3))
    return masses, _rotate(rotations, x) + shift, _rotate(rotations, v)


def simulate(masses, positions, velocities, steps=STEPS):
    """Moves bodies under their gravity by the semi-implicit Euler rule.

        a_i = sum_j m_j (x_j - x_i) / |x_j - x_i|^3
        v <- v + dt a(x),    x <- x + dt v,    dt = 0.001

    Args:
        masses: array `(S, N)`.
        positions: array `(S, N, 3)`.
        velocities: array `(S, N, 3)`.
        steps: number of steps. Defaults to 100.

    Returns:
        `(positions, velocities)` after the last step, `(S, N, 3)` float64.
    """
    # (S, N, 3) -> (N, 3, S): systems last and contiguous.
    m = np.ascontiguousarray(np.transpose(masses))
    x, v = (
        np.array(np.transpose(a, (1, 2, 0)), order="C")
        for a in (positions, velocities)
    )
    pairs = list(itertools.combinations(range(len(m)), 2))
    for _ in range(steps):
        for i, j in pairs:
            d = x[j] - x[i]
            square = d[0] * d[0] + d[1] * d[1] + d[2] * d[2]
            d *= TIME_STEP / (square * np.sqrt(square))
            v[i] += m[j] * d
            v[j] -= m[i] * d
        x += TIME_STEP * v
    return np.transpose(x, (2, 0, 1)), np.transpose(v, (2, 0, 1))


def sample(size, seed, angles=None, verbose=1, planets=NUM_PLANETS):
    """Draws and simulates systems; those with a jump are drawn again.

    A system is rejected if a body ends more than 2 from its start: the time
    step does not resolve such a close encounter.

    Args:
        size: number of systems, S.
        seed: seed, or sequence of seeds, of `numpy.random.default_rng`. The
            same seed gives the same systems, whatever their number.
        angles: of the rotations, see `random_rotations`.
        verbose: 0 for no progress bar. Defaults to 1.
        planets: number of planets. Defaults to 3.

    Returns:
        A dict: `"masses"` `(S, N, 1)`, `"positions"`, `"velocities"` and
        `"targets"` `(S, N, 3)`, float64; and the rate of rejection.

    Reference:

    - [Brehmer et al., 2023](https://arxiv.org/abs/2305.18415)
    """
    rng = np.random.default_rng(seed)
    parts, accepted, drawn = [], 0, 0
    with tqdm(total=size, desc="Simulating", disable=not verbose) as bar:
        while accepted < size:
            m, x, v = initial_states(rng, CHUNK, angles, planets)
            y, _ = simulate(m, x, v)
            keep = np.sqrt(((y - x) ** 2).sum(-1)).max(1) <= MAX_DISTANCE
            parts.append([a[keep] for a in (m[..., None], x, v, y)])
            accepted += keep.sum()
            drawn += CHUNK
            bar.update(min(keep.sum(), size - bar.n))
    names = ("masses", "positions", "velocities", "targets")
    arrays = (np.concatenate(part)[:size] for part in zip(*parts, strict=True))
    return dict(zip(names, arrays, strict=True)), 1 - accepted / drawn
