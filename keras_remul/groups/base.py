"""The base class of groups."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_remul import backend
from keras_remul.utils.configurable import Configurable
from keras_remul.utils.dtypes import (
    at_least_float32,
    floating,
    same_dtype,
    widened,
    wider,
)
from keras_remul.utils.typing import Array, ArrayLike, Elements, Seed, Shape
from keras_remul.utils.validation import check_count

_MAX_ELEMENTS = 10_000  # of a group that is gone through whole


class Group(Configurable):
    """A group G of transformations.

    An element is a matrix and a batch of n elements is one plain array
    `(n, m, m)`, so that it passes through `jit`, `fit` and NumPy alike:
    m = d for groups that fix the origin and m = d + 1 (homogeneous
    coordinates) for groups with translations. Groups whose elements are not
    matrices (permutations, shifts, products) hold them in other arrays, or
    nests of arrays, with n first, and give `compose`, `inverse` and `identity`.

    Elements are drawn as functions of normal variates: a subclass states how
    many (`num_normals`) it needs for one element and maps them to elements in
    `from_normal`. One call of the random generator then serves any group.
    `compose(a, b)` acts as b, then a.

    A representation asks the group how it acts on each of three things:

    - vectors of R^d: `dimension`, `linear`, `translation`, `parity`, `scale`;
    - the nodes of a sample: `num_nodes`, `permute`;
    - the cells of a grid: `grid_axes`, `check_grid`, `move_grid`;

    and, of features that may change their sign, for `negates` and `sign`.

    A group defines those for what it acts on, and keeps the defaults for the
    rest.

    Attributes:
        dimension: d, the number of coordinates of the space acted upon, or
            None where the group does not act on vectors.
        proper: True where no element reflects (det = +1 for each).
        orthogonal: True where each linear part has R^T R = 1.
        isotropic: True where each linear part is a multiple of 1.
        has_translations: True where `translation` is not None.
        num_nodes: N, the number of nodes permuted, or None.
        grid_axes: the number of axes of the grid acted upon, or 0.
        negates: True where an element may change the sign of `Odd` features.
        num_normals: standard normal variates needed for one element.
        num_elements: the order of a finite group; None for an infinite one.
    """

    dimension: Any = None
    proper: bool = True
    orthogonal: bool = True
    isotropic: bool = False
    has_translations: bool = False
    num_nodes: int | None = None
    grid_axes: int = 0
    negates: bool = False
    num_normals: int = 0
    num_elements: int | None = None

    def from_normal(self, z: Array) -> Elements:
        """Maps normal variates to elements.

        Args:
            z: standard normal variates `(n, num_normals)`.

        Returns:
            n elements, in the form that `sample` returns.
        """
        raise NotImplementedError

    def inverse(self, g: Elements) -> Elements:
        """The inverse of each element.

        Args:
            g: n elements, in the form that `sample` returns.
        """
        raise NotImplementedError

    def sample(
        self, n: int | Array, seed: Seed = None, dtype: str | None = None
    ) -> Elements:
        """Draws n elements.

        Args:
            n: number of elements (an integer, or a scalar tensor inside a
                compiled step).
            seed: None, an integer, or a `keras.random.SeedGenerator` (the form
                for use inside a layer or a train step).
            dtype: float dtype. Defaults to `keras.config.floatx()`. The draw
                is made in float32 at least. Indices and shifts are int32.

        Returns:
            Array `(n, m, m)`, or what the group holds its elements in.

        Raises:
            ValueError: `n` is negative or no integer; `dtype` is no float.
        """
        dtype = _checked(dtype)
        if isinstance(n, (int, float, str)):  # not of a step that is traced
            check_count("n", n, least=0)
        shape, wide = (n, self.num_normals), at_least_float32(dtype)
        g = self.from_normal(keras.random.normal(shape, seed=seed, dtype=wide))
        if wide == dtype:
            return g

        def narrow(a):
            name = keras.backend.standardize_dtype(a.dtype)
            return ops.cast(a, dtype) if name == wide else a

        return keras.tree.map_structure(narrow, g)

    def elements(self, dtype: str | None = None) -> Elements:
        """All elements of a finite group, once each, the identity first.

        Args:
            dtype: float dtype. Defaults to `keras.config.floatx()`.

        Returns:
            `num_elements` elements, in the form that `sample` returns.

        Raises:
            ValueError: for an infinite group, and for one of more than 10000
                elements.
        """
        if self.num_elements is None:
            raise ValueError(
                f"{self!r} is infinite: its elements cannot be listed. "
                "Use `sample`."
            )
        if self.num_elements > _MAX_ELEMENTS:
            raise ValueError(
                f"{self!r} has {self.num_elements} elements, too many to list "
                f"(more than {_MAX_ELEMENTS}). Use `sample`."
            )
        index = ops.arange(self.num_elements, dtype="int32")
        return self._pick(index, _checked(dtype))

    def even_elements(self, count: int) -> Elements | None:
        """A fixed set of elements that are spread evenly over the group.

        With a random g, the elements h g are each distributed as g is, and the
        mean of a smooth function over them varies much less than that over as
        many random ones.

        Args:
            count: their number.

        Returns:
            `count` elements, in the form that `sample` returns; None where no
            such set of this size is known.
        """
        return None

    def _pick(self, index, dtype):
        """The elements of a finite group with these indices `(n,)`."""
        raise NotImplementedError

    def identity(self, n: int | Array, dtype: str | None = None) -> Elements:
        """The neutral element n times.

        Args:
            n: number of copies.
            dtype: float dtype. Defaults to `keras.config.floatx()`. Indices and
                shifts are int32.
        """
        eye = ops.eye(self.matrix_size, dtype=_checked(dtype))
        return ops.tile(eye[None], (n, 1, 1))

    def compose(self, a: ArrayLike, b: ArrayLike) -> Elements:
        """The products ab of two batches of elements.

        Args:
            a, b: n elements each, in the form that `sample` returns.

        Returns:
            n elements, in the wider of the two dtypes; the product is computed
            in float32 at least.
        """
        a, b = self.as_tensor(a), self.as_tensor(b)
        product = backend.matmul(*same_dtype(widened(a), widened(b)))
        return ops.cast(product, wider(a.dtype, b.dtype))

    def as_tensor(self, g: ArrayLike) -> Elements:
        """Converts elements to the tensor that the group computes with.

        Args:
            g: n elements, as a tensor, a NumPy array or nested lists. Matrices
                of integers become `keras.config.floatx()`.
        """
        g = ops.convert_to_tensor(g)
        return ops.cast(g, floating(g.dtype))

    @property
    def matrix_size(self) -> int:
        """m, the number of rows of an element."""
        return self.dimension

    def names(self, attribute: str) -> list[str]:
        """Names of the factors of a `Product` for which an attribute is set.

        Args:
            attribute: `"dimension"`, `"num_nodes"`, `"grid_axes"` or
                `"negates"`: which of these the factors act on.
        """
        return []

    # Vectors.

    def linear(self, g: Elements) -> Array:
        """The linear part of each element, `(n, d, d)`.

        Args:
            g: n elements.
        """
        raise NotImplementedError

    def translation(self, g: Elements) -> Array | None:
        """The translation of each element `(n, d)`, or None if there is none.

        None, rather than zeros, lets the caller leave the addition out.

        Args:
            g: n elements.
        """
        return None

    def parity(self, g: Elements) -> Array | None:
        """det of the linear part, +1 or -1: `(n,)`, or None if always +1.

        The determinant is computed for groups of two or three dimensions.

        Args:
            g: n elements.
        """
        if self.proper:
            return None
        # The triple product of the rows: much cheaper than a factorisation.
        rows = ops.unstack(self.linear(g), axis=1)  # (n, d) each
        a, b = rows[0], rows[-1]
        if self.dimension == 2:
            return ops.sign(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0])
        _, b, c = rows
        cross = b * ops.roll(c, -1, axis=-1) - c * ops.roll(b, -1, axis=-1)
        return ops.sign(ops.sum(a * ops.roll(cross, -1, axis=-1), axis=-1))

    def scale(self, g: Elements) -> Array | None:
        """The factor by which each element stretches `(n,)`; None if 1.

        Args:
            g: n elements.
        """
        return None

    def commutes_with(self, other: Group) -> bool:
        """Whether the elements are known to commute with those of another.

        A `Product` of two groups that act on vectors asks for it. Multiples of
        1 commute with all linear maps of the same space; a group that commutes
        with others says so.

        Args:
            other: the other `Group`.
        """
        return (
            (self.isotropic or other.isotropic)
            and self.dimension == other.dimension
            and not (self.has_translations or other.has_translations)
        )

    def generators(self) -> dict[str, Any]:
        """A basis of the Lie algebra.

        Returns:
            Dict of names to matrices A `(m, m)` such that exp(t A) is an
            element: rotations by t radians (`"rotation_x"`, or `"rotation"`
            where there is one), translations by t (`"translation_x"`), boosts
            of rapidity t (`"boost_x"`), scalings by exp(t) (`"scaling"`).
            Empty for groups without elements close to the identity. Those of a
            `Product` are nested, see there.
        """
        raise NotImplementedError(
            f"{type(self).__name__} does not state its `generators`"
        )

    def sign(self, g: Elements) -> Array | None:
        """+1 or -1, the sign that `Odd` features take: `(n,)`; None if +1.

        Args:
            g: n elements.
        """
        return None

    # Nodes and grids.

    def permute(self, g: Elements, x: Array) -> Array:
        """Permutes the nodes of each sample.

        Args:
            g: B elements.
            x: array `(B, N, ...)`, N = `num_nodes`.

        Returns:
            Array of the shape and dtype of x.
        """
        raise NotImplementedError

    def check_grid(self, sizes: Shape) -> None:
        """Checks that the group acts on a grid of these sizes.

        Args:
            sizes: tuple of the numbers of cells along the axes of the grid.

        Raises:
            ValueError: the group does not act on this grid.
        """

    def move_grid(self, g: Elements, x: Array) -> Array:
        """Moves the cells of a grid.

        Args:
            g: B elements.
            x: array `(B, H, W, ...)`, as many axes after the first as
                `grid_axes` says.

        Returns:
            Array of the shape and dtype of x.
        """
        raise NotImplementedError


def rotation_generators(dimension, size):
    """Generators of the rotations of R^d as matrices of `size` rows."""
    planes = {"rotation": (0, 1)}
    if dimension == 3:
        planes = {
            "rotation_x": (1, 2),
            "rotation_y": (2, 0),
            "rotation_z": (0, 1),
        }
    result = {name: np.zeros((size, size)) for name in planes}
    for name, (i, j) in planes.items():
        result[name][j, i], result[name][i, j] = 1.0, -1.0
    return result


def _checked(dtype):
    """A float dtype as a string."""
    name = keras.backend.standardize_dtype(dtype or keras.config.floatx())
    if "float" not in name:
        raise ValueError(
            "Argument `dtype` must be a floating-point dtype. Received: "
            f"dtype={dtype!r}"
        )
    return name


def uniform_index(z, count):
    """Integers uniform in 0 .. count - 1 as a function of normal variates z."""
    u = uniform(widened(z))
    index = ops.cast(ops.floor(u * ops.cast(count, u.dtype)), "int32")
    return ops.minimum(index, ops.cast(count, "int32") - 1)


def uniform(z):
    """Numbers uniform in [0, 1) as a function of normal variates z."""
    u = 0.5 + 0.5 * ops.erf(z / math.sqrt(2))
    return ops.clip(u, 0.0, 1 - 1e-6)
