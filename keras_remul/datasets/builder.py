"""The base class of the TFDS builders of this package."""

import hashlib
import inspect
import os
import pathlib

import numpy as np
import tensorflow_datasets as tfds
from etils import epath
from tensorflow_datasets.core.utils import tqdm_utils
from tqdm.auto import tqdm

from keras_remul.datasets import manifest, registry, sources
from keras_remul.utils.plain_files import sha256

BLOCK = 10_000  # samples that are in memory at once


def shows_progress():
    """Whether TFDS shows progress bars, see `tfds.display_progress_bar`."""
    return isinstance(tqdm_utils.tqdm(disable=True), tqdm)


class ArrayBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # pyright: ignore[reportGeneralTypeIssues, reportCallIssue]
    """A builder whose splits are dicts of arrays.

    A subclass defines the class attributes below, `_shapes` and `_arrays`, and
    writes facts about the prepared data into `self.info.metadata`. Features are
    float32, if `DTYPES` does not say otherwise, and kept in the order of
    `_arrays`.

    Beside the records that TFDS writes, each split is kept as one `.npy` file
    per feature, `arrays/<split>/<feature>.npy`: reading the records in Python
    takes some 0.2 ms per example, reading these files almost nothing, and any
    part of them can be read alone. `arrays/manifest.json` holds the shape and
    the hash of each file, which `load` and `stream` check.

    Attributes:
        DESCRIPTION, CITATION, HOMEPAGE, LICENSE: texts for `tfds.core.
            DatasetInfo`.
        UNITS: dict, the unit of each feature; keys may name several.
        LIMITS: what a model of these data is not for, a text for its card.
        DTYPES: dict, the dtype of features that are not float32.
        SPLITS: names of the splits, if all configurations have the same.
    """

    VERSION = tfds.core.Version("1.1.1")
    RELEASE_NOTES = {
        "1.0.0": "First release.",
        "1.1.0": "Arrays beside the records; all atoms in xtb_md.",
        "1.1.1": "The same data; the hashes of the arrays beside them.",
    }
    CITATION = HOMEPAGE = LICENSE = LIMITS = None
    MANUAL_DOWNLOAD_INSTRUCTIONS = "Files that `load` cannot download."
    SPLITS = ("train", "validation", "test")
    DTYPES = {}

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
    def horizon(self):
        """Time from input to target in units of the velocities, or None."""
        return getattr(self.builder_config, "horizon", None)

    @property
    def verbose(self):
        """Whether progress bars are shown."""
        return shows_progress()

    def download_and_prepare(self, *, download_config=None, **kwargs):
        # The download manager tells of this folder once it has a file alone.
        self.manual_dir = download_config and download_config.manual_dir
        super().download_and_prepare(download_config=download_config, **kwargs)

    def manual_path(self, dl_manager, name):
        """Path in the folder of manual downloads, whether it exists or not."""
        try:
            folder = dl_manager.manual_dir
        except AssertionError:  # the folder is absent or empty
            folder = self.manual_dir or dl_manager.download_dir / "manual"
        return epath.Path(folder).expanduser() / name

    def manual_file(self, dl_manager, name):
        """Path of a file in the folder of manual downloads.

        Raises:
            FileNotFoundError: the file is missing; the message says what to do.
        """
        path = self.manual_path(dl_manager, name)
        if not path.exists():
            raise FileNotFoundError(
                f"{self.name} needs the file {path}, which is missing. Pass "
                "`manual_dir` to `load`, or put it there.\n"
                f"{self.MANUAL_DOWNLOAD_INSTRUCTIONS or ''}"
            )
        return path

    def files(self, dl_manager, names, url, largest):
        """Paths of files: those put there by hand; the others are downloaded.

        Args:
            dl_manager: the download manager of TFDS.
            names: names relative to `url` and to the folder of manual
                downloads.
            url: the address before the names.
            largest: limit in bytes for a file whose size is not in
                `sources.tsv`.

        Returns:
            A dict of names to paths.

        Raises:
            ValueError, OSError: see `sources.fetch`.
        """
        paths = {name: self.manual_path(dl_manager, name) for name in names}
        for name, path in paths.items():
            if not path.exists():
                paths[name] = self.download(
                    dl_manager, f"{url}/{name}", name, largest
                )
        return paths

    def download(self, dl_manager, url, name, largest):
        """Path of a file that is downloaded, see `sources.fetch`.

        The hash of a file without a published hash is added to the metadata.
        """
        folder = os.fspath(dl_manager.download_dir)
        path = sources.fetch(url, folder, largest, self.verbose)
        if url not in sources.table():
            self.info.metadata[f"sha256 of {name}"] = sha256(path)
        return path

    def _supervised_keys(self):
        """What `tfds.load(..., as_supervised=True)` gives: (x, y)."""
        keys = {key: key for key in self._shapes()}
        return registry.divide(keys, registry.entry(self.name).target)

    def _shapes(self):
        """Shape of each feature, without the sample axis."""
        raise NotImplementedError

    def _arrays(self, dl_manager):
        """`{split: {feature: array}}`, arrays with a leading sample axis.

        An array is any object with a `shape` that returns rows for a slice: it
        need not be in memory.
        """
        raise NotImplementedError

    def _info(self):
        units = "\n".join(f"- {key}: {u}" for key, u in self.UNITS.items())
        return tfds.core.DatasetInfo(
            builder=self,
            description=f"{self.DESCRIPTION.strip()}\n\nUnits:\n\n{units}\n",
            features=tfds.features.FeaturesDict(
                {
                    key: tfds.features.Tensor(
                        shape=shape,
                        dtype=np.dtype(self.DTYPES.get(key, "float32")),
                    )
                    for key, shape in self._shapes().items()
                }
            ),
            supervised_keys=self._supervised_keys(),
            homepage=self.HOMEPAGE,
            citation=self.CITATION,
            license=self.LICENSE,
            disable_shuffling=True,
            metadata=tfds.core.MetadataDict(),
        )

    def _split_generators(self, dl_manager):
        # data_dir is a temporary folder here, which TFDS renames at the end:
        # a preparation that is cut short leaves nothing that can be loaded.
        folder = pathlib.Path(self.data_dir) / manifest.ARRAYS
        arrays = self._arrays(dl_manager)
        files = {
            split: self._write(folder / split, data)
            for split, data in arrays.items()
        }
        if set(files) != set(self.split_names):
            raise ValueError(
                f"{self.name} must have the splits {list(self.split_names)}. "
                f"Received: {list(files)}"
            )
        manifest.write(folder, self, files)
        return {
            split: self._generate_examples(folder / split) for split in files
        }

    def _write(self, folder, data):
        """Checks the arrays of a split and writes them.

        Returns:
            `{feature: {"shape", "size", "sha256"}}`.
        """
        shapes, where = self._shapes(), f"{self.name}, split {folder.name!r}"
        folder.mkdir(parents=True)
        files = {
            key: self._write_array(
                folder / f"{key}.npy",
                data[key],
                shape,
                manifest.dtype_of(self, key),
                f"Feature {key!r} of {where}",
            )
            for key, shape in shapes.items()
            if key in data
        }
        if set(data) != set(shapes):
            raise ValueError(
                f"{where} must have the features {list(shapes)}. Received: "
                f"{list(data)}"
            )
        rows = {key: facts["shape"][0] for key, facts in files.items()}
        if len(set(rows.values())) > 1 or 0 in rows.values():
            raise ValueError(
                f"{where}: features must have as many rows as each other, at "
                f"least one. Received: {rows}"
            )
        return files

    def _write_array(self, path, array, shape, dtype, where):
        """Writes an array in blocks; returns its shape, size and sha256."""
        if array.shape[1:] != shape:
            raise ValueError(
                f"{where}: expected shape "
                f"(S, {', '.join(map(str, shape))}). Received: {array.shape}"
            )
        digest, size = hashlib.sha256(), 0
        with open(path, "wb") as file:

            def add(content):
                nonlocal size
                file.write(content)
                digest.update(content)
                size += len(content)

            add(manifest.header(array.shape, dtype))
            for start in range(0, array.shape[0], BLOCK):
                rows = array[start : start + BLOCK]
                add(_plain(rows, dtype, where).tobytes())
        return {
            "shape": list(array.shape),
            "size": size,
            "sha256": digest.hexdigest(),
        }

    def _generate_examples(self, folder):
        data = {
            path.stem: np.lib.format.open_memmap(path, mode="r")
            for path in folder.glob("*.npy")
        }
        for i in range(len(next(iter(data.values())))):
            yield i, {key: array[i] for key, array in data.items()}


def _plain(rows, dtype, where):
    """Rows of this dtype, finite; refuses complex numbers and objects."""
    rows, dtype = np.asarray(rows), np.dtype(dtype)
    if rows.dtype.kind not in "fiub":
        raise ValueError(
            f"{where} must hold real numbers. Received: dtype {rows.dtype}"
        )
    with np.errstate(over="ignore", invalid="ignore"):
        result = rows.astype(dtype, order="C")
    if not np.isfinite(result).all():
        raise ValueError(
            f"{where} holds values that are NaN or infinite, or too large for "
            f"{dtype}."
        )
    if dtype.kind in "iu" and (result != rows).any():
        raise ValueError(f"{where} must hold integers of {dtype}.")
    return result
