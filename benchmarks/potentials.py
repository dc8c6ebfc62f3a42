"""Ways to learn the symmetry of a potential, at equal cost, on acetylacetone.

    OMP_NUM_THREADS=1 KERAS_BACKEND=jax taskset -c 0 python \
        benchmarks/potentials.py --seeds 0 1 2

A `PointEdgeTransformer` with the forces of its energy, trained on `dft_acac`
with no symmetry, on moved data, with REMUL (labels, or predictions), or with
the net torque in the loss; and `EGNN` and `VectorTransformer`, which are exact.
Those have the same cut-off, and Adam with squared errors: with absolute errors
they stay long where all forces are near zero.
Each step takes the same number of samples through the network: 10, of which
REMUL moves half. One line for each run in the CSV file; runs that are there are
not repeated.

RMSE of energies in meV and of forces in meV/Angstrom at 300 and 600 K; the
standard deviation of an energy over rotations, root mean square over samples;
CPU time of training in seconds, with compilation.
"""

import argparse
import csv
import io
import pathlib
import time

import keras
import numpy as np
from scipy.spatial.transform import Rotation

import keras_remul as kr
from keras_remul.utils import atomic

ROWS = 10  # samples through the network in each step
RATE, RATE_OF_ADAM = 2e-3, 5e-3
ARMS = {
    "none": dict(),
    "augmentation": dict(augment=True),
    "REMUL, labels": dict(beta=1.0),
    "REMUL, predictions": dict(beta=1.0, augment=True, target="predictions"),
    "torque": dict(augment=True, torque_weight=0.01),
    "EGNN": dict(exact="EGNN"),
    "VectorTransformer": dict(exact="VectorTransformer"),
}
TESTS = {"300K": "test", "600K": "test_600K", "1200K": "test_1200K"}


def network(exact):
    """The network and the elements that it is told of."""
    if exact:
        net = getattr(kr.models, exact)
        net = net(num_layers=3, hidden_dim=64, cutoff=5.0, readout="nodes")
        return net, [1, 6, 8]
    net = kr.models.PointEdgeTransformer.variant("small", readout="nodes")
    return net, None


def train(data, steps, seed, exact=None, beta=0.0, torque_weight=0.0, **remul):
    """A potential after `steps` of the optimizer, and the CPU time."""
    keras.utils.set_random_seed(seed)
    net, elements = network(exact)
    potential = kr.models.Potential(
        net, elements=elements, torque_weight=torque_weight
    )
    x, y = data["train"]
    start = time.process_time()
    potential.adapt(x, y)
    model = kr.RemulModel(
        potential,
        potential.make_symmetry(x),
        kr.weighting.Constant(beta=beta),
        seed=seed,
        **remul,
    )
    fit(model, x, y, steps, ROWS // 2 if beta else ROWS, RATE, seed, exact)
    return potential, time.process_time() - start


def fit(model, x, y, steps, batch, rate, seed, exact=None):
    """Trains a `RemulModel` around a `Potential`, from labels y."""
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0,
        steps,
        warmup_target=RATE_OF_ADAM if exact else rate,
        warmup_steps=steps // 20,
    )
    optimizer = keras.optimizers.Muon(
        schedule,
        adam_lr_ratio=0.5,
        exclude_layers=["head"],
        weight_decay=0.0,
        adam_weight_decay=0.0,
        global_clipnorm=1.0,
    )
    if exact:
        optimizer = keras.optimizers.Adam(schedule, global_clipnorm=10.0)
    kind, weight = ("mse", 100.0) if exact else ("mae", 10.0)
    model.compile(
        optimizer,
        loss={"energy_per_atom": kind, "forces": kind},
        loss_weights={"energy_per_atom": weight, "forces": 1.0},
    )
    # Whole batches: one of another size would be compiled on its own.
    rng, count = np.random.default_rng(seed), len(x["positions"])
    order = [rng.permutation(count) for _ in range(1 + steps * batch // count)]
    order = np.concatenate(order)[: steps * batch]
    x, y = (
        {key: value[order] for key, value in part.items()}
        for part in (x, model.model.targets(x, y))
    )
    model.fit(x, y, batch_size=batch, shuffle=False, verbose=2)


def rmse(error):
    return 1000 * float(np.sqrt(np.mean(np.square(error))))


def measure(potential, data):
    row = {}
    for name, split in TESTS.items():
        if split not in data:
            continue
        x, y = data[split]
        found = potential.predict(x, batch_size=50, verbose=0)
        error = potential.total_energy(x, found) - y["energy"]
        row[f"energy {name}"] = rmse(error)
        row[f"forces {name}"] = rmse(found["forces"] - y["forces"])
    x = {key: value[:50] for key, value in data["test"][0].items()}
    turned = [
        potential.predict(
            {**x, "positions": (x["positions"] @ turn.T).astype("float32")},
            batch_size=50,
            verbose=0,
        )["energy"]
        for turn in Rotation.random(20, random_state=0).as_matrix()
    ]
    row["spread of energy"] = rmse(np.std(turned, axis=0))
    return row


class Table:
    """Rows of figures in a CSV file, each found by its first columns."""

    def __init__(self, path):
        self.path, self.rows = pathlib.Path(path), []
        if self.path.exists():
            with self.path.open(newline="") as file:
                self.rows = list(csv.DictReader(file))

    def find(self, **keys):
        """The row with these entries, or None."""
        for row in self.rows:
            if all(row[key] == str(value) for key, value in keys.items()):
                return row
        return None

    def add(self, **row):
        """Writes a further row."""
        row = {
            key: f"{value:.4g}" if isinstance(value, float) else str(value)
            for key, value in row.items()
        }
        self.rows.append(row)
        print(row, flush=True)
        text = io.StringIO()
        heads = dict.fromkeys(key for row in self.rows for key in row)
        writer = csv.DictWriter(text, list(heads))
        writer.writeheader()
        writer.writerows(self.rows)
        with atomic.replacing(self.path) as file:
            file.write(text.getvalue().encode())
        return row


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--arms", nargs="+", default=list(ARMS), choices=ARMS)
    parser.add_argument("--manual-dir", default=None)
    parser.add_argument("--data-dir", default=None)
    parser.add_argument("--output", default="potentials.csv")
    arguments = parser.parse_args()
    table = Table(arguments.output)
    data = kr.datasets.load_all(
        "dft_acac",
        data_dir=arguments.data_dir,
        manual_dir=arguments.manual_dir,
    )
    for seed in arguments.seeds:
        for arm in arguments.arms:
            key = dict(arm=arm, steps=arguments.steps, seed=seed)
            if table.find(**key):
                continue
            potential, seconds = train(data, arguments.steps, seed, **ARMS[arm])
            figures = measure(potential, data)
            table.add(**key, **figures, **{"CPU s": seconds})


if __name__ == "__main__":
    main()
