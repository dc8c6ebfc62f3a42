"""The TFDS builder `nbody_charged`."""

import dataclasses

import tensorflow_datasets as tfds

from keras_remul.datasets.builder import ArrayBuilder
from keras_remul.datasets.nbody_charged.simulator import (
    SAVE_EVERY,
    TIME_STEP,
)
from keras_remul.datasets.nbody_charged.splits import (
    INPUT_FRAME,
    TARGET_FRAME,
    simulated,
)


@dataclasses.dataclass(kw_only=True)
class NbodyChargedConfig(tfds.core.BuilderConfig):
    """The number of systems in each split.

    Args:
        train: number of training systems.
        validation: number of validation systems.
        test: number of test systems.
        stream: numbers of training and validation systems that the stream of
            random numbers holds before the first system of the next split.
        seed: seed of the stream. Defaults to 43, the official one.
        num_bodies: bodies of each system. Defaults to 5.
        test_start: place in the stream of the first test system. Defaults to
            None: the first after those of `stream`.
    """

    train: int = 3000
    validation: int = 2000
    test: int = 2000
    stream: tuple[int, int] = (10000, 2000)
    seed: int = 43
    num_bodies: int = 5
    test_start: int | None = None

    def __post_init__(self):
        room, start = (*self.stream, self.test), self.test_start
        if start is not None:  # after the training systems
            room = (start, self.stream[1], self.stream[0] - start)
        sizes = (self.train, self.validation, self.test)
        if any(
            not 1 <= size <= limit
            for size, limit in zip(sizes, room, strict=True)
        ):
            raise ValueError(
                "Sizes of splits must be positive and within `stream`. "
                f"Received: train={self.train}, "
                f"validation={self.validation}, test={self.test}, "
                f"stream={self.stream}, test_start={self.test_start}"
            )

    def ranges(self):
        """(start, stop) of each split in the stream."""
        first, second = self.stream[0], sum(self.stream)
        if self.test_start is not None:
            second = self.test_start
        return {
            "train": (0, self.train),
            "validation": (first, first + self.validation),
            "test": (second, second + self.test),
        }


class NbodyCharged(ArrayBuilder):
    """Charged bodies of the EGNN paper, simulated when prepared."""

    DESCRIPTION = """
Five charged bodies in three dimensions (ten or twenty in `10_bodies` and
`20_bodies`): predict where they are 1.0 time unit later.

Bodies have unit mass and charge -1 or +1 (like charges repel, unit coupling).
They start at x ~ N(0, 1), wider for more bodies such that the density is the
same, with speed 0.5 in a random direction; the acceleration
sum_j c_i c_j (x_i - x_j) / r_ij^3 is clipped to +-100 in each component;
symplectic Euler with time step 0.001. Inputs are positions,
velocities and charges at frame 30 (time 3.1), targets the positions at frame
40 (time 4.1). All quantities are dimensionless. Nothing is downloaded: the
simulator reproduces the official data "nbody_small" (seed 43) bit by bit on
x86-64 with AVX-512, and all but 4 % of the systems to 1e-6 where `numpy.power`
rounds otherwise (close encounters are chaotic). The equations of motion are
symmetric under E(3), up to the clipping.
"""
    CITATION = """
@inproceedings{satorras2021en,
  title={E(n) Equivariant Graph Neural Networks},
  author={Satorras, Victor Garcia and Hoogeboom, Emiel and Welling, Max},
  booktitle={International Conference on Machine Learning},
  year={2021},
  url={https://arxiv.org/abs/2102.09844}
}
"""
    HOMEPAGE = "https://arxiv.org/abs/2102.09844"
    LICENSE = "Apache-2.0 (simulated by keras_remul)"
    LIMITS = """
Other numbers of bodies, laws, times ahead or units; charges other than -1 and
+1, and close encounters, which carry most of the error.
"""
    UNITS = {
        "positions, velocities, targets": "dimensionless",
        "charges": "-1 or +1",
    }
    BUILDER_CONFIGS = [
        NbodyChargedConfig(
            name="default",
            description="The benchmark: 3000 / 2000 / 2000 systems.",
        ),
        NbodyChargedConfig(
            name="10k",
            description="All 10000 official training systems.",
            train=10000,
        ),
        NbodyChargedConfig(
            name="unused",
            description="The benchmark, tested on the 7000 official training "
            "systems that it leaves out.",
            test=7000,
            test_start=3000,
        ),
        *(
            NbodyChargedConfig(
                name=f"{bodies}_bodies",
                description=f"{bodies} bodies: 3000 / 2000 / 2000 systems.",
                num_bodies=bodies,
                stream=(3000, 2000),
            )
            for bodies in (10, 20)
        ),
    ]

    @property
    def horizon(self):
        return (TARGET_FRAME - INPUT_FRAME) * SAVE_EVERY * TIME_STEP

    def _shapes(self):
        bodies = self.builder_config.num_bodies
        return {
            "positions": (bodies, 3),
            "velocities": (bodies, 3),
            "charges": (bodies, 1),
            "targets": (bodies, 3),
        }

    def _arrays(self, dl_manager):
        config = self.builder_config
        return simulated(
            config.ranges(), config.seed, config.num_bodies, self.verbose
        )
