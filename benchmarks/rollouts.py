"""Rollouts of walkers of whom the model has seen nobody: errors, bones, a GIF.

    KERAS_BACKEND=jax python benchmarks/rollouts.py RUNS MANUAL --output docs

RUNS holds the finished runs of `recipes/cmu_mocap_walkers.py`, MANUAL the
Acclaim files 35/35.asf, 35/35_01.amc, ... and whatever else preparing
`cmu_mocap/walkers` needs. Starts are 15 frames apart in each test walk. Prints
Markdown.
"""

import argparse
import os
import pathlib
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

import keras_remul as kr
from keras_remul.datasets.cmu_mocap.walkers import WALKS

NAME = "cmu_mocap/walkers"
BONES = kr.visualization.CMU_BONES
STEP = kr.TimeStep(30.0, "moved", 1.0)
STEPS = 8  # of 0.25 s
NAMES = {  # of the runs
    "remul": "REMUL",
    "remul_ridge": "REMUL on ridge",
    "plain_ridge": "plain on ridge",
    "remul_aligned": "REMUL on ridge, aligned",
}


def models(arguments, symmetry):
    """`{name: model}`: those of the runs, regression, uniform motion."""
    data = kr.datasets.load_all(
        NAME, data_dir=arguments.data_dir, manual_dir=arguments.manual
    )
    ridge = kr.ridge.make(symmetry, length_unit=5.0, time_unit=30.0)
    kr.ridge.fit(ridge, data["train"], data["validation"])
    found = {
        name: kr.from_preset(arguments.runs / f"transformer_{key}" / "preset")
        for key, name in NAMES.items()
        if (arguments.runs / f"transformer_{key}" / "preset").exists()
    }
    found["aligned ridge"] = ridge
    found["x + 25 v"] = lambda x: x["positions"] + 25.0 * x["velocities"]
    return found, data["test"][0]


def walks(folder):
    """Windows `(B, 242, 31, 3)` of the test walks."""
    result = []
    for trial, (first, last) in WALKS["test"].items():
        number = trial[:2]
        motion = kr.datasets.read_motion(
            folder / number / f"{trial}.amc", folder / number / f"{number}.asf"
        )
        # The numbers of its frames may begin anywhere; they are those.
        x = motion.positions[-(last - first + 1) :]
        starts = range(0, len(x) - 30 * STEPS - 1, 15)
        result += [x[s : s + 30 * STEPS + 2] for s in starts]
    return np.stack(result)


def start(path):
    return {
        "positions": path[:, 0],
        "velocities": path[:, 1] - path[:, 0],
        "joints": np.tile(np.eye(31, dtype="float32"), (len(path), 1, 1)),
    }


def stretch(path, x):
    """Largest relative change of a bone of 1 unit or more, mean over x."""
    i, j = np.array(BONES).T
    first, later = (
        np.linalg.norm(p[:, i] - p[:, j], axis=-1)
        for p in (x["positions"], path)
    )
    change = np.abs(later / first - 1.0)
    return float(np.where(first > 1.0, change, 0.0).max(axis=1).mean())


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("runs", type=pathlib.Path)
    parser.add_argument("manual", type=pathlib.Path)
    parser.add_argument("--data-dir")
    parser.add_argument("--output", type=pathlib.Path)
    arguments = parser.parse_args()
    o2 = kr.datasets.symmetry("cmu_mocap", kr.groups.O2(axis="y"))
    found, x = models(arguments, o2)
    path = walks(arguments.manual)
    truth = path[:, 30::30][:, :STEPS]
    begin = start(path)
    print(f"{len(path)} starts\n")
    print("| | " + " | ".join(f"{0.25 * k:g} s" for k in (1, 2, 4, 6, 8)))
    kept = {}
    for name, model in found.items():
        free = kr.rollout(model, begin, STEPS, STEP)
        bound = kr.rollout(model, begin, STEPS, STEP, bones=BONES)
        kept[name] = bound
        for label, p in ((name, free), (f"{name}, bones kept", bound)):
            error = np.mean((p - truth) ** 2, axis=(0, 2, 3))
            cells = [f"{error[k - 1]:.3g}" for k in (1, 2, 4, 6, 8)]
            bones = f"{100 * stretch(p[:, -1], begin):.2g} %"
            print("| " + " | ".join([label, *cells, bones]) + " |", flush=True)
    many = {key: np.resize(a, (100, *a.shape[1:])) for key, a in x.items()}
    if "REMUL on ridge" in found:
        clock = time.process_time()
        kr.rollout(found["REMUL on ridge"], many, 240, STEP, bones=BONES)
        print(f"100 rollouts of 240 steps: {time.process_time() - clock:.1f} s")
    if arguments.output:
        draw(arguments.output / "images", kept, truth, begin)


def draw(folder, kept, truth, begin):
    vis = kr.visualization
    times = 0.25 * np.arange(1, STEPS + 1)
    figure = vis.error_growth(kept, truth, times, "seconds")
    figure.savefig(folder / "rollout_errors.png", dpi=80)
    names = [n for n in ("REMUL on ridge", "aligned ridge") if n in kept]
    row = 0
    first = begin["positions"][row : row + 1]
    paths = {"recorded": np.concatenate([first, truth[row]])}
    for name in names:
        paths[name] = np.concatenate([first, kept[name][row]])
    vis.animation(
        paths, folder / "walk.gif", BONES, "y", seconds=0.25, between=5, dpi=70
    )
    figure = vis.skeleton(paths, BONES)
    figure.savefig(folder / "walk_poses.png", dpi=60)


if __name__ == "__main__":
    main()
