"""Acclaim motion files: skeleton (ASF), motion (AMC), forward kinematics."""

import dataclasses
import pathlib

import numpy as np


@dataclasses.dataclass(frozen=True)
class Skeleton:
    """Bones of an ASF file, parents before children; bone 0 is the root.

    Args:
        names: names of the root and the bones, in the order of the file.
        parents: index of the parent of each; -1 for the root.
        offsets: `(J, 3)`, from the start of a bone to its end.
        axes: `(J, 3, 3)`, rotation from the frame of the bone to the world's.
        degrees_of_freedom: tuple of `"rx"`, ... for each, as in the AMC file.
    """

    names: tuple
    parents: tuple
    offsets: np.ndarray
    axes: np.ndarray
    degrees_of_freedom: tuple


def _rotation(angles):
    """R_z R_y R_x for angles `(..., 3)` about x, y, z in degrees."""
    x, y, z = np.moveaxis(np.radians(angles), -1, 0)
    cx, cy, cz, sx, sy, sz = *map(np.cos, (x, y, z)), *map(np.sin, (x, y, z))
    rows = [
        [cz * cy, cz * sy * sx - sz * cx, cz * sy * cx + sz * sx],
        [sz * cy, sz * sy * sx + cz * cx, sz * sy * cx - cz * sx],
        [-sy, cy * sx, cy * cx],
    ]
    return np.moveaxis(np.array(rows), (0, 1), (-2, -1))


def _sections(text):
    """`{":bonedata": [words of each line], ...}` of an ASF file."""
    sections, lines = {}, []
    for line in text.splitlines():
        words = line.split("#")[0].split()
        if words and words[0].startswith(":"):
            lines = sections.setdefault(words[0].lower(), [])
            words = words[1:]
        if words:
            lines.append(words)
    return sections


def _bones(lines):
    """One `{keyword: words}` for each begin ... end of `:bonedata`."""
    bone = None
    for words in lines:
        if words[0] == "begin":
            bone = {}
        elif words[0] == "end" and bone is not None:
            yield bone
            bone = None
        elif bone is not None:
            bone[words[0]] = words[1:]


def read_skeleton(path):
    """Reads an ASF file.

    Lengths stay in the units of the file (CMU: 0.45 of them are an inch),
    y points up.

    Args:
        path: path of the file.

    Returns:
        A `Skeleton`.

    Raises:
        ValueError: where the file is not a skeleton, or in radians, or a bone
            lacks a line or a parent.
    """
    path = pathlib.Path(path)
    sections = _sections(path.read_text(encoding="latin-1"))
    for section in (":bonedata", ":hierarchy", ":root", ":units"):
        if section not in sections:
            raise ValueError(
                f"Expected an ASF skeleton with a section {section!r}; it may "
                f"be cut short. Received: {path}"
            )
    if ["angle", "deg"] not in sections[":units"]:
        raise ValueError(f"Expected angles in degrees. Received: {path}")
    parents = {
        child: words[0]
        for words in sections[":hierarchy"]
        for child in words[1:]
    }
    names, rows = ["root"], [-1]
    offsets, angles, freedom = [np.zeros(3)], [np.zeros(3)], []
    root = {words[0].lower(): words[1:] for words in sections[":root"]}
    freedom.append(tuple(word.lower() for word in root["order"]))
    for bone in _bones(sections[":bonedata"]):
        name = bone.get("name", ["?"])[0]
        try:
            length = float(bone["length"][0])
            offsets.append(length * np.array(bone["direction"], "float64"))
            angles.append(np.array(bone["axis"][:3], "float64"))
            rows.append(names.index(parents[name]))
        except (KeyError, ValueError, IndexError) as error:
            raise ValueError(
                f"Bone {name!r} lacks its length, direction, axis, or a parent "
                f"that comes before it. Received: {path}"
            ) from error
        names.append(name)
        freedom.append(tuple(word.lower() for word in bone.get("dof", [])))
    missing = sorted(set(parents) - set(names))
    if missing:
        raise ValueError(
            f"Bones of the hierarchy are not described: {missing}. Received: "
            f"{path}"
        )
    return Skeleton(
        tuple(names),
        tuple(rows),
        np.array(offsets),
        _rotation(np.array(angles)),
        tuple(freedom),
    )


def read_motion(path, skeleton):
    """Reads an AMC file.

    Args:
        path: path of the file.
        skeleton: the `Skeleton` of its subject.

    Returns:
        A dict: name of a bone to its values `(T, degrees of freedom)`.

    Raises:
        ValueError: where a frame lacks a bone or a value (a file that is cut
            short), frames are not consecutive, or a bone is unknown.
    """
    path = pathlib.Path(path)
    freedom = {
        name: len(dof)
        for name, dof in zip(
            skeleton.names, skeleton.degrees_of_freedom, strict=True
        )
        if dof
    }
    frames, numbers = [], []
    for line in path.read_text(encoding="latin-1").splitlines():
        words = line.split()
        if not words or words[0][0] in "#:":
            continue
        if len(words) == 1 and words[0].isdigit():
            frames.append({})
            numbers.append(int(words[0]))
            continue
        where = f"frame {numbers[-1] if numbers else '?'} of {path}"
        name, values = words[0], words[1:]
        if name not in freedom or not frames:
            raise ValueError(f"Unknown bone {name!r} in {where}")
        try:
            frames[-1][name] = [float(value) for value in values]
        except ValueError as error:
            raise ValueError(f"Bad number for {name!r} in {where}") from error
        if len(values) != freedom[name]:
            raise ValueError(
                f"Expected {freedom[name]} values for {name!r}. Received: "
                f"{len(values)} in {where}; it may be cut short."
            )
    if not frames:
        raise ValueError(f"Expected an AMC motion. No frame in {path}")
    if numbers != list(range(numbers[0], numbers[0] + len(numbers))):
        raise ValueError(f"Frames are not consecutive in {path}")
    for number, frame in zip(numbers, frames, strict=True):
        missing = [name for name in freedom if name not in frame]
        if missing:
            raise ValueError(
                f"Frame {number} of {path} lacks {missing}; the file may be "
                "cut short."
            )
    return {name: np.array([f[name] for f in frames]) for name in freedom}


def joint_positions(skeleton, motion):
    """Forward kinematics: the end of each bone, in the order of the skeleton.

        R_b = R_parent C_b M_b C_b^-1,    x_b = x_parent + R_b offset_b

    with M_b from the angles of the motion, C_b the axes of the bone.

    Args:
        skeleton: a `Skeleton`.
        motion: what `read_motion` returns.

    Returns:
        Array `(T, J, 3)`, float64.
    """
    size = len(motion["root"])
    positions = np.zeros((size, len(skeleton.names), 3))
    rotations = np.zeros((len(skeleton.names), size, 3, 3))
    for b, name in enumerate(skeleton.names):
        angles, shift = np.zeros((size, 3)), np.zeros((size, 3))
        for k, dof in enumerate(skeleton.degrees_of_freedom[b]):
            target = {"r": angles, "t": shift}.get(dof[0])
            if target is not None:
                target[:, "xyz".index(dof[1])] = motion[name][:, k]
        axes = skeleton.axes[b]
        local = axes @ _rotation(angles) @ axes.T
        if skeleton.parents[b] < 0:
            rotations[b], positions[:, b] = local, shift
            continue
        parent = skeleton.parents[b]
        rotations[b] = rotations[parent] @ local
        offset = rotations[b] @ skeleton.offsets[b]
        positions[:, b] = positions[:, parent] + offset
    return positions
