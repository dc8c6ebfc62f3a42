"""Labels of potentials: scale, reference energies, targets; in NumPy."""

from __future__ import annotations

import warnings

import numpy as np
from keras import ops

from keras_remul.backend.mixins import ModelMixin
from keras_remul.models.wrappers.consistency import (
    BOHR,
    HARTREE,
    check_consistency,
)
from keras_remul.utils.elements import counts
from keras_remul.utils.typing import Array

SAMPLES = 512  # on which scale and references of a model are fitted
LEAST_GAIN = 1e-3
SAME_PLACE = 1e-2  # Angstrom; whatever the data are, these are no two atoms


class PotentialLabels(ModelMixin):
    """The part of a `Potential` that goes between it and total energies."""

    def adapt(
        self, x: dict[str, Array], y: dict[str, Array], batch_size: int = 32
    ) -> None:
        """Sets the scale and the reference energies from training data.

        The scale makes the forces of the untrained model as large as the
        labels, and the gain then makes its energies spread no more than the
        labels do. The references are fitted, by least squares, to what the
        model leaves of the energies, so that training starts close to them.
        For a model that is already trained call `adapt_references`.

        Warns where the data leave reference energies open, such as those of one
        molecule alone: energies of other compositions then mean nothing.

        Energies that change by another amount than the work of the forces, from
        a frame of a molecule to one near it, are an error that names the likely
        unit or the sign. It takes 16 such pairs among runs of consecutive
        samples, without a cell; fewer are not judged.

        Args:
            x: dict of inputs, arrays.
            y: dict of `"energy"` `(B, 1)`, total energies in float64, and
                `"forces"` `(B, N, 3)`.
            batch_size: samples in one pass.

        Raises:
            ValueError: shapes differ, a value is not finite, an atomic number
                is none, two atoms are at one place, the energies look like
                hartree or are not those of the forces, or the model gives NaN.
        """
        x, number, energies, forces = self._some(x, y, batch_size)
        if forces is None:
            raise ValueError(
                'Expected y with "forces", which set the scale. Received: '
                f"{sorted(y)}"
            )
        self.gain.assign(1.0)
        found = self.predict(x, batch_size=batch_size, verbose=0)
        _check_found(found["forces"])
        ratio = _rms(forces, x) / _rms(found["forces"], x)
        if not np.isfinite(ratio) or ratio == 0:
            raise ValueError(
                "Expected forces, of the labels and of the model, that are not "
                f"all zero. Received: a ratio of {ratio}"
            )
        wanted, start = (
            np.std(_unexplained(number, e))
            for e in (energies, ratio * found["energy"])
        )
        # Forces of random directions do more work than those of a minimum.
        gain = float(np.clip(wanted / start, LEAST_GAIN, 1.0)) if start else 1.0
        if np.linalg.matrix_rank(number) == len(number):
            gain = 1.0  # the spread is what rounding left
        self.scale.assign(float(ops.convert_to_numpy(self.scale)) * ratio)
        self.gain.assign(gain)
        self._fit_references(
            x, number, energies, gain * ratio * found["energy"]
        )

    def adapt_references(
        self, x: dict[str, Array], y: dict[str, Array], batch_size: int = 32
    ) -> None:
        """Fits the reference energies alone, to a model that stays as it is.

        Args:
            x, y, batch_size: as for `adapt`; y may lack forces.

        Raises:
            ValueError: as `adapt`.
        """
        x, number, energies, _ = self._some(x, y, batch_size)
        found = self.predict(x, batch_size=batch_size, verbose=0)["energy"]
        self._fit_references(x, number, energies, found)

    def _some(self, x, y, batch_size):
        """Inputs, numbers of atoms, energies and forces of some samples."""
        number, energies, forces = self._read(x, y)
        rows = some(number, batch_size)
        _check_places(x, rows)
        if forces is not None and "box" not in x:
            check_consistency(
                np.asarray(x["positions"], "float64"),
                np.asarray(x["atomic_numbers"])[..., 0],
                energies[:, 0],
                forces,
            )
        return (
            {key: np.asarray(value)[rows] for key, value in x.items()},
            number[rows],
            energies[rows],
            None if forces is None else forces[rows],
        )

    def _fit_references(self, x, number, energies, found):
        references, numbers = self.references, x["atomic_numbers"]
        if references.energies is None:
            _warn_of_open_references(number)
            references.adapt(numbers, energies - found, x.get("mask"))
            return
        references.assign(references.energies)
        references.total(numbers, x.get("mask"))  # raises if one is missing
        seen = np.flatnonzero(number.sum(axis=0))
        # Of other elements the model knows nothing.
        references.assign({z: references.energies[z] for z in seen.tolist()})

    def targets(
        self, x: dict[str, Array], y: dict[str, Array]
    ) -> dict[str, np.ndarray]:
        """Labels to train with: energies without the reference energies.

        Args:
            x: dict of inputs, arrays.
            y: dict of `"energy"` `(B, 1)` in float64, and optional `"forces"`
                `(B, N, 3)` and `"stress"` `(B, 3, 3)`.

        Returns:
            Dict of float32 arrays: `"energy"`, `"energy_per_atom"`, and the
            others of y.

        Raises:
            ValueError: as `adapt`, or an element has no reference energy.
        """
        number, energies, forces = self._read(x, y)
        energies = energies - self.references.total(
            x["atomic_numbers"], x.get("mask")
        )
        result = {
            "energy": energies,
            "energy_per_atom": energies / number.sum(axis=1, keepdims=True),
        }
        if forces is not None:
            result["forces"] = forces
        if "stress" in y:
            result["stress"] = _array(y, "stress", (len(energies), 3, 3))
        return {key: a.astype("float32") for key, a in result.items()}

    def total_energy(
        self, x: dict[str, Array], y: dict[str, Array]
    ) -> np.ndarray:
        """Total energies of predictions, with the reference energies.

        Args:
            x: dict of inputs, arrays.
            y: outputs of the potential for them, a dict.

        Returns:
            Float64 `(B, 1)`, NumPy.

        Raises:
            ValueError: an element has no reference energy.
        """
        energy = ops.convert_to_numpy(y["energy"]).astype("float64")
        return energy + self.references.total(
            x["atomic_numbers"], x.get("mask")
        )

    def _read(self, x, y):
        """Numbers of atoms of each element, energies, forces; checked."""
        self._check_inputs(x)
        if "atomic_numbers" not in x:
            raise ValueError(
                'Expected x with the key "atomic_numbers". Received: '
                f"{sorted(x)}"
            )
        samples, atoms, dim = np.shape(x["positions"])
        _array(x, "positions", (samples, atoms, dim))
        if "energy" not in y:
            raise ValueError(
                f'Expected y with the key "energy". Received: {sorted(y)}'
            )
        energies = _array(y, "energy", (samples, 1))
        number = counts(x["atomic_numbers"], x.get("mask"))
        empty = np.flatnonzero(number.sum(axis=1) == 0)
        if empty.size:
            raise ValueError(f"Sample {empty[0]} has no atoms. Leave it out.")
        _check_unit(energies, number)
        if self.stress:
            _check_volume(np.asarray(x["box"], "float64"))
        forces = None
        if "forces" in y:
            forces = _array(y, "forces", (samples, atoms, dim))
        return number, energies, forces


