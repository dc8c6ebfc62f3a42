"""Walks of many people, split by person."""

import dataclasses
import json
import pathlib

import numpy as np
import tensorflow_datasets as tfds

from keras_remul.datasets import archives
from keras_remul.datasets.cmu_mocap.acclaim import (
    first_number,
    joint_positions,
    read_motion,
    read_skeleton,
)
from keras_remul.utils import npz
from keras_remul.utils.validation import check_count

WALKERS_FILE = "cmu_walks_7_subjects.npz"
# `{split: {trial: [first frame, last frame]}}`.
WALKS = json.loads(pathlib.Path(__file__).with_name("walkers.json").read_text())


@dataclasses.dataclass(kw_only=True)
class WalkersConfig(tfds.core.BuilderConfig):
    """Which walks of which subjects make each split.

    Args:
        train, validation, test: dicts from names of trials, `"02_01"` for trial
            1 of subject 2, to the first and the last frame that are used, by
            the numbers in the AMC file. No subject may be in two splits.
        windows: number of windows drawn from each walk, without repetition;
            from shorter walks all are used.
        horizon: frames from input to target. Defaults to 30, that is 0.25 s.
        seed: the windows of trial t of subject s are drawn from
            `default_rng([seed, s, t])`.

    Raises:
        ValueError: a subject is in two splits, or a number is not positive.
    """

    train: dict
    validation: dict
    test: dict
    windows: int = 200
    horizon: int = 30
    seed: int = 0

    def __post_init__(self):
        for key in ("windows", "horizon"):
            check_count(key, getattr(self, key))
        owner = {}
        for split in ("train", "validation", "test"):
            for trial in getattr(self, split):
                subject = trial.partition("_")[0]
                if owner.setdefault(subject, split) != split:
                    raise ValueError(
                        f"Subject {subject} is in the splits "
                        f"{owner[subject]!r} and {split!r}. Expected each "
                        "subject in one of them."
                    )

    def starts(self, trial, length):
        """First frames of the windows of a walk of `length` frames."""
        room = length - self.horizon
        if room <= 0:
            raise ValueError(
                f"The walk {trial} has {length} frames, too few for windows of "
                f"{self.horizon + 1} frames."
            )
        subject, _, number = trial.partition("_")
        rng = np.random.default_rng([self.seed, int(subject), int(number)])
        return rng.permutation(room)[: self.windows]


def read_walks(path, joints):
    """Walks that somebody has computed, from an npz file.

    Args:
        path: file with the arrays `X (F, J, 3)`, all walks one after another,
            and for each walk `trial`, its name, `length`, its number of frames,
            and `first_frame` and `last_frame`, by the numbers in its AMC file.
        joints: J.

    Returns:
        `{(trial, first frame, last frame): positions (T, J, 3)}`.

    Raises:
        ValueError: arrays are missing, or do not fit together.
    """
    keys = ["X", "trial", "length", "first_frame", "last_frame"]
    data = npz.read_npz(path, keys)
    archives.check_array(path, "X", data["X"], "f", (None, joints, 3))
    count = (len(data["trial"]),)
    for key in keys[2:]:
        archives.check_array(path, key, data[key], "iu", count)
    length, first, last = (data[key].astype("int64") for key in keys[2:])
    if (
        data["trial"].dtype.kind != "U"
        or length.sum() != len(data["X"])
        or (length != last - first + 1).any()
        or (length < 1).any()
    ):
        raise ValueError(
            f"Expected walks of `length` last_frame - first_frame + 1, which "
            f"are those of `X` in all, and names in `trial`, in {path}. Get "
            "the file again."
        )
    ends = np.cumsum(length)
    return {
        (str(trial), int(a), int(b)): data["X"][end - n : end]
        for trial, a, b, end, n in zip(
            data["trial"], first, last, ends, length, strict=True
        )
    }


def walks_of(trials, known, fetch):
    """Positions of the joints in each walk.

    Args:
        trials: `{trial: (first frame, last frame)}`.
        known: what `read_walks` returned, or {}.
        fetch: function from names of Acclaim files to a dict of their paths.

    Returns:
        `{trial: positions (T, J, 3)}`.

    Raises:
        ValueError: a file has no such frames, or is damaged.
    """
    missing = [t for t, (a, b) in trials.items() if (t, a, b) not in known]
    skeletons = {t: f"{t[:2]}/{t[:2]}.asf" for t in missing}
    motions = {t: f"{t[:2]}/{t}.amc" for t in missing}
    paths = fetch(sorted({*skeletons.values(), *motions.values()}))
    found = {}
    for trial, (first, last) in trials.items():
        if trial not in motions:
            found[trial] = known[trial, first, last]
            continue
        skeleton = read_skeleton(paths[skeletons[trial]])
        motion = read_motion(paths[motions[trial]], skeleton)
        x = joint_positions(skeleton, motion)
        begin = first_number(paths[motions[trial]])
        if not begin <= first <= last < begin + len(x):
            raise ValueError(
                f"Expected the frames {first} to {last} of {trial}. Received: "
                f"frames {begin} to {begin + len(x) - 1} in "
                f"{paths[motions[trial]]}. Get it again."
            )
        found[trial] = x[first - begin : last + 1 - begin]
    return found
