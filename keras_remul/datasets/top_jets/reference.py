"""Reads the HDF5 files of the public top-tagging reference set."""

import h5py
import numpy as np

CONSTITUENTS = 200


class Jets:
    """One feature of the jets of a file, read where it is asked for.

    The files are tables as pandas writes them: `table/table` with the columns
    `values_block_0` (E, px, py, pz of 200 constituents, one after another, and
    of the true top) and `values_block_1` (the split and the label).

    Args:
        path: of an HDF5 file.
        feature: `"four_momenta"`, `"mask"` or `"labels"`.

    Raises:
        ValueError: where the file is no such table.
    """

    def __init__(self, path, feature):
        self.path, self.feature = path, feature
        try:
            # Registers the filters that such files may be compressed with.
            import hdf5plugin  # noqa: F401
        except ImportError:
            pass
        try:
            with h5py.File(path) as file:
                table = file["table/table"]
                size, columns = len(table), dict(table.dtype.fields)
            widths = [
                columns[f"values_block_{i}"][0].shape[-1] for i in range(2)
            ]
        except (OSError, KeyError, TypeError, IndexError) as error:
            raise ValueError(
                "Expected an HDF5 file with `table/table` of the columns "
                f"`values_block_0` and `values_block_1`. Received: {path}, "
                f"{error!r}"
            ) from error
        if widths[0] < 4 * CONSTITUENTS:
            raise ValueError(
                f"Expected at least {4 * CONSTITUENTS} numbers for each jet in "
                f"`values_block_0` of {path}. Received: {widths[0]}"
            )
        shapes = {
            "four_momenta": (CONSTITUENTS, 4),
            "mask": (CONSTITUENTS,),
            "labels": (1,),
        }
        self.shape = (size, *shapes[feature])

    def __getitem__(self, rows):
        column = (
            "values_block_1" if self.feature == "labels" else ("values_block_0")
        )
        try:
            with h5py.File(self.path) as file:
                block = file["table/table"].fields(column)[rows]
        except OSError as error:
            raise OSError(
                f"{self.path} cannot be read: {error}. If it is not damaged, "
                "its compression needs `pip install hdf5plugin`."
            ) from error
        if self.feature == "labels":
            return block[:, -1:]
        momenta = block[:, : 4 * CONSTITUENTS]
        momenta = momenta.reshape(len(block), CONSTITUENTS, 4)
        return momenta if self.feature == "four_momenta" else mask(momenta)


def mask(momenta):
    """1 for constituents, 0 for padding: `(S, C, 4)` to `(S, C)`."""
    return (momenta[..., 0] > 0).astype(np.float32)
