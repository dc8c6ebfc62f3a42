"""Acclaim motion files: skeleton (ASF), motion (AMC), forward kinematics.

Rotations are about fixed axes, in the order in which the file names them: the
first is applied first. For the frame of a bone the order is that of the letters
of `axis`: XYZ means R_z R_y R_x. For the motion it is that of the channels,
`dof` of a bone and `order` of the root. This follows the definition of the
format (V1.10) and its explanation at CMU, where the `axis` of the root belongs
to its `orientation` only.
"""

import dataclasses

import numpy as np

from keras_remul.datasets.cmu_mocap import words as parse

FRAMES_PER_SECOND = 120


@dataclasses.dataclass(frozen=True)
class Skeleton:
    """Bones of an ASF file, parents before children; bone 0 is the root.

    Args:
        names: names of the root and the bones, in the order of the file.
        parents: index of the parent of each; -1 for the root.
        offsets: `(J, 3)`, from the start of a bone to its end.
        axes: `(J, 3, 3)`, rotation from the frame of the bone to the world's.
        degrees_of_freedom: tuple of `"rx"`, ... for each, as in the AMC file;
            rotations in the order in which they are applied.
    """

    names: tuple
    parents: tuple
    offsets: np.ndarray
    axes: np.ndarray
    degrees_of_freedom: tuple


def _about(axis, degrees):
    """Rotations about `"x"`, `"y"` or `"z"`, `(...)` to `(..., 3, 3)`."""
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    i, j = {"x": (1, 2), "y": (2, 0), "z": (0, 1)}[axis]
    result = np.zeros((*np.shape(degrees), 3, 3))
    k = 3 - i - j
    result[..., k, k] = 1.0
    result[..., i, i] = result[..., j, j] = cos
    result[..., j, i], result[..., i, j] = sin, -sin
    return result


def _turn(rotation, axis, degrees):
    """`rotation`, followed by one about a fixed axis."""
    return _about(axis, degrees) @ rotation


def _bone_axes(words, where):
    """The frame of a bone from the words of its line `axis`."""
    if len(words) != 4:
        raise ValueError(
            f"Expected three angles and an order such as XYZ for {where}. "
            f"Received: {words}"
        )
    angles = parse.three(words[:3], where)
    rotation = np.eye(3)
    for axis in parse.axis_order(words[3], where):
        rotation = _turn(rotation, axis, angles["xyz".index(axis)])
    return rotation


def _channels(words, valid, where):
    """Names of the degrees of freedom, in lower case."""
    names = tuple(word.lower() for word in words)
    if len(set(names)) < len(names) or not set(names) <= set(valid):
        raise ValueError(
            f"Expected different ones of {list(valid)} as degrees of freedom "
            f"of {where}. Received: {list(words)}. Lengths (`l`) and positions "
            "of bones that change are not supported: export the motion without "
            "them."
        )
    return names


def _check_units(lines, path):
    angle = [words[1:] for words in lines if words[0].lower() == "angle"]
    if len(angle) != 1 or [word.lower() for word in angle[0]] not in (
        ["deg"],
        ["degrees"],
    ):
        raise ValueError(
            f"Expected angles in degrees, one line `angle deg` in `:units` of "
            f"{path}. Received: {angle}. Export the skeleton in degrees."
        )


def _root(lines, path):
    """Degrees of freedom of the root."""
    where = f"'root' in {path}"
    root = parse.keyed(lines, where)
    for key in ("position", "orientation"):
        if any(parse.three(root.get(key, ["0"] * 3), f"{key} of {where}")):
            raise ValueError(
                f"{key!r} of {where} is not zero, and programs differ on what "
                f"that means. Received: {root[key]}. Add it to the motion, "
                "and set it to 0 0 0."
            )
    if "order" not in root:
        raise ValueError(f"{where} lacks its order, such as TX TY TZ RX RY RZ.")
    if "axis" in root:
        parse.axis_order("".join(root["axis"]), f"the axis of {where}")
    valid = ("tx", "ty", "tz", "rx", "ry", "rz")
    return _channels(root["order"], valid, where)


