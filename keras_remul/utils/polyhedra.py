"""Rotations that bring a polyhedron onto itself."""

# Their numbers, and what SciPy calls them: they are as far apart as they can
# be. Of 24, the first half are those of the tetrahedron.
POLYHEDRAL = {4: "D2", 6: "D3", 8: "D4", 12: "T", 24: "O", 60: "I"}


def rotations(count):
    """The rotations of a polyhedron that has `count` of them.

    Args:
        count: one of `POLYHEDRAL`.

    Returns:
        A `scipy.spatial.transform.Rotation`.
    """
    # Slow to import: where it is needed.
    from scipy.spatial.transform import Rotation

    return Rotation.create_group(POLYHEDRAL[count])
