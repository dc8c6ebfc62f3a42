"""The TFDS builder `nbody_gravity`."""

import dataclasses

import tensorflow_datasets as tfds

from keras_remul.datasets.builder import ArrayBuilder
from keras_remul.datasets.nbody_gravity.simulator import (
    NUM_PLANETS,
    STEPS,
    TIME_STEP,
    sample,
)

IN_DISTRIBUTION = (0.0, 10.0)
OUT_OF_DISTRIBUTION = (90.0, 180.0)
# The place in this list is part of the seed of a split.
_ALL_SPLITS = ("train", "validation", "test", "test_ood")


@dataclasses.dataclass(kw_only=True)
class NbodyGravityConfig(tfds.core.BuilderConfig):
    """Sizes of the splits, and how the systems are rotated.

    Args:
        train, validation, test, test_ood: numbers of systems; 0 means that
            there is no such split.
        angles: None for rotations from the Haar measure in each split; or
            (low, high) in degrees, angle uniform, axis random. `test_ood` has
            angles of 90 to 180 degrees.
        planets: number of planets. Defaults to 3.
        seed: splits are drawn from `default_rng([seed, i])`, i = 0 to 3.
    """

    train: int
    validation: int
    test: int
    test_ood: int = 0
    angles: tuple[float, float] | None = None
    planets: int = NUM_PLANETS
    seed: int = 0

    def sizes(self):
        """Size of each split that exists."""
        sizes = {split: getattr(self, split) for split in _ALL_SPLITS}
        if min(sizes.values()) < 0:
            raise ValueError(
                f"Sizes of splits must not be negative. Received: {sizes}"
            )
        return {split: size for split, size in sizes.items() if size}


class NbodyGravity(ArrayBuilder):
    """Star and planets of the GATr paper, simulated when prepared."""

    DESCRIPTION = """
A star and three planets: predict where they are 0.1 time units later.

The star, of mass log-uniform in [1, 10], is at rest. The planets, of mass
log-uniform in [0.01, 0.1], start in the ring 0.1 < r < 1, uniformly by area,
in one plane, with the speed of a circular orbit in one sense or the other,
plus N(0, 0.01). The bodies are permuted, the system is rotated and shifted by
N(0, 20) in each direction: center positions before they enter a network.
G = 1; 100 steps of the semi-implicit Euler rule with time step 0.001. Systems
in which a body ends more than 2 from where it began are rejected (0.2 %).

`gatr`: 100,000 / 5,000 / 5,000 systems, rotations from the Haar measure.
`remul`: 100 / 5,000 / 5,000 systems, rotated by at most 10 degrees, and the
split `test_ood` of 5,000 systems, rotated by 90 to 180 degrees; axes are
uniform on the sphere, angles uniform between their bounds. `10_bodies`: nine
planets, 3000 / 2000 / 2000 systems, otherwise as `gatr`. `tiny`: 16 / 8 / 8 and
8 systems, otherwise as `remul`.

Simulated here, with the published protocol but not its random numbers. The
equations of motion are symmetric under E(3) and under permutations; in `remul`
the directions of the orbits are not.
"""
    CITATION = """
@inproceedings{brehmer2023geometric,
  title={Geometric Algebra Transformer},
  author={Brehmer, Johann and de Haan, Pim and Behrends, S{\\"o}nke and
          Cohen, Taco},
  booktitle={Advances in Neural Information Processing Systems},
  year={2023},
  url={https://arxiv.org/abs/2305.18415}
}
"""
    HOMEPAGE = "https://arxiv.org/abs/2305.18415"
    LICENSE = "Apache-2.0 (simulated by keras_remul)"
    LIMITS = """
Other numbers of bodies, times ahead or units, masses and distances outside of
those of the data, planets that meet.
"""
    UNITS = {
        "positions, velocities, targets": "dimensionless, G = 1",
        "masses": "dimensionless, star 1 to 10, planets 0.01 to 0.1",
    }
    BUILDER_CONFIGS = [
        NbodyGravityConfig(
            name="gatr",
            description="100,000 training systems, any orientation.",
            train=100_000,
            validation=5000,
            test=5000,
        ),
        NbodyGravityConfig(
            name="remul",
            description="100 training systems, nearly aligned.",
            train=100,
            validation=5000,
            test=5000,
            test_ood=5000,
            angles=IN_DISTRIBUTION,
        ),
        NbodyGravityConfig(
            name="10_bodies",
            description="A star and nine planets, any orientation.",
            train=3000,
            validation=2000,
            test=2000,
            planets=9,
        ),
        NbodyGravityConfig(
            name="tiny",
            description="As `remul`, for tests.",
            train=16,
            validation=8,
            test=8,
            test_ood=8,
            angles=IN_DISTRIBUTION,
        ),
    ]

    @property
    def split_names(self):
        return tuple(self.builder_config.sizes())

    @property
    def horizon(self):
        return STEPS * TIME_STEP

    def _shapes(self):
        bodies = self.builder_config.planets + 1
        vectors = (bodies, 3)
        return {
            "positions": vectors,
            "velocities": vectors,
            "masses": (bodies, 1),
            "targets": vectors,
        }

    def _arrays(self, dl_manager):
        config, arrays = self.builder_config, {}
        for split, size in config.sizes().items():
            angles = config.angles
            if split == "test_ood":
                angles = OUT_OF_DISTRIBUTION
            seed = [config.seed, _ALL_SPLITS.index(split)]
            arrays[split], rejected = sample(
                size, seed, angles, self.verbose, config.planets
            )
            self.info.metadata[f"rejected, {split}"] = round(rejected, 5)
        return arrays
