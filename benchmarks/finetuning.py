"""Learning curves: a pretrained potential against training from nothing.

    OMP_NUM_THREADS=1 KERAS_BACKEND=jax taskset -c 0 python \
        benchmarks/finetuning.py PRESET --data dft_acac dft_ethanol dft_3bpa

The preset gets the reference energies of the data, by least squares, and is
trained on; the other is the same network with new weights. Both see the same
samples, moved by the same random turns, 10 in each step, for the same number of
steps, at the learning rate of `--rates` with the smaller validation error of
forces for the smallest number of samples of the first data set. One line for
each run in the CSV file; runs that are there are not repeated.

Root mean square errors of total energies in meV and of forces in meV/Angstrom
on test data; the standard deviation of an energy over rotations; CPU time of
training in seconds, with compilation.
"""

import argparse
import time

import keras
import numpy as np
from potentials import ROWS, Table, fit, measure, rmse

import keras_remul as kr

ARMS = ("fine-tuned", "from nothing")


def run(preset, arm, data, samples, steps, rate, seed):
    """A row: the figures of one training."""
    keras.utils.set_random_seed(seed)
    potential = kr.from_preset(preset)
    x, y = data["train"]
    chosen = np.random.default_rng(seed).permutation(len(x["positions"]))
    x, y = (
        {key: value[chosen[:samples]] for key, value in part.items()}
        for part in (x, y)
    )
    start = time.process_time()
    if arm == "from nothing":
        config = keras.saving.serialize_keras_object(potential)
        config["config"]["references"] = None
        potential = keras.saving.deserialize_keras_object(config)
        potential.adapt(x, y)
    else:
        potential.adapt_references(x, y)
    model = kr.RemulModel(
        potential,
        potential.make_symmetry(x),
        kr.weighting.Constant(beta=0.0),
        augment=True,
        seed=seed,
    )
    fit(model, x, y, steps, ROWS, rate, seed)
    seconds = time.process_time() - start
    x, y = data["validation"]
    found = potential.predict(x, batch_size=50, verbose=0)
    return {
        "validation forces": rmse(found["forces"] - y["forces"]),
        **measure(potential, data),
        "CPU s": seconds,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("preset")
    parser.add_argument("--data", nargs="+", default=["dft_acac"])
    parser.add_argument("--samples", type=int, nargs="+", default=[50, 200])
    parser.add_argument("--arms", nargs="+", default=ARMS, choices=ARMS)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument(
        "--rates", type=float, nargs="+", default=[2e-3, 1e-3, 5e-4]
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--data-dir", default=None)
    parser.add_argument("--output", default="finetuning.csv")
    arguments = parser.parse_args()
    table = Table(arguments.output)
    loaded = {
        name: kr.datasets.load_all(name, data_dir=arguments.data_dir)
        for name in arguments.data
    }

    def row(arm, name, samples, rate, seed):
        keys = dict(data=name, arm=arm, samples=samples, rate=f"{rate:g}")
        keys |= dict(steps=arguments.steps, seed=seed)
        found = table.find(**keys)
        if found is None:
            figures = run(
                arguments.preset,
                arm,
                loaded[name],
                samples,
                arguments.steps,
                rate,
                seed,
            )
            found = table.add(**keys, **figures)
        return found

    for arm in arguments.arms:
        first = [
            row(arm, arguments.data[0], min(arguments.samples), rate, 0)
            for rate in arguments.rates
        ]
        best = min(first, key=lambda one: float(one["validation forces"]))
        for name in arguments.data:
            for samples in arguments.samples:
                for seed in arguments.seeds:
                    row(arm, name, samples, float(best["rate"]), seed)


if __name__ == "__main__":
    main()
