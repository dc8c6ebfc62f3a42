"""Sets of rotations, and how potentials fare under them."""

import numpy as np
from scipy.spatial.transform import Rotation

# Rotations that bring a polyhedron onto itself: as far apart as they can be.
POLYHEDRAL = {4: "D2", 6: "D3", 8: "D4", 12: "T", 24: "O", 60: "I"}


def spread_rotations(count, seed=0):
    """Rotations that are spread well over all of them.

    Those of a polyhedron, in a random orientation, where there is one with as
    many (4, 6, 8, 12, 24 and 60), or else random ones.

    Args:
        count: M.
        seed: integer seed. Defaults to 0.

    Returns:
        Float64 `(M, 3, 3)`.
    """
    rng = np.random.default_rng(seed)
    if count not in POLYHEDRAL:
        return Rotation.random(count, rng).as_matrix()
    group = Rotation.create_group(POLYHEDRAL[count])
    return (group * Rotation.random(None, rng)).as_matrix()
