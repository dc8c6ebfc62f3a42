"""The TFDS builder `top_jets`."""

import dataclasses

import tensorflow_datasets as tfds

from keras_remul.datasets.builder import ArrayBuilder
from keras_remul.datasets.top_jets import reference, simulator

URL = "https://zenodo.org/records/2603256/files"
LARGEST = 2**31  # bytes of a file
FILES = {"train": "train.h5", "validation": "val.h5", "test": "test.h5"}


@dataclasses.dataclass(kw_only=True)
class TopJetsConfig(tfds.core.BuilderConfig):
    """The public set, or simulated jets.

    Args:
        train, validation, test: numbers of simulated jets, half of them tops;
            None in each for the public set.
        constituents: number of constituents that are kept, those of the largest
            transverse momentum. Defaults to 200; other values only where
            simulated.
        seed: first of the seeds of Pythia. Defaults to 1000.
    """

    train: int | None = None
    validation: int | None = None
    test: int | None = None
    constituents: int = reference.CONSTITUENTS
    seed: int = 1000

    def sizes(self):
        """Numbers of jets of the splits, in their order."""
        return self.train, self.validation, self.test


class TopJets(ArrayBuilder):
    """Jets of top quarks against jets of light quarks and gluons."""

    DESCRIPTION = """
Does a jet come from a top quark (label 1) or from a light quark or gluon (0)?

A jet is the set of the four-momenta (E, px, py, pz) of its constituents, the
hardest first, padded with zeros; `mask` is 1 for constituents. Protons collide
at 14 TeV; jets (anti-kT, R = 0.8) have a transverse momentum of 550 to 650 GeV
and |eta| < 2; those of tops contain the top and its three quarks.

`reference`: the public top-tagging reference set, 1,211,000 / 403,000 / 404,000
jets of up to 200 constituents, with a simulation of the ATLAS detector; some GB
to download, 16 GB on disk. `pythia`: 8000 / 2000 / 2000 jets, the 50 hardest
constituents, simulated here with Pythia 8 and the same selection, without a
detector and pile-up (`pip install keras-remul[jets]`, 2 minutes). `tiny`: 40 /
20 / 20 of them.

The label is invariant under the Lorentz group; the selection in transverse
momentum and the beam are not, so the data keep rotations about the beam axis z.
"""
    CITATION = """
@article{kasieczka2019machine,
  title={The Machine Learning landscape of top taggers},
  author={Kasieczka, Gregor and Plehn, Tilman and others},
  journal={SciPost Physics},
  volume={7},
  pages={014},
  year={2019},
  url={https://arxiv.org/abs/1902.09914}
}
"""
    HOMEPAGE = "https://zenodo.org/records/2603256"
    LICENSE = "CC BY 4.0 (`reference`); Apache-2.0 (simulated by keras_remul)"
    LIMITS = """
Jets of other generators, detectors, radii or transverse momenta than those of
the data, and other classes than tops against light quarks and gluons.
"""
    UNITS = {
        "four_momenta": "GeV, c = 1",
        "mask": "1 for constituents, 0 for padding",
        "labels": "1 for top, 0 otherwise",
    }
    BUILDER_CONFIGS = [
        TopJetsConfig(
            name="pythia",
            description="8000 / 2000 / 2000 simulated jets.",
            train=8000,
            validation=2000,
            test=2000,
            constituents=50,
        ),
        TopJetsConfig(
            name="reference",
            description="The public set of two million jets.",
        ),
        TopJetsConfig(
            name="tiny",
            description="As `pythia`, for tests.",
            train=40,
            validation=20,
            test=20,
            constituents=50,
        ),
    ]

    def _shapes(self):
        size = self.builder_config.constituents
        return {"four_momenta": (size, 4), "mask": (size,), "labels": (1,)}

    def _arrays(self, dl_manager):
        config = self.builder_config
        if config.train is None:
            paths = self.files(dl_manager, FILES.values(), URL, LARGEST)
            return {
                split: {
                    feature: reference.Jets(paths[file], feature)
                    for feature in self._shapes()
                }
                for split, file in FILES.items()
            }
        momenta, labels = simulator.simulate(
            sum(config.sizes()),
            config.constituents,
            config.seed,
            verbose=self.verbose,
        )
        arrays, first = {}, 0
        for split, size in zip(self.SPLITS, config.sizes(), strict=True):
            rows = slice(first, first + size)
            first = rows.stop
            arrays[split] = {
                "four_momenta": momenta[rows],
                "mask": reference.mask(momenta[rows]),
                "labels": labels[rows, None],
            }
        return arrays
