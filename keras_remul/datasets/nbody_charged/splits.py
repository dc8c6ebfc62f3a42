"""The splits of the charged bodies as arrays; needs NumPy only."""

from keras_remul.datasets.nbody_charged.initial import initial_states
from keras_remul.datasets.nbody_charged.simulator import simulate

INPUT_FRAME, TARGET_FRAME = 30, 40
SEED = 43  # of the official stream of random numbers
# (start, stop) of each split in the stream.
BENCHMARK = {
    "train": (0, 3000),
    "validation": (10000, 12000),
    "test": (12000, 14000),
}


def simulated(ranges=None, seed=SEED, num_bodies=5, verbose=True):
    """Simulates the systems of each split.

    Args:
        ranges: dict of names of splits to (start, stop) in the stream.
            Defaults to those of the benchmark.
        seed: seed of the stream. Defaults to 43.
        num_bodies: bodies of each system. Defaults to 5.
        verbose: whether a bar is shown. Defaults to True.

    Returns:
        `{split: {feature: array}}`, in float64.
    """
    ranges = BENCHMARK if ranges is None else ranges
    order = sorted(ranges, key=lambda split: ranges[split])
    c, x, v = initial_states(
        [ranges[split] for split in order], seed, num_bodies
    )
    x, v = simulate(
        c, x, v, frames=(INPUT_FRAME, TARGET_FRAME), verbose=verbose
    )
    data = {
        "positions": x[:, 0],
        "velocities": v[:, 0],
        "charges": c[:, :, None],
        "targets": x[:, 1],
    }
    arrays, first = {}, 0
    for split in order:
        start, stop = ranges[split]
        rows = slice(first, first + stop - start)
        first = rows.stop
        arrays[split] = {key: array[rows] for key, array in data.items()}
    return arrays
