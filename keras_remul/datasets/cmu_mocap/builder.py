"""The TFDS builder `cmu_mocap`."""

import dataclasses
import json
import pathlib

import numpy as np
import tensorflow_datasets as tfds

from keras_remul.datasets import archives
from keras_remul.datasets.builder import ArrayBuilder
from keras_remul.datasets.cmu_mocap.acclaim import (
    joint_positions,
    read_motion,
    read_skeleton,
)
from keras_remul.datasets.cmu_mocap.walkers import (
    WALKERS_FILE,
    WALKS,
    WalkersConfig,
    read_walks,
    walks_of,
)
from keras_remul.utils import npz
from keras_remul.utils.validation import check_count

URL = "https://mocap.cs.cmu.edu/subjects"
LARGEST = 2**26  # bytes of a file of the data base
NUM_JOINTS = 31
# Starts of the windows that walk_35 keeps, {split: {trial: [...]}}.
WALK_35 = json.loads(
    pathlib.Path(__file__).with_name("walk_35.json").read_text()
)

RUN_09_FILE = "cmu09_run.npz"
RUN_09_STARTS = {"train": 40, "validation": 80, "test": 80}


@dataclasses.dataclass(kw_only=True)
class CmuMocapConfig(tfds.core.BuilderConfig):
    """Which trials of a subject make each split.

    Args:
        subject: number of the subject.
        train, validation, test: numbers of the trials of each split; or a dict
            from these to lists of first frames.
        windows: number of windows drawn from each trial, without repetition, if
            the first frames are not given; from shorter trials all windows are
            used.
        horizon: frames from input to target. Defaults to 30, that is 0.25 s.
        seed: the windows of a trial are drawn from
            `default_rng([seed, subject, trial])`.
    """

    subject: int
    train: tuple | dict = ()
    validation: tuple | dict = ()
    test: tuple | dict = ()
    windows: int = 100
    horizon: int = 30
    seed: int = 0

    def __post_init__(self):
        for key in ("windows", "horizon"):
            check_count(key, getattr(self, key))

    def starts(self, split, trial, length):
        """First frames of the windows of a trial of `length` frames."""
        trials = getattr(self, split)
        room = length - self.horizon
        if isinstance(trials, dict):
            starts = first_frames(
                np.asarray(trials[trial]),
                f"argument `{split}`, trial {trial}",
            )
        elif room > 0:
            rng = np.random.default_rng([self.seed, self.subject, trial])
            starts = rng.permutation(room)[: self.windows]
        if room <= 0 or starts.max() >= room:
            raise ValueError(
                f"Trial {trial} of subject {self.subject} has {length} frames, "
                f"too few for windows of {self.horizon + 1} frames. It may be "
                "cut short."
            )
        return starts


def first_frames(starts, where):
    """Checks `starts`: one or more integers of at least 0.

    Raises:
        ValueError: they are not.
    """
    if starts.dtype.kind not in "iu" or not starts.size or starts.min() < 0:
        raise ValueError(
            f"Expected integers of at least 0 as first frames in {where}. "
            f"Received: {starts.tolist()}"
        )
    return starts.astype("int64")


def check_apart(places, where):
    """Raises ValueError where two splits have a window in common.

    Args:
        places: `{split: [(trial, first frame), ...]}`.
        where: the file or the configuration that the windows are from.
    """
    owner = {}
    for split, windows in places.items():
        for trial, start in windows:
            other = owner.setdefault((trial, start), split)
            if other != split:
                raise ValueError(
                    f"The window of trial {trial} at frame {start} is in the "
                    f"splits {other!r} and {split!r} of {where}. Give each "
                    "split trials or first frames of its own."
                )


def windows(positions, starts, horizon):
    """Input and target at the first frames `starts` of `(T, J, 3)`."""
    x = positions[starts]
    joints = x.shape[1]
    return {
        "positions": x,
        "velocities": positions[starts + 1] - x,
        "joints": np.broadcast_to(np.eye(joints), (len(x), joints, joints)),
        "targets": positions[starts + horizon],
    }


