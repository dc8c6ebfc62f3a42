"""Motion files of your own: BVH, and Acclaim's ASF and AMC."""

from __future__ import annotations

import pathlib
from typing import NamedTuple

import numpy as np

from keras_remul.datasets import registry
from keras_remul.datasets.cmu_mocap import acclaim
from keras_remul.utils.typing import StrPath


class Motion(NamedTuple):
    """A motion of a skeleton.

    Attributes:
        positions: joints `(T, J, 3)`, float32, in the unit of the file.
        bones: pairs of joints `(J - 1, 2)`, the one that hangs on the other
            first.
        names: of the joints.
        rate: frames per second.
    """

    positions: np.ndarray
    bones: list
    names: list
    rate: float


def read_motion(path: StrPath, skeleton: StrPath | None = None) -> Motion:
    """Reads a motion file: where the joints are in each frame.

    Args:
        path: a `.bvh` file, which the package `pybvh` reads, or an `.amc` file
            of Acclaim.
        skeleton: the `.asf` file of an `.amc`. Defaults to None.

    Returns:
        A `Motion`.

    Raises:
        ValueError: another kind of file, an `.amc` without skeleton, or a file
            that is damaged.
        ImportError: `pybvh` is not installed, for `.bvh`.

    Example:
        >>> motion = read_motion("35_01.amc", "35.asf")
        >>> x = motion.positions[:-30]
    """
    kind = pathlib.Path(path).suffix.lower()
    if kind == ".bvh":
        return _bvh(path)
    if kind != ".amc" or skeleton is None:
        raise ValueError(
            "Expected a .bvh file, or an .amc file with its .asf as "
            f"`skeleton`. Received: {str(path)!r}, skeleton={skeleton!r}"
        )
    body = acclaim.read_skeleton(skeleton)
    x = acclaim.joint_positions(body, acclaim.read_motion(path, body))
    bones = [(i, p) for i, p in enumerate(body.parents) if p >= 0]
    rate = float(acclaim.FRAMES_PER_SECOND)
    return Motion(x.astype("float32"), bones, list(body.names), rate)


def _bvh(path):
    try:
        import pybvh  # pyright: ignore[reportMissingImports]
    except ModuleNotFoundError as error:
        raise registry.needs_extra(
            "Reading .bvh files", "pybvh", "mocap"
        ) from error
    body = pybvh.read_bvh_file(path, world_up="+y")
    x = body.node_positions().astype("float32")
    if not len(x) or not np.isfinite(x).all() or not body.frame_time > 0:
        raise ValueError(
            f"Expected one frame or more of finite numbers in {path}. "
            f"Received: positions of shape {x.shape}"
        )
    bones = [(int(child), int(parent)) for child, parent in body.node_edges]
    names = [node.name for node in body.nodes]
    return Motion(x, bones, names, 1.0 / body.frame_time)
