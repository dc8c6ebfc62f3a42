"""Averages of presets over O(3), and over O(3) and charge conjugation.

    OMP_NUM_THREADS=1 KERAS_BACKEND=jax python benchmarks/averages.py

For each preset on `nbody_charged`: its error on test systems alone and averaged
by `symmetrize`, with paired bootstrap intervals; and how much the average
varies with the seed of its elements: even ones, h g with h in a fixed set,
against as many random ones, whose variance is the orbit variance divided by
their number.
"""

import argparse

import numpy as np

import keras_remul as kr
from keras_remul.evaluation import standard_error
from keras_remul.presets.evaluate import squared_errors

SEEDS = 5
CHARGES = {"space": kr.groups.O3(), "charges": kr.groups.Negation()}
GROUPS = {
    "O(3)": (kr.groups.O3(), (24, 48, 120)),
    "O(3) x C": (kr.groups.Product(CHARGES), (24, 48, 96)),
}


def line(name, errors):
    print(
        f"{name}: {errors.mean():.5f}, standard error "
        f"{standard_error(errors):.5f}, median {np.median(errors):.6f}",
        flush=True,
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("presets", nargs="+")
    parser.add_argument("--dataset", default="nbody_charged")
    parser.add_argument("--samples", type=int, default=600, help="of variances")
    parser.add_argument("--data-dir")
    arguments = parser.parse_args()
    x, y = kr.datasets.load(
        arguments.dataset, "test", data_dir=arguments.data_dir
    )
    few = {key: a[: arguments.samples] for key, a in x.items()}
    for name in arguments.presets:
        model = kr.from_preset(name)
        alone = squared_errors(model, x, y)
        line(name, alone)
        for words, (group, counts) in GROUPS.items():
            symmetry = kr.datasets.symmetry("nbody_charged", group)
            averaged = kr.symmetrize(model, symmetry)
            errors = squared_errors(averaged, x, y)
            line(f"{name}, mean of 24 over {words}", errors)
            found = kr.compare_errors(errors, alone)
            print(
                f"  ratio {found['ratio']:.3f}, {found['ratio_low']:.3f} .. "
                f"{found['ratio_high']:.3f}"
            )
            orbit = kr.evaluate_equivariance(
                model, few, symmetry, num_samples=40
            )["orbit_variance"]
            for count in counts:
                means = [
                    kr.symmetrize(model, symmetry, count, seed).predict(
                        few, batch_size=50, verbose=0
                    )
                    for seed in range(SEEDS)
                ]
                variance = np.var(means, axis=0, ddof=1).mean()
                print(
                    f"  {count} even: variance {variance:.2e}, as that of "
                    f"{orbit / variance:.0f} random ones",
                    flush=True,
                )


if __name__ == "__main__":
    main()
