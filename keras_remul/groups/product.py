"""Direct products of groups."""

from __future__ import annotations

import itertools
import math
from typing import Any, Self

import keras
import numpy as np
from keras import ops

from keras_remul import backend
from keras_remul.groups.base import Group
from keras_remul.groups.orthogonal import O3
from keras_remul.utils.dtypes import same_dtype
from keras_remul.utils.typing import Array, Config, Elements, Shape


@keras.saving.register_keras_serializable(package="keras_remul")
class Product(Group):
    """G1 x G2 x ...: each factor acts by itself, (a, b)(c, d) = (ac, bd).

    An element is a dict with one batch of elements per factor. If only one
    factor acts on vectors, on nodes or on a grid, it does so in the product:
    with rotations and permutations of nodes, vectors are rotated and nodes
    permuted. Factors that commute can act on the same vectors: `Scalings` with
    one more factor without translations, `Boosts` along an axis with rotations
    about it, which then act on four-vectors. If several other factors act on
    the same objects, each feature names the one that acts on it:
    `OnFactor("name", "vector")`, or short `"vector@name"`.

    `sample` draws the factors independently, each from its own distribution.

    Args:
        factors: dict of names to groups.

    Example:

    >>> group = Product({"space": SO3(), "nodes": Permutations(5)})
    >>> g = group.sample(8, seed=0)
    >>> g["space"], g["nodes"]    # (8, 3, 3) and (8, 5)
    """

    def __init__(self, factors: dict[str, Group]) -> None:
        if not isinstance(factors, dict) or not factors:
            raise ValueError(
                "Argument `factors` must be a dict of names to groups. "
                f"Received: factors={factors!r}"
            )
        for name, group in factors.items():
            if not isinstance(name, str) or not isinstance(group, Group):
                raise ValueError(
                    "Argument `factors` must map names to groups, such as "
                    f"SO3(). Received: factors={factors!r}"
                )
        self.factors = dict(factors)
        self.num_normals = sum(f.num_normals for f in factors.values())
        self._vectors = self._acting_on_vectors()
        groups = [self.factors[name] for name in self._vectors]
        self.dimension = max((g.dimension for g in groups), default=None)
        self.proper = all(group.proper for group in groups)
        self.orthogonal = all(group.orthogonal for group in groups)
        self.has_translations = any(group.has_translations for group in groups)
        nodes = self.names("num_nodes")
        self.num_nodes = factors[nodes[0]].num_nodes if nodes else None
        self.negates = bool(self.names("negates"))
        grid = self.names("grid_axes")
        self.grid_axes = factors[grid[0]].grid_axes if len(grid) == 1 else 0

    def names(self, attribute: str) -> list[str]:
        return [k for k, f in self.factors.items() if getattr(f, attribute)]

    def _acting_on_vectors(self):
        """The factors that `linear` multiplies; none if this is ambiguous."""
        names = self.names("dimension")
        groups = [self.factors[name] for name in names]
        for a, b in itertools.combinations(groups, 2):
            if not (a.commutes_with(b) or b.commutes_with(a)):
                return []
        return names

    def _map(self, method, *elements):
        return {
            name: getattr(factor, method)(*(g[name] for g in elements))
            for name, factor in self.factors.items()
        }

    def _single(self, attribute):
        """The one factor that acts on nodes, grids or signs, and its name."""
        names = self.names(attribute)
        if len(names) > 1:
            raise ValueError(
                f"The factors {names} of {self!r} all act on this feature. "
                f"Name the one to use, such as OnFactor({names[0]!r}, ...)."
            )
        return names[0], self.factors[names[0]]

    def from_normal(self, z: Array) -> Elements:
        elements, start = {}, 0
        for name, factor in self.factors.items():
            stop = start + factor.num_normals
            elements[name] = factor.from_normal(z[:, start:stop])
            start = stop
        return elements

    @property
    def num_elements(self) -> int | None:
        orders = self._orders()
        return math.prod(orders) if len(orders) == len(self.factors) else None

    def _orders(self):
        """The orders of the finite factors."""
        orders = (factor.num_elements for factor in self.factors.values())
        return [order for order in orders if order is not None]

    def even_elements(self, count: int) -> Elements | None:
        """Those of the infinite factor, each with all elements of the others.

        One finite factor of two elements, such as `Negation`, may also go with
        the parity of 24, 48 or 120 elements of `O3`: half as many, but a part
        of a function that changes its sign under both is not averaged away.

        Args:
            count: their number.
        """
        endless = [k for k, f in self.factors.items() if f.num_elements is None]
        if len(endless) != 1:
            return None
        (name,) = endless
        others = {k: f for k, f in self.factors.items() if k != name}
        order = math.prod(self._orders())
        main, every = self.factors[name], count // order
        found = None if count % order else main.even_elements(every)
        if found is not None:
            index = np.repeat(np.arange(order), every)
            found = keras.tree.map_structure(
                lambda a: ops.concatenate([a] * order), found
            )
        elif order == 2 and isinstance(main, O3):
            found = main.even_elements(count)
            index = np.repeat(np.arange(2), count // 2)
        if found is None:
            return None
        if not others:
            return {name: found}
        floatx = keras.config.floatx()
        rest = Product(others)._pick(index.astype("int32"), floatx)
        return {k: found if k == name else rest[k] for k in self.factors}

    def _pick(self, index, dtype):
        elements, orders = {}, self._orders()
        after = math.prod(orders)
        for order, name in zip(orders, self.factors, strict=True):
            after = after // order
            part = ops.mod(ops.floor_divide(index, after), order)
            elements[name] = self.factors[name]._pick(part, dtype)
        return elements

    def identity(self, n: int | Array, dtype: str | None = None) -> Elements:
        return {k: f.identity(n, dtype) for k, f in self.factors.items()}

    def compose(self, a: Elements, b: Elements) -> Elements:
        return self._map("compose", a, b)

    def inverse(self, g: Elements) -> Elements:
        return self._map("inverse", g)

    def linear(self, g: Elements) -> Array:
        linear = None
        for name in self._vectors:
            factor = self.factors[name].linear(g[name])
            if factor.shape[-1] < self.dimension:
                factor = _of_spacetime(factor)
            linear = (
                factor
                if linear is None
                else backend.matmul(*same_dtype(linear, factor))
            )
        return linear

    def translation(self, g: Elements) -> Array | None:
        if not self.has_translations:
            return None
        (name,) = self._vectors
        return self.factors[name].translation(g[name])

    def parity(self, g: Elements) -> Array | None:
        return self._multiplied("parity", g)

    def scale(self, g: Elements) -> Array | None:
        return self._multiplied("scale", g)

    def _multiplied(self, method, g):
        """The product of numbers of the factors; None if all are None."""
        found = [
            getattr(self.factors[name], method)(g[name])
            for name in self._vectors
        ]
        found = [number for number in found if number is not None]
        return math.prod(found[1:], start=found[0]) if found else None

    def sign(self, g: Elements) -> Array | None:
        if not self.negates:
            return None
        name, factor = self._single("negates")
        return factor.sign(g[name])

    def generators(self) -> dict[str, Any]:
        """A basis of the Lie algebra: the generators of each factor.

        Returns:
            Dict of names, such as `"space_rotation_x"` for the factor
            `"space"`, to dicts with the keys of an element: a matrix A for this
            factor, None for the others, which stay at the identity. So
            `identity + t A`, for the factors where A is not None, is a curve
            with this velocity.
        """
        still = keras.tree.map_structure(lambda _: None, self.identity(1))
        return {
            f"{name}_{key}": {**still, name: matrix}
            for name, factor in self.factors.items()
            for key, matrix in factor.generators().items()
        }

    def permute(self, g: Elements, x: Array) -> Array:
        name, factor = self._single("num_nodes")
        return factor.permute(g[name], x)

    def check_grid(self, sizes: Shape) -> None:
        _, factor = self._single("grid_axes")
        factor.check_grid(sizes)

    def move_grid(self, g: Elements, x: Array) -> Array:
        name, factor = self._single("grid_axes")
        return factor.move_grid(g[name], x)

    def get_config(self) -> Config:
        serialize = keras.saving.serialize_keras_object
        return {"factors": {k: serialize(f) for k, f in self.factors.items()}}

    @classmethod
    def from_config(cls, config: Config) -> Self:
        restore = keras.saving.deserialize_keras_object
        return cls({k: restore(f) for k, f in config["factors"].items()})

    def __repr__(self):
        return f"Product({self.factors!r})"


def _of_spacetime(linear):
    """Linear maps of space `(n, 3, 3)` as maps of four-vectors `(n, 4, 4)`."""
    space = ops.pad(linear, ((0, 0), (1, 0), (1, 0)))
    return space + ops.diag(ops.one_hot(0, 4, dtype=space.dtype))
