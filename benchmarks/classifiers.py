"""Ways to teach a classifier of images the symmetry of the square, on digits.

    OMP_NUM_THREADS=1 KERAS_BACKEND=jax python benchmarks/classifiers.py

scikit-learn's 1,797 images of handwritten digits, 8 x 8 pixels (`pip install
scikit-learn`): 700 for training, the others for tests, drawn again for each
seed. A small convolutional network, trained upright, on images moved by
Dihedral(4) (quarter turns and mirror images), and with REMUL. Each step takes
the same number of images through the network: 64, of which REMUL moves half.
Each is also averaged over the 8 elements. With all ten digits, and without the
nines, which are sixes upside down: there the labels break the symmetry less.

One line for each in the CSV file; runs that are there are not repeated.
"""

import argparse
import csv
import itertools
import pathlib
import time

import keras
import numpy as np
from sklearn.datasets import load_digits

import keras_remul as kr

IMAGES = 64  # through the network in each step
TRAINING = 700
ARMS = {
    "plain": dict(beta=0.0),
    "augmented": dict(beta=0.0, augment=True),
    "REMUL": dict(beta=1.0),
    "REMUL, beta = 0.5": dict(beta=0.5),
    "REMUL, predictions": dict(beta=1.0, augment=True, target="predictions"),
}
SYMMETRY = kr.Symmetry(kr.groups.Dihedral(4), "image", "scalar")


def network():
    """A small network that gives logits."""
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(32, 3, padding="same", activation="relu"),
            layers.Conv2D(64, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(64, 3, padding="same", activation="relu"),
            layers.Flatten(),
            layers.Dropout(0.3),
            layers.Dense(10),
        ]
    )


def split(seed, digits):
    """Images and labels for training and for tests."""
    x, y = load_digits(n_class=digits, return_X_y=True)
    order = np.random.default_rng(seed).permutation(len(x))
    x = (x.reshape(-1, 8, 8, 1) / 16).astype("float32")[order]
    y = y[order]
    return (x[:TRAINING], y[:TRAINING]), (x[TRAINING:], y[TRAINING:])


def train(data, steps, seed, **remul):
    """A network after `steps` of the optimizer, and the CPU time."""
    keras.utils.set_random_seed(seed)
    model = network()
    doubled = remul["beta"] > 0
    weighting = kr.weighting.Constant(beta=remul.pop("beta"))
    trained = kr.RemulModel(model, SYMMETRY, weighting, seed=seed, **remul)
    trained.compile(
        keras.optimizers.Adam(
            keras.optimizers.schedules.CosineDecay(2e-3, steps)
        ),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    x, y = data
    batch = IMAGES // 2 if doubled else IMAGES
    start = time.process_time()
    epochs = round(steps * batch / len(x))
    trained.fit(x, y, batch_size=batch, epochs=epochs, verbose=0)
    return model, time.process_time() - start


def measure(model, x, y):
    """Shares of images, in percent."""
    figures = kr.evaluate_classifier(model, x, SYMMETRY, y, num_samples=8)
    return {
        key: f"{100 * figures[key]:.2f}"
        for key in ("accuracy", "moved_accuracy", "agreement")
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument(
        "--output",
        type=pathlib.Path,
        default=pathlib.Path(__file__).with_suffix(".csv"),
    )
    arguments = parser.parse_args()
    done = []
    if arguments.output.exists():
        done = list(csv.DictReader(arguments.output.open()))
    for seed, digits, arm in itertools.product(arguments.seeds, (10, 9), ARMS):
        key = {"digits": str(digits), "seed": str(seed), "arm": arm}
        if any(key.items() <= row.items() for row in done):
            continue
        training, test = split(seed, digits)
        model, seconds = train(training, arguments.steps, seed, **ARMS[arm])
        average = kr.symmetrize(model, SYMMETRY)
        for name, f in ((arm, model), (f"{arm}, averaged", average)):
            row = {**key, "arm": name, "steps": arguments.steps}
            row |= measure(f, *test) | {"cpu_s": f"{seconds:.1f}"}
            done.append(row)
            print(row, flush=True)
        with arguments.output.open("w", newline="") as file:
            writer = csv.DictWriter(file, row, lineterminator="\n")
            writer.writeheader()
            writer.writerows(done)


if __name__ == "__main__":
    main()