def _parents(lines, path):
    """`{bone: parent}` of the hierarchy."""
    parents = {}
    for words in lines:
        for child in words[1:]:
            if child in parents or child == "root":
                raise ValueError(
                    f"Expected one parent of each bone, and none of the root, "
                    f"in the hierarchy of {path}. {child!r} is listed "
                    f"under {words[0]!r} too: remove it there."
                )
            parents[child] = words[0]
    return parents


def _offset(bone, where):
    """From the start of a bone to its end, `(3,)`."""
    direction = np.array(
        parse.three(bone["direction"], f"direction of {where}")
    )
    (word,) = bone["length"]
    length = parse.number(word, f"length of {where}")
    if length < 0 or (length and abs(np.linalg.norm(direction) - 1) > 1e-2):
        raise ValueError(
            f"Expected a length of at least 0 and a direction of length 1 for "
            f"{where}. Received: length {length}, direction "
            f"{direction.tolist()}. Correct the file, or get it again."
        )
    return length * direction


def read_skeleton(path):
    """Reads an ASF file.

    Lengths stay in the units of the file (CMU: 0.45 of them are an inch),
    y points up.

    Args:
        path: path of the file.

    Returns:
        A `Skeleton`.

    Raises:
        ValueError: the file is not a skeleton, or is in radians; a bone lacks a
            line or a parent, or has two of them; a number is invalid; a degree
            of freedom is neither an angle nor, for the root, a position; the
            root is translated or rotated.
    """
    sections = parse.sections(path)
    for section in (":bonedata", ":hierarchy", ":root", ":units"):
        if section not in sections:
            raise ValueError(
                f"Expected an ASF skeleton with a section {section!r}; it may "
                f"be cut short. Received: {path}"
            )
    _check_units(sections[":units"], path)
    parents = _parents(sections[":hierarchy"], path)
    names, rows, offsets, axes = ["root"], [-1], [np.zeros(3)], [np.eye(3)]
    freedom = [_root(sections[":root"], path)]
    for lines in parse.blocks(sections[":bonedata"], path):
        # Further lines of `limits` begin with a bracket.
        bone = parse.keyed(lines, f"a bone in {path}", repeated=("(",))
        name = (bone.get("name") or ["?"])[0]
        where = f"bone {name!r} in {path}"
        if name in names:
            raise ValueError(
                f"Bone {name!r} is described twice in {path}. Keep one of them."
            )
        if (
            not {"length", "direction", "axis"} <= set(bone)
            or len(bone["length"]) != 1
            or parents.get(name) not in names
        ):
            raise ValueError(
                f"Bone {name!r} lacks its length, direction, axis, or a parent "
                "that comes before it (bones must not be parents of "
                f"each other). Received: {path}"
            )
        offsets.append(_offset(bone, where))
        axes.append(_bone_axes(bone["axis"], f"the axis of {where}"))
        rows.append(names.index(parents[name]))
        names.append(name)
        freedom.append(
            _channels(bone.get("dof", []), ("rx", "ry", "rz"), where)
        )
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
        np.array(axes),
        tuple(freedom),
    )


def _keyword(words, degrees, where):
    """Degrees in an angle of the file, after a line of its head.

    Raises:
        ValueError: for an unknown line, since it may change the meaning of the
            numbers.
    """
    key = words[0].lower()
    if key == ":fully-specified":
        return degrees
    if key == ":samples-per-second":
        rate = parse.number("".join(words[1:]), f"{words[0]} in {where}")
        if rate == FRAMES_PER_SECOND:
            return degrees
    unit = {
        ":degrees": 1.0,
        ":deg": 1.0,
        ":radians": np.degrees(1.0),
        ":rad": np.degrees(1.0),
    }.get(key)
    if unit is None or degrees not in (None, unit):
        raise ValueError(
            f"Unexpected line {' '.join(words)!r} in {where}. Expected "
            ":FULLY-SPECIFIED, one of :DEGREES and :RADIANS, and "
            f":SAMPLES-PER-SECOND {FRAMES_PER_SECOND}. Export the motion so."
        )
    return unit


