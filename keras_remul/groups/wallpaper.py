"""Semidirect products of the shifts of an image with quarter turns."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from keras_remul.groups.base import Group
from keras_remul.groups.lattice import Cyclic, Dihedral
from keras_remul.groups.permutations import CircularShifts
from keras_remul.utils.arguments import checked, one_of
from keras_remul.utils.typing import Array, Config, Elements, Shape


@keras.saving.register_keras_serializable(package="keras_remul")
class Wallpaper(Group):
    """Shifts, quarter turns and mirror images of a periodic square image.

    A wallpaper group: p4m with the defaults, p4 without reflections, p2mm and
    p2 for `order=2`, p1 for `order=1` without reflections. It is the semidirect
    product of `CircularShifts` and `Dihedral(order)` or `Cyclic(order)`:
    (t, R) turns the image about its middle by R, then shifts it by t, so that
    (s, Q)(t, R) = (s + Qt, QR). `Product` of the two is not this group, since
    there shifts and turns would commute.

    An element is a dict with `"shift"` `(n, 2)`, int32, cells along H and W,
    and `"turn"` `(n, 2, 2)`. On leaves declared as `Grid` nothing is
    interpolated; vectors are turned and not shifted.

    `sample` draws from the Haar measure: all elements are equally likely.

    Args:
        size: number of cells along H and along W.
        order: the turns are by multiples of 360 / order degrees: 1, 2 or 4.
            Defaults to 4.
        reflections: whether mirror images belong to the group. Defaults to
            True.

    Raises:
        ValueError: `size` is no positive integer, or `order` is not 1, 2 or 4.

    Example:

    >>> g = Wallpaper(28).sample(8, seed=0)
    >>> g["shift"], g["turn"]    # (8, 2) and (8, 2, 2)
    """

    dimension = 2
    grid_axes = 2

    # The turns that keep a square lattice.
    @checked(order=one_of(1, 2, 4))
    def __init__(
        self, size: int, order: int = 4, reflections: bool = True
    ) -> None:
        self.size, self.order, self.reflections = size, order, reflections
        self.shifts = CircularShifts((size, size))
        self.turns = Dihedral(order) if reflections else Cyclic(order)
        self.proper = not reflections
        self.num_normals = self.shifts.num_normals + self.turns.num_normals

    def from_normal(self, z: Array) -> Elements:
        return {
            "shift": self.shifts.from_normal(z[:, :2]),
            "turn": self.turns.from_normal(z[:, 2:]),
        }

    @property
    def num_elements(self) -> int:
        return self.shifts.num_elements * self.turns.num_elements

    def _pick(self, index, dtype):
        count = self.shifts.num_elements
        return {
            "shift": self.shifts._pick(ops.mod(index, count), dtype),
            "turn": self.turns._pick(ops.floor_divide(index, count), dtype),
        }

    def identity(self, n: int | Array, dtype: str | None = None) -> Elements:
        return {
            "shift": self.shifts.identity(n),
            "turn": self.turns.identity(n, dtype),
        }

    def compose(self, a: Elements, b: Elements) -> Elements:
        turned = self._turned(a["turn"], self.shifts.as_tensor(b["shift"]))
        return {
            "shift": self.shifts.compose(a["shift"], turned),
            "turn": self.turns.compose(a["turn"], b["turn"]),
        }

    def inverse(self, g: Elements) -> Elements:
        turn = self.turns.inverse(g["turn"])
        shift = self.shifts.inverse(g["shift"])
        shift = self.shifts._modulo(self._turned(turn, shift))
        return {"shift": shift, "turn": turn}

    def _turned(self, turn, shift):
        """Shifts along H (down) and W, turned: x is W and y is minus H."""
        turn = ops.round(self.turns.as_tensor(turn))
        turn, (down, right) = (
            ops.cast(turn, "int32"),
            ops.unstack(shift, axis=1),
        )
        return ops.stack(
            [
                turn[:, 1, 1] * down - turn[:, 1, 0] * right,
                turn[:, 0, 0] * right - turn[:, 0, 1] * down,
            ],
            axis=1,
        )

    def linear(self, g: Elements) -> Array:
        return self.turns.linear(g["turn"])

    def generators(self) -> dict[str, Any]:
        return {}

    def check_grid(self, sizes: Shape) -> None:
        self.shifts.check_grid(sizes)

    def move_grid(self, g: Elements, x: Array) -> Array:
        return self.shifts.move_grid(
            g["shift"], self.turns.move_grid(g["turn"], x)
        )

    def get_config(self) -> Config:
        return {
            "size": self.size,
            "order": self.order,
            "reflections": self.reflections,
        }