def some(number, batch_size):
    """Evenly spaced samples, `SAMPLES` at most, in whole batches if possible.

    A batch of another size would be compiled on its own.

    Args:
        number: how many atoms of each element a sample has `(B, 119)`.
        batch_size: samples of a batch.

    Returns:
        Their indices; each element is in one of them.
    """
    samples = len(number)
    count = min(samples, SAMPLES)
    count -= count % batch_size if count > batch_size else 0
    rows = np.linspace(0, samples - 1, count).astype(int)
    lost = (number > 0).any(axis=0) & ~(number[rows] > 0).any(axis=0)
    # The first sample of each element that is rare.
    rare = [int(np.argmax(number[:, z])) for z in np.flatnonzero(lost)]
    if rare:
        fill = -(count + len(rare)) % batch_size
        rows = np.concatenate([rows, rare, np.resize(rows, fill)])
    return rows


def _unexplained(number, energies):
    """What the numbers of atoms do not explain of energies `(B, 1)`."""
    found, *_ = np.linalg.lstsq(number, energies, rcond=1e-10)
    return energies - number @ found


def _rms(forces, x):
    """Root of the mean square of the forces on valid atoms."""
    forces = np.asarray(forces, "float64")
    mask = x.get("mask")
    if mask is not None:
        forces = forces[np.asarray(mask).astype(bool)]
    return np.sqrt(np.mean(forces**2))


