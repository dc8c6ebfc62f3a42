"""Initial states of the charged n-body systems."""

import numpy as np

BOX = 5.0
SPEED = 0.5
# Each of the 49 frames has a noise of amplitude zero on positions and
# velocities in the published generator: the numbers are drawn all the same.
NOISE_FRAMES = 2 * 49


def initial_states(ranges, seed=43, num_bodies=5):
    """Draws the initial states of systems at given places of one stream.

    Charges are -1 or +1, each with probability 1/2. Positions are
    x ~ N(0, s^2) with s = (n / 5)^(1/3) for n bodies, velocities have a random
    direction and the norm 0.5. A component of x outside of [-5, 5] is
    reflected at the wall, and so is its velocity.

    The stream is that of the published generator: `numpy.random.seed(seed)`,
    then one system after another. A system can be reached only by drawing all
    that come before it, about 0.03 ms each.

    Args:
        ranges: list of (start, stop), indices of systems in the stream,
            ascending and without overlap.
        seed: seed of the stream. Defaults to 43, that of "nbody_small".
        num_bodies: bodies of each system. Defaults to 5.

    Returns:
        `(charges, positions, velocities)` of all ranges one after another, of
        shapes `(S, N)`, `(S, N, 3)` and `(S, N, 3)`, float64.
    """
    random = np.random.RandomState(seed)  # the stream is that of MT19937
    size = 3 * num_bodies
    wanted = np.zeros(ranges[-1][1], bool)
    for start, stop in ranges:
        wanted[start:stop] = True
    charges, normals = [], []
    for keep in wanted:
        uniform = random.random_sample(num_bodies)
        normal = random.standard_normal((2 + NOISE_FRAMES) * size)
        if keep:
            charges.append(np.where(uniform < 0.5, -1.0, 1.0))
            normals.append(normal[: 2 * size].copy())
    normals = np.reshape(normals, (len(normals), 2, 3, num_bodies))
    x, v = normals[:, 0], normals[:, 1]  # (S, 3, N)
    x = x * (num_bodies / 5.0) ** (1 / 3)
    v = v * SPEED / np.sqrt((v**2).sum(axis=1, keepdims=True))
    v = np.where(x > BOX, -np.abs(v), v)
    v = np.where(x < -BOX, np.abs(v), v)
    x = np.where(x > BOX, 2 * BOX - x, x)
    x = np.where(x < -BOX, -2 * BOX - x, x)
    charges = np.reshape(charges, (len(charges), num_bodies))
    return charges, np.swapaxes(x, 1, 2), np.swapaxes(v, 1, 2)
