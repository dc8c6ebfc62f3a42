"""What lower precision costs a trained preset: test error and equivariance.

    KERAS_BACKEND=torch python benchmarks/precision.py my_preset

Loads a preset that was trained on `nbody_charged`, gives its weights to copies
of lower precision, and measures each on test systems: squared error of the
positions, relative equivariance error under O(3), how far the output moved, as
a share of the displacement, and bytes of the weights.
"""

import argparse
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from keras import ops

import keras_remul as kr

POLICIES = (
    "float32",
    "mixed_float16",
    "float16",
    "mixed_bfloat16",
    "bfloat16",
    "int8",
)


def copy(model, policy, x):
    """The model in this precision."""
    dtype = "float32" if policy == "int8" else policy
    result = type(model).from_config({**model.get_config(), "dtype": dtype})
    result.build({key: a.shape for key, a in x.items()})
    result.set_weights(model.get_weights())
    if policy == "int8":
        result.quantize("int8")
    return result


def size(model):
    """Bytes of the weights."""
    return sum(
        int(np.prod(v.shape)) * {"float32": 4, "int8": 1}.get(str(v.dtype), 2)
        for v in model.weights
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("presets", nargs="+")
    parser.add_argument("--systems", type=int, default=500)
    parser.add_argument("--samples", type=int, default=4)
    arguments = parser.parse_args()
    [(x, y)] = kr.datasets.load("nbody_charged", split=["test"], verbose=0)
    n = arguments.systems
    x, y = {key: a[:n] for key, a in x.items()}, y[:n]
    symmetry = kr.datasets.symmetry("nbody_charged")
    print(f"{keras.backend.backend()}, {n} test systems")
    print("preset\tweights\tkB\tMSE\tequivariance error\tmoved")
    for preset in arguments.presets:
        model = kr.from_preset(preset)
        exact = model.predict(x, verbose=0)
        span = np.linalg.norm(exact - x["positions"])
        for policy in POLICIES:
            model_p = copy(model, policy, x)
            output = ops.convert_to_numpy(model_p.predict(x, verbose=0))
            output = output.astype("float32")
            error = kr.evaluate_equivariance(
                model_p,
                x,
                symmetry,
                num_samples=arguments.samples,
                origin=x["positions"],
            )["relative_equivariance_error"]
            mse = np.mean((output - y) ** 2)
            moved = np.linalg.norm(output - exact) / span
            print(
                f"{preset}\t{policy}\t{size(model_p) / 1e3:.0f}\t{mse:.6f}"
                f"\t{error:.5f}\t{100 * moved:.3f} %",
                flush=True,
            )


if __name__ == "__main__":
    main()
