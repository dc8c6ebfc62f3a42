"""Reads the HDF5 files of the public top-tagging reference set."""

import h5py
import numpy as np

from keras_remul.utils.plain_files import open_plain

CONSTITUENTS = 200
LARGEST_CHUNK = 2**30  # bytes that HDF5 unpacks at once
# GeV; those of the set have 550 to 650. Others may be selected otherwise, but
# a thousand times more or less is another unit.
TRANSVERSE = (20.0, 20_000.0)
TOLERANCE = 1e-3  # of |p| against E, which are float32


class Jets:
    """One feature of the jets of a file, read when it is needed.

    The files are tables as pandas writes them: `table/table` with the columns
    `values_block_0` (E, px, py, pz of 200 constituents, one after another, and
    of the true top) and `values_block_1` (the split and the label).

    Args:
        path: of an HDF5 file.
        feature: `"four_momenta"`, `"mask"` or `"labels"`.

    Raises:
        ValueError: the file is not such a table, or refers to other files; and,
            while reading, if it is damaged, a momentum is not that of a
            particle, jets are not in GeV, or a label is neither 0 nor 1.
    """

    def __init__(self, path, feature):
        self.path, self.feature = path, feature
        try:
            # Registers the filters that such files may be compressed with.
            import hdf5plugin  # noqa: F401 # pyright: ignore[reportMissingImports]
        except ImportError:
            pass
        open_plain(path).close()  # HDF5 would wait for a pipe
        try:
            with h5py.File(path) as file:
                table = file["table/table"]
                own = table.file == file and not table.is_virtual
                own = own and table.external is None
                size, columns = len(table), dict(table.dtype.fields)
                chunk = np.prod(table.chunks or (0,)) * table.dtype.itemsize
            blocks = [columns[f"values_block_{i}"][0] for i in range(2)]
            widths = [block.shape[-1] for block in blocks]
        except Exception as error:  # HDF5 raises many kinds for damaged bytes
            raise ValueError(
                "Expected an HDF5 file with `table/table` of the columns "
                f"`values_block_0` and `values_block_1`. Received: {path}, "
                f"{error!r}"
            ) from error
        if not own or chunk > LARGEST_CHUNK:
            raise ValueError(
                f"{path} is not used: its `table/table` lies in another file, "
                f"or in pieces of more than {LARGEST_CHUNK:,} bytes. Get the "
                "file again."
            )
        if widths[0] < 4 * CONSTITUENTS:
            raise ValueError(
                f"Expected at least {4 * CONSTITUENTS} numbers for each jet in "
                f"`values_block_0` of {path}. Received: {widths[0]}"
            )
        if widths[1] != 2:
            raise ValueError(
                "Expected two numbers for each jet in `values_block_1` of "
                f"{path}, the split and the label. Received: {widths[1]}"
            )
        kinds = [block.base.kind for block in blocks]
        if kinds[0] != "f" or kinds[1] not in "iu" or size < 1:
            raise ValueError(
                f"Expected real numbers in `values_block_0` and integers in "
                f"`values_block_1` of {path}, of at least one jet. Received: "
                f"{[str(block.base) for block in blocks]}, {size} jets"
            )
        shapes = {
            "four_momenta": (CONSTITUENTS, 4),
            "mask": (CONSTITUENTS,),
            "labels": (1,),
        }
        self.shape = (size, *shapes[feature])

    def __getitem__(self, rows):
        column = "values_block_0"
        if self.feature == "labels":
            column = "values_block_1"
        try:
            with h5py.File(self.path) as file:
                block = file["table/table"].fields(column)[rows]
        except Exception as error:
            raise ValueError(
                f"{self.path} cannot be read: {error}. If it is not damaged, "
                "its compression needs `pip install hdf5plugin`."
            ) from error
        where = f"jets from {rows.start} on in {self.path}"
        if self.feature == "labels":
            _check_labels(block, where)
            return block[:, -1:]
        momenta = block[:, : 4 * CONSTITUENTS]
        momenta = momenta.reshape(len(block), CONSTITUENTS, 4)
        if self.feature == "mask":
            return mask(momenta)
        _check_momenta(momenta, where)
        return momenta


def _check_labels(block, where):
    if not np.isin(block[:, 1], (0, 1)).all():
        raise ValueError(
            f"Expected the labels 0 and 1 of {where}. Received: "
            f"{np.unique(block[:, 1])[:5].tolist()}"
        )
    if (block[:, 0] != block[0, 0]).any():
        raise ValueError(
            f"Expected one split of all {where}. Received: "
            f"{np.unique(block[:, 0])[:5].tolist()}; files of several splits "
            "were mixed. Get them again."
        )


def _check_momenta(momenta, where):
    """NaN is not checked here: the builder names its feature."""
    momenta = momenta.astype("float64")
    energy, space = momenta[..., 0], momenta[..., 1:]
    length = np.sqrt((space**2).sum(-1))
    wrong = (energy < 0) | (length > energy * (1 + TOLERANCE))
    if wrong.any():
        jet, place = np.argwhere(wrong)[0]
        raise ValueError(
            f"Expected (E, px, py, pz) with E of at least |p| in {where}. "
            f"Received: {momenta[jet, place].tolist()} as constituent {place} "
            f"of jet {jet} of them. Get the file again."
        )
    transverse = np.hypot(space[..., 0].sum(1), space[..., 1].sum(1))
    median = float(np.median(transverse))
    if median < TRANSVERSE[0] or median > TRANSVERSE[1]:
        raise ValueError(
            f"Expected momenta in GeV in {where}. Received: {median:.3g} as "
            "the median transverse momentum of a jet. Convert the file."
        )


def mask(momenta):
    """1 for constituents, 0 for padding: `(S, C, 4)` to `(S, C)`."""
    return (momenta[..., 0] > 0).astype(np.float32)