def read_run_09(path, horizon):
    """The official split of subject 9 from its npz file.

    Args:
        path: file with the arrays `X (F, 31, 3)`, all trials one after another,
            `length (C,)`, the frames of each trial, and for each split
            `<split>_case (K,)`, its trials, and `<split>_start (K, W)`, the
            first frames of windows, counted from the start of the trial.
        horizon: frames from input to target.

    Raises:
        ValueError: arrays are missing, hold no numbers or do not fit together;
            or a window is not within its trial, or is in two splits.
    """
    names = {"train": "train", "validation": "val", "test": "test"}
    wanted = ["X", "length"] + [
        f"{name}_{key}" for name in names.values() for key in ("case", "start")
    ]
    data = npz.read_npz(path, wanted)
    x, length = data["X"], data["length"]
    archives.check_array(path, "X", x, "f", (None, NUM_JOINTS, 3))
    archives.check_array(path, "length", length, "iu", (None,))
    if length.min() < 1 or length.sum() != len(x):
        raise ValueError(
            f"Expected `X` of shape (sum of `length`, {NUM_JOINTS}, 3) in "
            f"{path}. Received: {x.shape}, lengths {length.tolist()}"
        )
    length = length.astype("int64")
    first = np.cumsum(length) - length
    arrays, places = {}, {}
    for split, name in names.items():
        case, start = data[f"{name}_case"], data[f"{name}_start"]
        count = RUN_09_STARTS[split]
        archives.check_array(path, f"{name}_case", case, "iu", (None,))
        archives.check_array(
            path, f"{name}_start", start, "iu", (len(case), None)
        )
        if case.min() < 0 or case.max() >= len(length):
            raise ValueError(
                f"{name}_case must name trials 0 to {len(length) - 1} in "
                f"{path}. Received: {case.tolist()}"
            )
        if start.shape[1] < count:
            raise ValueError(
                f"{name}_start must have {count} first frames of each trial in "
                f"{path}. Received: {start.shape}"
            )
        where = f"{name}_start in {path}"
        case, start = case.astype("int64"), first_frames(start, where)
        start = start[:, :count]
        room = (length[case] - horizon)[:, None]
        if (start >= room).any():
            row = int(np.argmax((start >= room).any(axis=1)))
            raise ValueError(
                f"{where}: windows of {horizon + 1} frames must lie within "
                f"their trial. Trial {case[row]} has {length[case[row]]} "
                f"frames. Received: a start at frame {start[row].max()}. Get "
                "the file again."
            )
        places[split] = [
            (int(trial), int(frame))
            for trial, frames in zip(case, start, strict=True)
            for frame in frames
        ]
        starts = (start + first[case][:, None]).ravel()
        arrays[split] = windows(x, starts, horizon)
    check_apart(places, path)
    return arrays


