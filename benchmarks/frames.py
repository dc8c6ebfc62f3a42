"""How often molecules come near the places where frames are not exact, or jump.

Command   KERAS_BACKEND=torch python benchmarks/frames.py FILE.npz KEY

FILE holds positions `(S, N, 3)` in Angstrom under KEY. Printed for each
wrapper: the largest relative equivariance error over the samples, the share of
samples with undetermined axes, and the share whose frame jumps, an axis turning
round, where each coordinate is changed by noise of 0.01 Angstrom.
"""

import argparse
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from keras import ops

import keras_remul as kr

NOISE = 0.01


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file")
    parser.add_argument("key")
    arguments = parser.parse_args()
    p = np.load(arguments.file, allow_pickle=False)[arguments.key]
    x = {"positions": p.astype("float32")}
    rng = np.random.default_rng(0)
    shaken = {"positions": (p + NOISE * rng.normal(size=p.shape)).astype("f4")}
    symmetry = kr.Symmetry(kr.groups.SO3(), {"positions": "point"}, "point")
    network = kr.models.MessagePassingNetwork(
        num_layers=1, hidden_dim=8, length_unit=2.0
    )
    network({"positions": p[:2]})
    network.set_weights(
        [0.3 * rng.normal(size=w.shape) for w in network.get_weights()]
    )
    for wrapper in (kr.FrameAveraging, kr.Canonicalization):
        model = wrapper(network, symmetry)
        error = kr.evaluate_equivariance(
            model, x, symmetry, num_samples=6, per_sample=True
        )["relative_equivariance_error"]
        before, after = (
            ops.convert_to_numpy(model.frames(data)[0][0])
            for data in (x, shaken)
        )
        jumps = (np.sum(before * after, axis=1) < 0).any(axis=1)
        print(
            f"{wrapper.__name__}: {len(p)} samples, error up to "
            f"{error.max():.1e}, undetermined "
            f"{1 - model.determined(x).mean():.3f}"
            + (
                f", jumps {jumps.mean():.3f}"
                if wrapper is kr.Canonicalization
                else ""
            )
        )


if __name__ == "__main__":
    main()
