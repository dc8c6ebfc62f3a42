"""Groups: sample, compose, inverse, identity."""

from keras_remul.groups.base import Group
from keras_remul.groups.euclidean import E2, E3, SE2, SE3, Translations
from keras_remul.groups.lattice import Cyclic, Dihedral
from keras_remul.groups.negation import Negation
from keras_remul.groups.orthogonal import O2, O3, SO2, SO3
from keras_remul.groups.permutations import CircularShifts, Permutations
from keras_remul.groups.product import Product
from keras_remul.groups.scalings import Scalings
from keras_remul.groups.spacetime import Boosts, Lorentz
from keras_remul.groups.wallpaper import Wallpaper

__all__ = [
    "Boosts",
    "CircularShifts",
    "Cyclic",
    "Dihedral",
    "E2",
    "E3",
    "Group",
    "Lorentz",
    "Negation",
    "O2",
    "O3",
    "Permutations",
    "Product",
    "SE2",
    "SE3",
    "SO2",
    "SO3",
    "Scalings",
    "Translations",
    "Wallpaper",
]
