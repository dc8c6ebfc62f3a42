"""Skeletons whose joints are known."""

# Of the CMU data base of motion capture: the joint that each joint hangs on.
CMU_PARENTS = (
    (-1, 0, 1, 2, 3, 4)  # root, left leg
    + (0, 6, 7, 8, 9)  # right leg
    + (0, 11, 12, 13, 14, 15)  # spine, neck, head
    + (13, 17, 18, 19, 20, 21, 20)  # left arm
    + (13, 24, 25, 26, 27, 28, 27)  # right arm
)
CMU_BONES = tuple(
    (child, parent) for child, parent in enumerate(CMU_PARENTS) if child
)
"""The bones of that skeleton: pairs of a joint and the one it hangs on."""
