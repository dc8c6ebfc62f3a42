"""Data sets: `load` for arrays, `stream` for batches, `tfds.load` for tf.data.

`from_ase` makes arrays of structures of your own.

Importing this package imports neither tensorflow_datasets nor TensorFlow; they
are imported where a data set is asked for. The builders become known to
`tfds.load` by `keras_remul.datasets.register()`.
"""

from keras_remul.datasets.loading import load, load_all, stream
from keras_remul.datasets.registry import list_datasets, register, symmetry
from keras_remul.datasets.structures import from_ase
from keras_remul.datasets.time_steps import time_step

__all__ = [
    "from_ase",
    "list_datasets",
    "load",
    "load_all",
    "register",
    "stream",
    "symmetry",
    "time_step",
]
