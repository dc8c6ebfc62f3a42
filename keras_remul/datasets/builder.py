"""What the TFDS builders of this package have in common."""

import inspect

import numpy as np
import tensorflow_datasets as tfds
from etils import epath
from tensorflow_datasets.core.utils import tqdm_utils


class ArrayBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """A builder whose splits are dicts of arrays that fit into memory.

    A subclass states the class attributes below, `_shapes` and `_arrays`.
    Features are float32 and kept in the order of `_arrays`.

    Attributes:
        DESCRIPTION, CITATION, HOMEPAGE, LICENSE: texts for `tfds.core.
            DatasetInfo`.
        UNITS: dict, the unit of each feature.
        SPLITS: names of the splits, where they are those of each config.
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First release."}
    CITATION = HOMEPAGE = LICENSE = None
    MANUAL_DOWNLOAD_INSTRUCTIONS = "Files that `load` cannot download."
    SPLITS = ("train", "validation", "test")

    def __init_subclass__(cls, **kwargs):
        # Without this, TFDS 4.9 needs the package importlib_resources.
        cls.code_path = epath.Path(inspect.getfile(cls))
        cls.pkg_dir_path = cls.code_path.parent
        super().__init_subclass__(**kwargs)

    @property
    def split_names(self):
        """Names of the splits of this configuration."""
        return self.SPLITS

    @property
    def verbose(self):
        """Whether progress bars are shown."""
        return getattr(tqdm_utils, "_active", True)

    def manual_path(self, dl_manager, name):
        """Path in the folder of manual downloads, be it there or not."""
        # `dl_manager.manual_dir` raises where the folder is absent or empty.
        return epath.Path(dl_manager._manual_dir) / name

    def manual_file(self, dl_manager, name):
        """Path of a file in the folder of manual downloads.

        Raises:
            FileNotFoundError: where it is not there; says what is to be done.
        """
        path = self.manual_path(dl_manager, name)
        if not path.exists():
            raise FileNotFoundError(
                f"{self.name} needs the file {path}, which is not there. Pass "
                "`manual_dir` to `load`, or put it there.\n"
                f"{self.MANUAL_DOWNLOAD_INSTRUCTIONS or ''}"
            )
        return path

    def files(self, dl_manager, names, url):
        """Paths of files: put there by hand, or else downloaded.

        Args:
            dl_manager: the download manager of TFDS, which checks the hashes
                in `checksums.tsv`.
            names: names relative to `url` and to the folder of manual
                downloads.
            url: what stands before the names.

        Returns:
            A dict of names to paths.
        """
        paths = {name: self.manual_path(dl_manager, name) for name in names}
        absent = {
            name: f"{url}/{name}"
            for name, path in paths.items()
            if not path.exists()
        }
        return {**paths, **dl_manager.download(absent)} if absent else paths

    def _shapes(self):
        """Shape of each feature, without the sample axis."""
        raise NotImplementedError

    def _arrays(self, dl_manager):
        """`{split: {feature: array}}`, arrays with a leading sample axis."""
        raise NotImplementedError

    def _info(self):
        units = "\n".join(f"- {key}: {u}" for key, u in self.UNITS.items())
        return tfds.core.DatasetInfo(
            builder=self,
            description=f"{self.DESCRIPTION.strip()}\n\nUnits:\n\n{units}\n",
            features=tfds.features.FeaturesDict(
                {
                    key: tfds.features.Tensor(shape=shape, dtype=np.float32)
                    for key, shape in self._shapes().items()
                }
            ),
            homepage=self.HOMEPAGE,
            citation=self.CITATION,
            license=self.LICENSE,
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager):
        arrays = self._arrays(dl_manager)
        shapes = self._shapes()
        for split, data in arrays.items():
            for key, array in data.items():
                if array.shape[1:] != shapes[key]:
                    raise ValueError(
                        f"Feature {key!r} of {self.name}, split {split!r}: "
                        f"expected shape (S, {', '.join(map(str, shapes[key]))}"
                        f"). Received: {array.shape}"
                    )
                if not np.isfinite(array).all():
                    raise ValueError(
                        f"Feature {key!r} of {self.name}, split {split!r} "
                        "holds values that are NaN or infinite."
                    )
        return {
            split: self._generate_examples(
                {k: np.asarray(a, "float32") for k, a in data.items()}
            )
            for split, data in arrays.items()
        }

    def _generate_examples(self, data):
        for i in range(len(next(iter(data.values())))):
            yield i, {key: array[i] for key, array in data.items()}
