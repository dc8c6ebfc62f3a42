"""A small run in a process of its own, which is killed.

`killed_run.py FOLDER COUNT` runs it in folders below, in children of this
process: each is killed after a random time, and the next goes on, until one
comes to the end. It stops after COUNT kills.
"""

import os
import pathlib
import random
import signal
import sys
import time

import keras
import numpy as np

from keras_remul import Symmetry, datasets, groups, models, weighting
from keras_remul.experiments import Recipe


def small_data():
    rng = np.random.default_rng(0)
    x = {
        "positions": rng.normal(size=(8, 4, 3)).astype("float32"),
        "velocities": rng.normal(size=(8, 4, 3)).astype("float32"),
    }
    y = x["positions"] + 0.7 * x["velocities"]
    return dict.fromkeys(("train", "validation", "test"), (x, y))


def recipe(**changes):
    """Three blocks of one epoch, of the model that takes least to compile."""
    return Recipe(
        dataset="nbody_gravity",
        symmetry=symmetry,
        model=lambda: models.LinearNodes(name="network"),
        objective=lambda: dict(weighting=weighting.GradNorm()),
        epochs=3,
        batch_size=4,
        learning_rate=1e-2,
        checkpoint_every=1,
    ).replace(**changes)


def symmetry():
    parts = {"positions": "point", "velocities": "vector"}
    return Symmetry(groups.SO3(), parts, "point")


def run(folder):
    splits = small_data()
    datasets.load_all = lambda *a, **k: splits
    recipe().run(folder, verbose=0)


def killed(folder, seconds):
    """Runs in a child, which is killed after a time; whether it was."""
    child = os.fork()
    if not child:
        status = 1
        try:
            run(folder)
            status = 0
        finally:
            os._exit(status)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return True
    assert os.WEXITSTATUS(status) == 0
    return False


def main():
    folder = pathlib.Path(sys.argv[1])
    run(folder / "first")
    start = time.perf_counter()
    run(folder / "second")
    whole, draw = time.perf_counter() - start, random.Random(0)
    kills, runs = 0, 0
    while kills < int(sys.argv[2]):
        runs += 1
        while killed(folder / str(runs), draw.uniform(0.1, 1.1) * whole):
            kills += 1
            if kills == int(sys.argv[2]):
                run(folder / str(runs))
                break
    print(f"kills: {kills} in {runs} runs")


if __name__ == "__main__":
    keras.utils.set_random_seed(0)
    main()
