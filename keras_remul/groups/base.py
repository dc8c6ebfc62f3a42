"""What every group offers."""

import keras
from keras import ops

from keras_remul import backend
from keras_remul.configurable import Configurable


class Group(Configurable):
    """A group G of transformations of R^d.

    An element is a matrix and a batch of n elements is one plain array
    `(n, m, m)`, so that it passes through `jit`, `fit` and NumPy alike:
    m = d for groups that fix the origin and m = d + 1 (homogeneous
    coordinates) for groups with translations.

    Elements are drawn as functions of normal variates: a subclass states how
    many (`num_normals`) it needs for one element and maps them to elements in
    `from_normal`. One call of the random generator then serves any group.
    Composition is the matrix product: `compose(a, b)` acts as b, then a.

    Attributes:
        dimension: d, the number of coordinates of the space acted upon.
        proper: True where no element reflects (det = +1 for each).
        has_translations: True where `translation` is not None.
        num_normals: standard normal variates needed for one element.
    """

    dimension = 3
    proper = True
    has_translations = False
    num_normals = 0

    def from_normal(self, z):
        """Maps normal variates `(n, num_normals)` to elements `(n, m, m)`."""
        raise NotImplementedError

    def inverse(self, g):
        """The inverse of each element, `(n, m, m)`."""
        raise NotImplementedError

    def linear(self, g):
        """The linear part of each element, `(n, d, d)`."""
        raise NotImplementedError

    def translation(self, g):
        """The translation of each element `(n, d)`, or None if there is none.

        None, rather than zeros, lets the caller leave the addition out.
        """
        return None

    def sample(self, n, seed=None, dtype=None):
        """Draws n elements.

        Args:
            n: number of elements (an integer, or a scalar tensor inside a
                compiled step).
            seed: None, an integer, or a `keras.random.SeedGenerator` (the form
                for use inside a layer or a train step).
            dtype: float dtype. Defaults to `keras.config.floatx()`.

        Returns:
            Array `(n, m, m)`.
        """
        z = keras.random.normal((n, self.num_normals), seed=seed, dtype=dtype)
        return self.from_normal(z)

    def identity(self, n, dtype=None):
        """The neutral element n times, `(n, m, m)`."""
        m = self.matrix_size
        eye = ops.eye(m, dtype=dtype or keras.config.floatx())
        return ops.tile(eye[None], (n, 1, 1))

    def compose(self, a, b):
        """The products ab of two batches of elements, `(n, m, m)`."""
        return backend.matmul(a, b)

    @property
    def matrix_size(self):
        """m, the number of rows of an element."""
        return self.dimension

    def parity(self, g):
        """det of the linear part, +1 or -1: `(n,)`, or None if always +1.

        Groups that reflect act on three dimensions here.
        """
        if self.proper:
            return None
        # The triple product of the rows: much cheaper than a factorisation.
        a, b, c = ops.unstack(self.linear(g), axis=1)  # (n, 3) each
        cross = b * ops.roll(c, -1, axis=-1) - c * ops.roll(b, -1, axis=-1)
        return ops.sign(ops.sum(a * ops.roll(cross, -1, axis=-1), axis=-1))
