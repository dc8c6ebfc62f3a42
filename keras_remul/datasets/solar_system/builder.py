"""The TFDS builder `solar_system`."""

import dataclasses

import numpy as np
import tensorflow_datasets as tfds

from keras_remul.datasets.builder import ArrayBuilder
from keras_remul.datasets.solar_system.ephemeris import BODIES, masses, states
from keras_remul.utils.validation import check_count

# Julian dates: 1900 January 1, 1975, 2012, 2050 January 1, each at 12 h.
BOUNDS = (2415021.0, 2442414.0, 2455928.0, 2469808.0)
LAST = 2469805.0  # DE421 ends soon after


@dataclasses.dataclass(kw_only=True)
class SolarSystemConfig(tfds.core.BuilderConfig):
    """The time to predict, and the interval between samples.

    Args:
        horizon: days from input to target. Defaults to 32.
        step: days between two samples. Defaults to 4.
    """

    horizon: int = 32
    step: int = 4

    def __post_init__(self):
        for key in ("horizon", "step"):
            check_count(key, getattr(self, key))

    def days(self):
        """Julian dates of the inputs of the splits, in their order.

        Input and target lie in the years of the split.
        """
        first, last = BOUNDS[:-1], (*BOUNDS[1:-1], LAST)
        return [
            np.arange(a, b - self.horizon + 1e-6, self.step)
            for a, b in zip(first, last, strict=True)
        ]


class SolarSystem(ArrayBuilder):
    """Sun, planets, Pluto and Moon, from the JPL ephemeris DE421."""

    DESCRIPTION = f"""
Where are the Sun, the planets, Pluto and the Moon 32 days later (`default`)?
`long`: 128 days. `tiny`: 32 days, a sample every 1000 days, for tests.

Inputs are positions and velocities relative to the barycentre of the solar
system, along the axes of the ICRF (the equator of the Earth), and masses;
targets are positions. Order of the bodies: {", ".join(BODIES)}. A sample every
4 days from 1900 to 2050, split by time: 1900-1974, 1975-2011, 2012-2049; input
and target lie in the years of the split.

Real gravity, in data that show little of its symmetry: the law is symmetric
under E(3) (to the accuracy of relativity), but all planets move close to one
plane, the ecliptic, and in one sense.

From the packages `de421` and `jplephem`: `pip install keras-remul[solar]`.
"""
    CITATION = """
@article{folkner2009planetary,
  title={The Planetary and Lunar Ephemeris {DE} 421},
  author={Folkner, William M. and Williams, James G. and Boggs, Dale H.},
  journal={IPN Progress Report 42-178},
  year={2009}
}
"""
    HOMEPAGE = "https://pypi.org/project/de421/"
    LICENSE = "Ephemeris of NASA/JPL, packaged as `de421` under the MIT licence"
    LIMITS = """
Other bodies, times ahead or units.
"""
    UNITS = {
        "positions, targets": "astronomical unit (149597870.6996262 km)",
        "velocities": "astronomical unit per day",
        "masses": "mass of the Sun",
    }
    BUILDER_CONFIGS = [
        SolarSystemConfig(name="default", description="32 days ahead."),
        SolarSystemConfig(
            name="long", description="128 days ahead.", horizon=128
        ),
        SolarSystemConfig(name="tiny", description="For tests.", step=1000),
    ]

    def _shapes(self):
        vectors = (len(BODIES), 3)
        return {
            "positions": vectors,
            "velocities": vectors,
            "masses": (len(BODIES), 1),
            "targets": vectors,
        }

    def _arrays(self, dl_manager):
        horizon, m = self.builder_config.horizon, masses()[:, None]
        arrays = {}
        for split, days in zip(
            self.SPLITS, self.builder_config.days(), strict=True
        ):
            x, v = states(days)
            arrays[split] = {
                "positions": x,
                "velocities": v,
                "masses": np.broadcast_to(m, (len(days), *m.shape)),
                "targets": states(days + horizon)[0],
            }
        return arrays