class CmuMocap(ArrayBuilder):
    """Human motion, from the Acclaim files of the CMU data base."""

    DESCRIPTION = """
Human motion capture at 120 Hz: predict where 31 joints are 30 frames (0.25 s)
later.

Inputs are the positions x_t of the joints, their velocities x_{t+1} - x_t (per
frame) and the number of the joint as a one-hot vector; targets are x_{t+30}.
y points up; rotations about y and horizontal shifts are approximate symmetries
(the subject walks mostly one way through one room), other rotations are not:
there is gravity. Splits are by trial.

`run_09`: subject 9 runs, 200 / 240 / 240 windows, the split of the published
comparisons (GMN, EGNO), read from the file `cmu09_run.npz` in the folder of
manual downloads. `walk_35`: subject 35 walks, 200 / 500 / 500 windows of 18
trials; a split of our own, computed from the ASF and AMC files. Any other
subject: pass a `CmuMocapConfig` as `config`. `walkers`: 50 walks of 8 people,
split by person: 2, 6, 7, 8 and 16 for training, 5 and 10 for validation, 35 for
the test; 200 windows of each walk. Other people: a `WalkersConfig`.
"""
    CITATION = """
@misc{cmumocap,
  title={CMU Graphics Lab Motion Capture Database},
  author={{Carnegie Mellon University}},
  url={http://mocap.cs.cmu.edu},
  note={The data used in this project was obtained from mocap.cs.cmu.edu. The
        database was created with funding from NSF EIA-0196217.}
}
"""
    HOMEPAGE = "http://mocap.cs.cmu.edu"
    LICENSE = (
        "Free for all uses, with acknowledgement (see the citation); the data "
        "themselves must not be resold."
    )
    LIMITS = """
Other skeletons, frame rates or units than these, other activities, and people
who are tilted: the model knows turns about the vertical only. Of the
configurations of one person (`run_09`, `walk_35`), other people, too. Several
steps in a row: see the rollouts in the guide "Motion".
"""
    UNITS = {
        "positions, targets": "ASF units, 0.45 of them are one inch",
        "velocities": "ASF units per frame of 1/120 s",
        "joints": "one-hot",
    }
    MANUAL_DOWNLOAD_INSTRUCTIONS = f"""
`run_09` needs {RUN_09_FILE}: arrays X [frames, 31, 3] (all trials, one after
another), length [trials], and {{train,val,test}}_case and _start. Other
configurations download their files from {URL}; where that fails, put them
here, as 35/35.asf, 35/35_01.amc, ... `walkers` also takes walks from a file
{WALKERS_FILE} there: X [frames, 31, 3] (all walks, one after another), trial
("02_01"), length, first_frame and last_frame [walks].
"""
    BUILDER_CONFIGS = [
        CmuMocapConfig(
            name="run_09",
            description="Subject 9 runs: 200 / 240 / 240, the usual split.",
            subject=9,
        ),
        CmuMocapConfig(
            name="walk_35",
            description="Subject 35 walks: 200 / 500 / 500, split by trial.",
            subject=35,
            **{
                split: {int(trial): starts for trial, starts in trials.items()}
                for split, trials in WALK_35.items()
            },
        ),
        WalkersConfig(
            name="walkers",
            description="Walks of 8 people, split by person.",
            **WALKS,
        ),
    ]

    def _shapes(self):
        vectors = (NUM_JOINTS, 3)
        return {
            "positions": vectors,
            "velocities": vectors,
            "joints": (NUM_JOINTS, NUM_JOINTS),
            "targets": vectors,
        }

    def _arrays(self, dl_manager):
        config = self.builder_config
        if config.name == "run_09":
            path = self.manual_file(dl_manager, RUN_09_FILE)
            return read_run_09(path, config.horizon)
        if isinstance(config, WalkersConfig):
            return self._walkers(dl_manager, config)
        splits = {split: list(getattr(config, split)) for split in self.SPLITS}
        subject = f"{config.subject:02}"
        skeleton_name = f"{subject}/{subject}.asf"
        names = {
            trial: f"{subject}/{subject}_{trial:02}.amc"
            for trials in splits.values()
            for trial in trials
        }
        wanted = [skeleton_name, *names.values()]
        paths = self.files(dl_manager, wanted, URL, LARGEST)
        skeleton = read_skeleton(paths[skeleton_name])
        arrays, places = {}, {}
        for split, trials in splits.items():
            parts = []
            for trial in trials:
                motion = read_motion(paths[names[trial]], skeleton)
                x = joint_positions(skeleton, motion)
                starts = config.starts(split, trial, len(x))
                parts.append(windows(x, starts, config.horizon))
                places.setdefault(split, []).extend(
                    (trial, int(start)) for start in starts
                )
            arrays[split] = _joined(parts, split, config, "trials")
        check_apart(places, f"the configuration {config.name!r}")
        return arrays

    def _walkers(self, dl_manager, config):
        path, known = self.manual_path(dl_manager, WALKERS_FILE), {}
        if path.exists():
            known = read_walks(path, NUM_JOINTS)

        def fetch(names):
            return self.files(dl_manager, names, URL, LARGEST)

        arrays = {}
        for split in self.SPLITS:
            walks = walks_of(getattr(config, split), known, fetch)
            parts = [
                windows(x, config.starts(trial, len(x)), config.horizon)
                for trial, x in walks.items()
            ]
            arrays[split] = _joined(parts, split, config, "walks")
        return arrays


def _joined(parts, split, config, what):
    """Windows of several recordings as one dict of arrays."""
    if not parts:
        raise ValueError(
            f"Split {split!r} of the configuration {config.name!r} has no "
            f"{what}."
        )
    return {
        key: np.concatenate([part[key] for part in parts]) for key in parts[0]
    }
