"""Representations made of others, and `get`, which reads their names."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from typing import Self

import keras
import numpy as np
from keras import ops

from keras_remul.groups.base import Group
from keras_remul.representations import cartesian
from keras_remul.representations.base import (
    Representation,
    check_vectors,
    times,
)
from keras_remul.representations.irreps import Irrep
from keras_remul.utils.arguments import checked, named
from keras_remul.utils.dtypes import floating, widened
from keras_remul.utils.typing import Array, Config, Elements, Shape

_NAMES = {
    "scalar": cartesian.Scalar,
    "pseudoscalar": cartesian.Pseudoscalar,
    "vector": cartesian.Vector,
    "pseudovector": cartesian.Pseudovector,
    "point": cartesian.Point,
    "symmetric_matrix": cartesian.SymmetricMatrix,
    "four_vector": cartesian.FourVector,
    "0e": cartesian.Scalar,
    "0o": cartesian.Pseudoscalar,
    "image": lambda: Grid("scalar"),
    "odd": lambda: Odd("scalar"),
}


def get(identifier: str | Representation) -> Representation:
    """A `Representation` from an instance or a name.

    Args:
        identifier: a `Representation`, or a string: `"scalar"`,
            `"pseudoscalar"`, `"vector"`, `"pseudovector"`, `"point"`,
            `"symmetric_matrix"`, `"four_vector"`, `"image"`, `"odd"`; degree
            and parity of an irrep, `"1o"` or `"2e"` (`"0e"` is a scalar, `"0o"`
            a pseudoscalar); several joined by `+` for a `DirectSum`;
            `"vector@name"` for `OnFactor("name", "vector")`; and
            `"scalar per node"` or `"scalar per sample"` for `PerNode` and
            `PerSample`.

    Raises:
        ValueError: for an unknown name, with the nearest known one.
    """
    if isinstance(identifier, Representation):
        return identifier
    name = str(identifier).lower()
    if isinstance(identifier, str):
        for suffix, declare in (
            (" per node", PerNode),
            (" per sample", PerSample),
        ):
            if name.endswith(suffix):
                return declare(identifier[: -len(suffix)].strip())
        if "@" in identifier:
            inner, _, factor = identifier.rpartition("@")
            return OnFactor(factor.strip(), inner.strip())
        if "+" in name:
            return DirectSum([part.strip() for part in name.split("+")])
        if name in _NAMES:
            return _NAMES[name]()
        if re.fullmatch(r"\d[eo]", name):
            return Irrep(int(name[0]), parity=1 if name[1] == "e" else -1)
    near = difflib.get_close_matches(name, _NAMES, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise ValueError(
        f"Unknown representation {identifier!r}.{hint} Expected one of "
        f"{sorted(_NAMES)} or an instance of "
        "keras_remul.representations.Representation, such as Tensor(rank=2)."
    )


class _Compound(Representation):
    """Holds other representations; None of its own."""

    def get_config(self) -> Config:
        return keras.saving.serialize_keras_object(self._arguments())

    @classmethod
    def from_config(cls, config: Config) -> Self:
        return cls(**keras.saving.deserialize_keras_object(config))

    def _arguments(self):
        """The arguments of the constructor, as objects."""
        raise NotImplementedError


@keras.saving.register_keras_serializable(package="keras_remul")
class DirectSum(_Compound):
    """Features side by side on the last axis, each with its own action.

    rho = diag(rho_1, rho_2, ...). A `Scalar` has one component; a tensor is
    flattened. Also written `Scalar() + Vector()`, and as a string `"scalar +
    vector"` or `"0e + 1o"`.

    Args:
        representations: the parts, in order.

    Example:

    >>> DirectSum(["scalar", "vector", "2e"])    # last axis 1 + 3 + 5
    """

    def __init__(self, representations: Sequence[str | Representation]) -> None:
        if not (isinstance(representations, (list, tuple)) and representations):
            raise ValueError(
                "Argument `representations` must be a list of representations. "
                f"Received: representations={representations!r}"
            )
        self.parts = []
        with named("representations"):
            for part in map(get, representations):
                self.parts += getattr(part, "parts", [part])
        self.moves_origin = any(part.moves_origin for part in self.parts)
        if any(part.per_node is not None for part in self.parts):
            raise ValueError(
                "The parts of a DirectSum cannot be Grid(...), PerNode(...) or "
                "PerSample(...). Wrap the whole sum, such as "
                f"Grid(DirectSum([...])). Received: {self.parts}"
            )

    def _sizes(self, group):
        return [int(np.prod(part.shape(group))) for part in self.parts]

    def check(self, group: Group) -> None:
        for part in self.parts:
            part.check(group)

    def shape(self, group: Group) -> tuple[int, ...]:
        return (sum(self._sizes(group)),)

    def transform(self, group: Group, g: Elements, x: Array) -> Array:
        moved, start, lead = [], 0, ops.shape(x)[:-1]
        for part, size in zip(self.parts, self._sizes(group), strict=True):
            value = x[..., start : start + size]
            shape = part.shape(group) or (1,)
            value = part.transform(group, g, ops.reshape(value, lead + shape))
            moved.append(ops.reshape(value, lead + (size,)))
            start += size
        if len({value.dtype for value in moved}) > 1:  # of integers
            moved = [ops.cast(value, floating(x.dtype)) for value in moved]
        return ops.concatenate(moved, axis=-1)

    def _arguments(self):
        return {"representations": self.parts}

    def __repr__(self):
        return f"DirectSum({self.parts!r})"


def _add(self, other):
    """The direct sum, along the last axis."""
    return DirectSum([self, other])


# Here, since a sum is made of what stands above it.
Representation.__add__ = _add


class _Wrapper(_Compound):
    """Extends the action of one other representation."""

    def __init__(self, representation: str | Representation) -> None:
        with named("representation"):
            self.representation = get(representation)
        self.moves_origin = self.representation.moves_origin
        self.per_node = self.representation.per_node

    def _check_linear(self):
        if self.moves_origin:
            raise ValueError(
                f"Argument `representation` of {type(self).__name__} must be "
                f"linear. Received: representation={self.representation!r}"
            )

    def check(self, group: Group) -> None:
        self.representation.check(group)

    def check_data(self, group: Group, shape: Shape) -> None:
        self.representation.check_data(group, shape)

    def shape(self, group: Group) -> tuple[int, ...]:
        return self.representation.shape(group)

    def transform(self, group: Group, g: Elements, x: Array) -> Array:
        return self.representation.transform(group, g, x)


@keras.saving.register_keras_serializable(package="keras_remul")
class OnFactor(_Wrapper):
    """A feature on which only one factor of a `Product` acts.

    Also written `"vector@name"`.

    Args:
        factor: name of the factor.
        representation: how the feature changes under it.

    Example:

    >>> Symmetry(
    ...     Product({"left": SO3(), "right": SO3()}),
    ...     inputs={"a": OnFactor("left", "vector"), "b": "vector@right"},
    ...     outputs="scalar",
    ... )
    """

    @checked()
    def __init__(
        self, factor: str, representation: str | Representation
    ) -> None:
        super().__init__(representation)
        self.factor = factor

    def restrict(
        self, group: Group, g: Elements | None = None
    ) -> tuple[Representation, Group, Elements]:
        factors = getattr(group, "factors", {})
        if self.factor not in factors:
            raise ValueError(
                f"{self!r} needs a Product with the factor {self.factor!r}. "
                f"Received: group={group!r}"
            )
        elements = None if g is None else g[self.factor]
        return self.representation.restrict(factors[self.factor], elements)

    def check(self, group: Group) -> None:
        representation, group, _ = self.restrict(group)
        representation.check(group)

    def check_data(self, group: Group, shape: Shape) -> None:
        representation, group, _ = self.restrict(group)
        representation.check_data(group, shape)

    def shape(self, group: Group) -> tuple[int, ...]:
        representation, group, _ = self.restrict(group)
        return representation.shape(group)

    def transform(self, group: Group, g: Elements, x: Array) -> Array:
        representation, group, g = self.restrict(group, g)
        return representation.transform(group, g, x)

    def _arguments(self):
        return {"factor": self.factor, "representation": self.representation}

    def __repr__(self):
        return f"OnFactor({self.factor!r}, {self.representation!r})"


@keras.saving.register_keras_serializable(package="keras_remul")
class Grid(_Wrapper):
    """Features on a grid, such as images: (g x)(u) = rho(g) x(g^-1 u).

    Arrays `(B, H, W, ..., *shape)`, one axis after the batch for each
    `grid_axes` of the group. Cells are rearranged, never interpolated.
    `"image"` is short for `Grid("scalar")`: `(B, H, W, C)`. With
    `Grid("vector")` the components are rotated with the image; x points right
    along W and y up, against H.

    Args:
        representation: how the values in the cells change. Defaults to
            `"scalar"`.

    Example:

    >>> Symmetry(Dihedral(4), inputs=Grid("scalar"), outputs="scalar")
    """

    def __init__(self, representation: str | Representation = "scalar") -> None:
        super().__init__(representation)
        if self.moves_origin or self.per_node is not None:
            raise ValueError(
                "Argument `representation` of Grid must be linear and not a "
                "Grid, PerNode or PerSample. Received: "
                f"representation={self.representation!r}"
            )
        self.per_node = False

    def check(self, group: Group) -> None:
        if not group.grid_axes:
            names = group.names("grid_axes")
            hint = (
                f" Its factors {names} all do: name the one to use, such as "
                f"OnFactor({names[0]!r}, {self!r})."
                if names
                else ""
            )
            raise ValueError(
                f"{self!r} needs a group that acts on a grid without "
                "interpolation, such as CircularShifts, Cyclic or Dihedral of "
                f"the order 1, 2 or 4. Received: group={group!r}.{hint}"
            )
        super().check(group)

    def check_data(self, group: Group, shape: Shape) -> None:
        axes = group.grid_axes
        if len(shape) < 1 + axes + max(1, len(self.shape(group))):
            raise ValueError(
                f"{self!r} of {group!r} needs an array (batch, "
                f"{'cells, ' * axes}...). Received: shape {tuple(shape)}"
            )
        group.check_grid(shape[1 : 1 + axes])

    def transform(self, group: Group, g: Elements, x: Array) -> Array:
        x = self.representation.transform(group, g, x)
        return group.move_grid(g, x)

    def _arguments(self):
        return {"representation": self.representation}

    def __repr__(self):
        return f"Grid({self.representation!r})"


class _Declared(_Wrapper):
    """Declares whether axis 1 counts nodes; acts as its representation."""

    def __init__(self, representation: str | Representation) -> None:
        super().__init__(representation)
        if self.per_node is not None:
            raise ValueError(
                "A Grid, PerNode or PerSample cannot be wrapped again. "
                f"Received: representation={self.representation!r}"
            )

    def restrict(
        self, group: Group, g: Elements | None = None
    ) -> tuple[Representation, Group, Elements]:
        return self.representation.restrict(group, g)

    def _arguments(self):
        return {"representation": self.representation}

    def __repr__(self):
        return f"{type(self).__name__}({self.representation!r})"


@keras.saving.register_keras_serializable(package="keras_remul")
class PerNode(_Declared):
    """Features of each node: axis 1 of `(B, N, ..., *shape)` counts the nodes.

    A mask covers them, and `Permutations` permute them. Declare this if the
    shape is ambiguous: one number per node `(B, N)`, such as the class of each
    node, looks like N numbers per sample. Also written `"scalar per node"`.

    Args:
        representation: how the feature of one node changes.

    Example:

    >>> Symmetry(SO3(), inputs="point", outputs=PerNode("scalar"))
    """

    def __init__(self, representation: str | Representation) -> None:
        super().__init__(representation)
        self.per_node = True

    def check_data(self, group: Group, shape: Shape) -> None:
        super().check_data(group, shape)
        if len(shape) < 2 + len(self.shape(group)):
            raise ValueError(
                f"{self!r} needs an array (batch, nodes, ...). Received: shape "
                f"{tuple(shape)}"
            )


@keras.saving.register_keras_serializable(package="keras_remul")
class PerSample(_Declared):
    """Features of a whole sample `(B, ..., *shape)`: no axis counts nodes.

    No mask covers them, and `Permutations` do not change them. Declare this for
    several features of a sample, such as three vectors `(B, 3, 3)`, which look
    like those of three nodes. Also written `"vector per sample"`.

    Args:
        representation: how the feature changes.

    Example:

    >>> Symmetry(SO3(), inputs="point", outputs=PerSample("vector"))
    """

    def __init__(self, representation: str | Representation) -> None:
        super().__init__(representation)
        self.per_node = False


@keras.saving.register_keras_serializable(package="keras_remul")
class Homogeneous(_Wrapper):
    """Features with a unit of length to some power: x -> s^degree rho(g) x.

    s is the factor by which g stretches vectors, see `Scalings`; it is 1 for
    other groups. A `Vector` already has one power of s, and `degree` is added
    to it: a force that falls with the square of the distance is
    `Homogeneous(-3, "vector")`, s^-2 in total.

    Args:
        degree: power of s, any number.
        representation: the representation rho. Defaults to `"scalar"`.

    Example:

    >>> Homogeneous(-1)    # the energy of charges at distances s r
    """

    @checked()
    def __init__(
        self, degree: float, representation: str | Representation = "scalar"
    ) -> None:
        super().__init__(representation)
        self._check_linear()
        self.degree = float(degree)

    def check(self, group: Group) -> None:
        check_vectors(self, group)
        super().check(group)

    def transform(self, group: Group, g: Elements, x: Array) -> Array:
        scale = group.scale(g)
        if scale is None:
            return self.representation.transform(group, g, x)
        moved = self.representation.transform(group, g, widened(x))
        moved = times(ops.power(widened(scale), self.degree), moved)
        return ops.cast(moved, floating(x.dtype))

    def _arguments(self):
        return {"degree": self.degree, "representation": self.representation}

    def __repr__(self):
        return f"Homogeneous({self.degree!r}, {self.representation!r})"


@keras.saving.register_keras_serializable(package="keras_remul")
class Odd(_Wrapper):
    """Features that a `Negation` changes in sign: x -> sign(g) rho(g) x.

    Charges under charge conjugation; velocities, `Odd("vector")`, where motion
    is reversed. The sign is +1 for groups without a `Negation`. `"odd"` is
    short for `Odd("scalar")`.

    Args:
        representation: the representation rho. Defaults to `"scalar"`.
        factor: name of the factor of a `Product` that gives the sign, where
            several do. Defaults to None: the only one.

    Example:

    >>> Odd("vector")    # a velocity, where time is reversed
    """

    @checked()
    def __init__(
        self,
        representation: str | Representation = "scalar",
        factor: str | None = None,
    ) -> None:
        super().__init__(representation)
        self._check_linear()
        self.factor = factor

    def _signs(self, group, g=None):
        """The group that gives the sign, and its elements."""
        if self.factor is None:
            return group, g
        return OnFactor(self.factor, "scalar").restrict(group, g)[1:]

    def check(self, group: Group) -> None:
        super().check(group)
        signs, _ = self._signs(group)
        names = signs.names("negates")
        if len(names) > 1:
            raise ValueError(
                f"The factors {names} of {signs!r} all change signs. Name the "
                f"one to use, such as Odd(factor={names[0]!r})."
            )

    def transform(self, group: Group, g: Elements, x: Array) -> Array:
        moved = self.representation.transform(group, g, x)
        signs, element = self._signs(group, g)
        sign = signs.sign(element)
        return moved if sign is None else times(sign, moved)

    def _arguments(self):
        return {"representation": self.representation, "factor": self.factor}

    def __repr__(self):
        factor = "" if self.factor is None else f", factor={self.factor!r}"
        return f"Odd({self.representation!r}{factor})"