def _read_frames(path, freedom):
    """Numbers of the frames, `{bone: values}` of each, degrees in an angle."""
    frames, numbers, degrees = [], [], None
    for i, words in parse.lines_of(path):
        if words[0].startswith(":"):
            if frames:
                raise ValueError(
                    f"{words[0]} in line {i} of {path} comes after a frame. "
                    "Expected it in the head of the file."
                )
            degrees = _keyword(words, degrees, f"line {i} of {path}")
            continue
        if len(words) == 1 and len(words[0]) < 10 and words[0].isdecimal():
            frames.append({})
            numbers.append(int(words[0]))
            continue
        where = f"frame {numbers[-1] if numbers else '?'} of {path}, line {i}"
        name, values = words[0], words[1:]
        if name not in freedom or not frames:
            raise ValueError(
                f"Unknown bone {name!r} in {where}. Expected the bones of the "
                "skeleton of this subject, after the number of a frame."
            )
        values = [parse.number(v, f"{name!r} in {where}") for v in values]
        if len(values) != freedom[name]:
            raise ValueError(
                f"Expected {freedom[name]} values for {name!r}. Received: "
                f"{len(values)} in {where}; it may be cut short."
            )
        if name in frames[-1]:
            raise ValueError(
                f"Bone {name!r} comes twice in {where}. Get the file again."
            )
        frames[-1][name] = values
    return numbers, frames, degrees


def read_motion(path, skeleton):
    """Reads an AMC file.

    Args:
        path: path of the file.
        skeleton: the `Skeleton` of its subject.

    Returns:
        A dict: name of a bone to its values `(T, degrees of freedom)`; angles
        in degrees, also if the file has `:RADIANS`.

    Raises:
        ValueError: a frame lacks a bone or a value (the file is cut short) or
            has one twice; frames are not consecutive; a bone, a number or a
            line of the head is unknown; or there are not 120 frames per second.
    """
    channels = {
        name: dof
        for name, dof in zip(
            skeleton.names, skeleton.degrees_of_freedom, strict=True
        )
        if dof
    }
    freedom = {name: len(dof) for name, dof in channels.items()}
    numbers, frames, degrees = _read_frames(path, freedom)
    if not frames:
        raise ValueError(
            f"Expected an AMC motion. No frame in {path}. Get the file again."
        )
    for before, after in zip(numbers, numbers[1:], strict=False):
        if after != before + 1:
            raise ValueError(
                f"Frames are not consecutive in {path}: {after} follows "
                f"{before}. Get the file again, or leave this trial out."
            )
    for number, frame in zip(numbers, frames, strict=True):
        missing = [name for name in freedom if name not in frame]
        if missing:
            raise ValueError(
                f"Frame {number} of {path} lacks {missing}; the file may be "
                "cut short."
            )
    scale = 1.0 if degrees is None else degrees
    return {
        name: np.array([frame[name] for frame in frames])
        * [scale if channel[0] == "r" else 1.0 for channel in dof]
        for name, dof in channels.items()
    }


def first_number(path):
    """The number of the first frame of an AMC file, which may not be 1.

    Args:
        path: path of a file that `read_motion` has read.
    """
    return next(
        int(words[0])
        for _, words in parse.lines_of(path)
        if len(words) == 1 and words[0].isdecimal()
    )


def joint_positions(skeleton, motion):
    """Forward kinematics: the end of each bone, in the order of the skeleton.

        R_b = R_parent C_b M_b C_b^-1,    x_b = x_parent + R_b offset_b

    with M_b from the angles of the motion, in the order of the degrees of
    freedom, and C_b the axes of the bone.

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
        turned = np.broadcast_to(np.eye(3), (size, 3, 3))
        shift = np.zeros((size, 3))
        for k, (kind, axis) in enumerate(skeleton.degrees_of_freedom[b]):
            if kind == "r":
                turned = _turn(turned, axis, motion[name][:, k])
            else:
                shift[:, "xyz".index(axis)] = motion[name][:, k]
        axes = skeleton.axes[b]
        local = axes @ turned @ axes.T
        if skeleton.parents[b] < 0:
            rotations[b], positions[:, b] = local, shift
            continue
        parent = skeleton.parents[b]
        rotations[b] = rotations[parent] @ local
        offset = rotations[b] @ skeleton.offsets[b]
        positions[:, b] = positions[:, parent] + offset
    return positions
