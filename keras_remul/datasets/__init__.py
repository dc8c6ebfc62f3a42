"""Data sets: `load` for arrays, `stream` for batches, `tfds.load` for tf.data.

`from_ase` makes arrays of structures of your own, `read_motion` of motions.

Importing this package imports neither tensorflow_datasets nor TensorFlow; they
are imported where a data set is asked for. The builders become known to
`tfds.load` by `keras_remul.datasets.register()`.
"""

from keras_remul.datasets.loading import load, load_all, stream
from keras_remul.datasets.motion_files import Motion, read_motion
from keras_remul.datasets.registry import (
    list_datasets,
    register,
    symmetries,
    symmetry,
)
from keras_remul.datasets.structures import from_ase
from keras_remul.datasets.time_steps import time_step

__all__ = [
    "Motion",
    "from_ase",
    "list_datasets",
    "load",
    "load_all",
    "read_motion",
    "register",
    "stream",
    "symmetries",
    "symmetry",
    "time_step",
]
