"""Whether a stream of more data than memory holds up a Transformer.

Command   OMP_NUM_THREADS=1 KERAS_BACKEND=torch python benchmarks/stream.py \\
              FOLDER --systems 5000000

Systems of nbody_gravity are simulated into FOLDER, data sets of 500,000 each,
some 0.5 KB of disk per system, and kept there. Printed: milliseconds per batch
of 100, read alone, from disk (the files dropped from the cache of the system)
and from the cache, and for a step of training with the same batch again and
again and with the stream, from disk; and the memory of the process, without
mapped files, while an epoch is read.
"""

import argparse
import os
import pathlib
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras

import keras_remul as kr
from keras_remul.datasets.nbody_gravity.builder import NbodyGravityConfig

SHARD = 500_000
BATCH = 100


def open_stream(folder, systems):
    """The stream of so many systems, simulated if they are not there."""
    sizes = [min(SHARD, systems - i) for i in range(0, systems, SHARD)]
    configs = [
        NbodyGravityConfig(
            name=f"shard_{i}_{size}", train=size, validation=1, test=1, seed=i
        )
        for i, size in enumerate(sizes)
    ]
    return kr.datasets.stream(
        "nbody_gravity",
        batch_size=BATCH,
        seed=0,
        config=configs,
        data_dir=folder,
        verbose=0,
    )


def drop(folder):
    """Takes the arrays out of the cache of the system."""
    for path in pathlib.Path(folder).rglob("*.npy"):
        with open(path, "rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def memory():
    """MB of this process that no file backs."""
    for line in pathlib.Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1]) / 1024
    raise OSError("/proc/self/status has no RssAnon: this needs Linux.")


class FirstBatches(keras.utils.PyDataset):
    """The first batches of a dataset; `same`: the first one each time."""

    def __init__(self, dataset, count, same):
        super().__init__()
        self.dataset, self.count = dataset, count
        self.first = dataset[0] if same else None

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        return self.dataset[index] if self.first is None else self.first

    def on_epoch_end(self):
        self.dataset.on_epoch_end()


def read(batches, count):
    """Milliseconds per batch of `count`."""
    start = time.perf_counter()
    for i in range(count):
        batches[i]
    return 1e3 * (time.perf_counter() - start) / count


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder")
    parser.add_argument("--systems", type=int, default=5_000_000)
    parser.add_argument("--steps", type=int, default=300)
    arguments = parser.parse_args()
    batches = open_stream(arguments.folder, arguments.systems)
    steps = min(arguments.steps, len(batches))

    drop(arguments.folder)
    print(f"read, from disk    {read(batches, steps):7.3f} ms per batch")
    print(f"read, from cache   {read(batches, steps):7.3f} ms per batch")

    symmetry = kr.datasets.symmetry("nbody_gravity")
    remul = kr.RemulModel(kr.models.Transformer(), symmetry, seed=0)
    remul.compile("adam", "mse")
    fit = dict(shuffle=False, verbose=0)
    remul.fit(FirstBatches(batches, 5, same=True), **fit)
    for name, same in (("one batch", True), ("stream", False)) * 2:
        data = FirstBatches(batches, steps, same)
        drop(arguments.folder)
        start = time.perf_counter()
        remul.fit(data, **fit)
        spent = 1e3 * (time.perf_counter() - start) / steps
        print(f"step, {name:12} {spent:7.3f} ms")

    drop(arguments.folder)
    tenth = len(batches) // 10
    for part in range(10):
        start = time.perf_counter()
        for i in range(part * tenth, (part + 1) * tenth):
            batches[i]
        spent = 1e3 * (time.perf_counter() - start) / tenth
        print(
            f"{part + 1}/10 of an epoch, from disk {spent:7.3f} ms per batch, "
            f"memory {memory():7.1f} MB"
        )


if __name__ == "__main__":
    main()
