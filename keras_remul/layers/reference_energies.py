"""Reference energies of the elements, fitted by least squares."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_remul.utils.elements import ELEMENTS, check_numbers, counts
from keras_remul.utils.typing import Array, Config, Shape


def read_energies(key, energies):
    """A dict of atomic numbers, as int, and energies, as float.

    Args:
        key: name of the argument.
        energies: such a mapping, or None, which stays None.

    Raises:
        ValueError: it is another thing.
    """
    if energies is None:
        return None
    try:
        return {int(z): float(e) for z, e in energies.items()}
    except (AttributeError, TypeError, ValueError):
        raise ValueError(
            f"Argument `{key}` must be a dict of atomic numbers and energies, "
            f"such as {{1: -13.6}}, or None. Received: {key}={energies!r}"
        ) from None


@keras.saving.register_keras_serializable(package="keras_remul")
class ReferenceEnergies(keras.layers.Layer):
    """The sum of the reference energies of the elements of a sample.

    `E_0 = sum_i e(z_i)`, with one number e for each element

    A total energy of -10,000 eV has no meV in float32. So the energies e are
    stored as the sum of two float32, and `total` and `remove` work in NumPy in
    float64. What is left, the energy of the bonds, is what a model learns.

    Args:
        energies: dict of atomic numbers and energies, such as those of isolated
            atoms, in the units of the data. Defaults to None: see `adapt`.
        **kwargs: `name`, `dtype` and the like, for `keras.layers.Layer`.

    Call arguments:
        atomic_numbers: integers `(B, N, 1)`, 1 to 118.
        mask: optional `(B, N)`, true where a node is valid.

    Returns:
        `(B, 1)`, rounded to the dtype of the layer; NaN with an element whose
        energy is not known.

    Raises:
        ValueError: an atomic number is none, or an energy not finite.

    Example:
        >>> layer = ReferenceEnergies({1: -13.6, 8: -2041.8})
        >>> layer(np.array([[[8], [1], [1]]]))  # water
    """

    def __init__(
        self, energies: Mapping[int, float] | None = None, **kwargs: Any
    ) -> None:
        kwargs.setdefault("dtype", "float32")
        super().__init__(autocast=False, **kwargs)
        self.energies = read_energies("energies", energies)
        # Rows: the energies, what their rounding left, and whether known.
        self.table = self.add_weight(
            shape=(3, ELEMENTS + 1),
            initializer="zeros",
            dtype="float32",
            trainable=False,
            name="table",
        )
        # No call of a `Potential` builds it, and until then JAX would compute
        # the first batch of each `predict` an operation at a time.
        self.built = True
        if self.energies is not None:
            self.assign(self.energies)

    def assign(self, energies: Mapping[int, float]) -> None:
        """Replaces all energies.

        Args:
            energies: dict of atomic numbers and energies.

        Raises:
            ValueError: an atomic number is none, or an energy not finite.
        """
        table = np.zeros((3, ELEMENTS + 1), "float32")
        for number, energy in energies.items():
            if not 1 <= number <= ELEMENTS or not np.isfinite(energy):
                raise ValueError(
                    f"Expected atomic numbers from 1 to {ELEMENTS} and finite "
                    f"energies. Received: {number}: {energy}"
                )
            table[0, number] = energy
            table[1, number] = energy - float(table[0, number])
            table[2, number] = 1.0
        self.table.assign(table)

    def adapt(
        self, atomic_numbers: Array, energies: Array, mask: Array | None = None
    ) -> None:
        """Fits the energies of the elements by least squares.

        Of all solutions, where the samples do not determine one, the smallest.

        Args:
            atomic_numbers: integers `(B, N, 1)`.
            energies: total energies `(B, 1)`, in float64 where they are large.
            mask: optional `(B, N)`, true where a node is valid.

        Raises:
            ValueError: shapes differ, or a value is not finite or no element.
        """
        number = counts(atomic_numbers, mask)
        energies = _column(energies, len(number))
        elements = np.flatnonzero(number.sum(axis=0))
        found, *_ = np.linalg.lstsq(number[:, elements], energies, rcond=1e-10)
        self.assign(dict(zip(elements.tolist(), found[:, 0], strict=True)))

    def total(self, atomic_numbers: Array, mask: Array | None = None) -> Array:
        """E_0 in float64, NumPy.

        Args:
            atomic_numbers: integers `(B, N, 1)`.
            mask: optional `(B, N)`, true where a node is valid.

        Returns:
            `(B, 1)`.

        Raises:
            ValueError: the energy of an element is not known, or a number is no
                element.
        """
        number = counts(atomic_numbers, mask)
        high, low, known = ops.convert_to_numpy(self.table).astype("float64")
        unknown = np.flatnonzero(number.sum(axis=0) * (known == 0))
        if unknown.size:
            raise ValueError(
                "The reference energies of these elements are not known: "
                f"{unknown.tolist()}. Known: {self.known_elements()}. `adapt` "
                "on data with all elements, or give `energies`."
            )
        return (number @ (high + low))[:, None]

    def known_elements(self) -> list[int]:
        """Atomic numbers of the elements whose energies are known."""
        table = ops.convert_to_numpy(self.table)
        return np.flatnonzero(table[2]).tolist()

    def call(self, atomic_numbers: Array, mask: Array | None = None) -> Array:
        check_numbers(atomic_numbers)
        numbers = ops.cast(atomic_numbers[..., 0], "int32")
        table = ops.cast(self.table, self.compute_dtype)
        table = ops.where(table[2] > 0, table[0] + table[1], float("nan"))
        exists = (numbers >= 1) & (numbers <= ELEMENTS)
        energies = ops.take(table, ops.where(exists, numbers, 0), axis=0)
        if mask is not None:
            energies = ops.where(ops.cast(mask, "bool"), energies, 0.0)
        return ops.sum(energies, axis=1, keepdims=True)

    def compute_output_shape(self, input_shape: Shape, *_: Any) -> Shape:
        return (input_shape[0], 1)

    def get_config(self) -> Config:
        return {**super().get_config(), "energies": self.energies}


def _column(energies, count):
    energies = np.asarray(energies, "float64")
    if energies.shape != (count, 1):
        raise ValueError(
            f"Expected energies of shape ({count}, 1), one for each sample. "
            f"Received: {energies.shape}"
        )
    if not np.isfinite(energies).all():
        bad = np.flatnonzero(~np.isfinite(energies[:, 0]))
        raise ValueError(
            f"Expected finite energies. Received: {energies[bad[0], 0]} in "
            f"sample {bad[0]}"
        )
    return energies


def one_hot_elements(numbers, elements, mask):
    """Which element each atom is, one-hot; NaN where it is none of them.

    Args:
        numbers: atomic numbers `(B, N, 1)`, floats.
        elements: the atomic numbers of E elements.
        mask: `(B, N)`, true where a node is valid, or None.

    Returns:
        `(B, N, E)`, in the dtype of `numbers`.
    """
    one_hot = numbers == ops.convert_to_tensor(list(elements), numbers.dtype)
    known = ops.any(one_hot, axis=-1, keepdims=True)
    if mask is not None:
        known = known | ~ops.cast(mask, "bool")[..., None]
    return ops.where(known, ops.cast(one_hot, numbers.dtype), float("nan"))