def _array(data, key, shape):
    value = np.asarray(data[key], "float64")
    if value.shape != shape:
        raise ValueError(
            f"Expected {key!r} of shape {shape}. Received: {value.shape}"
        )
    if not np.isfinite(value).all():
        sample = np.argwhere(~np.isfinite(value))[0][0]
        raise ValueError(
            f"Expected finite numbers in {key!r}. Received: NaN or infinity in "
            f"sample {sample}"
        )
    return value


def _check_places(x, rows):
    """Raises ValueError where two atoms of a sample are at one place."""
    from scipy.spatial.distance import pdist

    positions = np.asarray(x["positions"], "float64")
    mask = x.get("mask")
    for row in rows:
        r = positions[row]
        if mask is not None:
            r = r[np.asarray(mask[row]).astype(bool)]
        nearest = pdist(r).min(initial=np.inf)
        if nearest < SAME_PLACE:
            raise ValueError(
                f"Expected no two atoms at one place. Received: a distance of "
                f"{nearest:.3g} in sample {row}. Padding needs a mask."
            )


def _check_found(forces):
    """Raises ValueError where the model gives no number."""
    finite = np.isfinite(forces).all(axis=(1, 2))
    if not finite.all():
        raise ValueError(
            "The model gives NaN or infinity for some of the samples, "
            f"{np.count_nonzero(~finite)} of {len(finite)}. Are there elements "
            "that are not among `elements`, cells without volume, or cells of "
            "less than twice the cut-off without a list of neighbors "
            "(`graphs.periodic_graph`)?"
        )


def _warn_of_open_references(number):
    """Warns where least squares leave reference energies open."""
    elements = np.flatnonzero(number.sum(axis=0))
    rank = np.linalg.matrix_rank(number[:, elements])
    if rank < len(elements):
        warnings.warn(
            f"The reference energies of the elements {elements.tolist()} are "
            f"not determined by the data, whose compositions have rank {rank}. "
            "Energies of other compositions mean nothing. Give `references`, "
            "or add data of others, to compare them.",
            stacklevel=4,
        )


def _check_volume(box):
    flat = np.flatnonzero(~(np.abs(np.linalg.det(box)) > 0))
    if flat.size:
        raise ValueError(
            "Argument `stress` needs cells of three lattice vectors. Received: "
            f"a cell without volume in sample {flat[0]}: "
            f"{box[flat[0]].tolist()}"
        )


def _check_unit(energies, number):
    """Raises ValueError where total energies look like hartree.

    The energy of all electrons of a neutral atom is known within a few percent:
    `-0.7687 Z^(7/3) + 0.5 Z^2 - 0.27 Z^(5/3)` hartree, the series of Thomas,
    Fermi, Scott and Schwinger (Schwinger, Phys. Rev. A 24, 2353, 1981).
    """
    z = np.arange(number.shape[1], dtype="float64")
    atoms = -0.7687 * z ** (7 / 3) + 0.5 * z**2 - 0.2699 * z ** (5 / 3)
    expected = number @ atoms
    if np.allclose(energies[:, 0], expected, rtol=0.03):
        raise ValueError(
            "These energies are those of all electrons in hartree: "
            f"{energies[0, 0]:.6g} in sample 0. Expected eV, with forces in "
            f"eV/Angstrom. Multiply energies by {HARTREE}, and forces in "
            f"hartree/bohr by {HARTREE / BOHR:.8g}."
        )
