"""Potentials as calculators of ASE: total energies, forces and stress."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from ase.calculators import calculator as ase_calculator
from ase.stress import full_3x3_to_voigt_6_stress
from scipy.spatial.distance import pdist

from keras_remul.evaluation.rotations import spread_rotations
from keras_remul.models.wrappers.potential import Potential
from keras_remul.presets import sensible, verlet
from keras_remul.presets.compiling import compiled_for
from keras_remul.utils.leaves import to_numpy
from keras_remul.utils.typing import StrPath
from keras_remul.utils.validation import check_count

if TYPE_CHECKING:
    import ase


# All pairs are quickest up to here, where there is no cell.
FEW = 20
TOGETHER = 512  # atoms in one pass of several frames


class Calculator(ase_calculator.Calculator):
    """A `Potential` as a calculator of ASE, in eV and Angstrom.

    `E = 1/M sum_m E(R_m x)`, and `F = 1/M sum_m R_m^-1 F(R_m x)`

    with M = 1 and R the identity unless `symmetrize` or `random_frame` say
    otherwise. Energies are total ones, with the reference energies of the
    elements, in float64. The stress is there for a cell of three lattice
    vectors if the forces are a gradient; the potential itself need not have it
    as an output.

    Neighbors are listed for models with a cut-off, with periodic images, in
    arrays that have room for some more: the step is compiled once, and again
    only for other numbers of atoms, or where atoms crowd together.

    Args:
        model: a `Potential`, a `RemulModel` of one, or the name, folder or
            address of a preset.
        cutoff: of the list of neighbors, for models that have none of their
            own, such as `EGNN`. Defaults to None: for these, all pairs.
        skin: the list is made again when an atom has moved by half of this,
            Angstrom. Defaults to 1.0.
        symmetrize: M, 2 or more: the average over M rotations that are spread
            over all of them; 4, 6, 8, 12, 24 and 60 are spread most evenly.
            `results` then also holds `"energy_std"` and `"forces_std"` `(N,
            3)`, the standard deviations over them: what is left of the error
            of the learned symmetry, and a sign of how far to trust the rest.
            Defaults to None.
        random_frame: whether a new random rotation is taken at each step, so
            that errors of a learned symmetry do not add up in one direction.
            The same atoms then have slightly other energies each time.
        seed: integer seed of all rotations.
        compile: whether the step is compiled. The calculator then has the
            weights of its first answer, and wants to be made anew after they
            have changed; else it has those of each time. Defaults to None: yes
            on JAX and TensorFlow; no on PyTorch, where it takes half a minute
            and a C++ compiler, and steps are then about four times as quick.

    Raises:
        ValueError: an argument is not valid. Of a calculation: no atoms,
            positions that are not finite, atoms on top of each other, an
            element without a reference energy, a cell without volume, or NaN
            from the model; the error names the atom.

    Example:
        >>> atoms.calc = keras_remul.ase.Calculator("my_preset")
        >>> atoms.get_potential_energy(), atoms.get_forces()
    """

    implemented_properties = ["energy", "free_energy", "forces", "stress"]
    ignored_changes = {"initial_charges", "initial_magmoms"}

    def __init__(
        self,
        model: keras.Model | StrPath,
        cutoff: float | None = None,
        skin: float = 1.0,
        symmetrize: int | None = None,
        random_frame: bool = False,
        seed: int = 0,
        compile: bool | None = None,
    ) -> None:
        super().__init__()
        self.potential = sensible.as_potential(model)
        network = self.potential.model
        self.takes_lists = getattr(network, "reads_pairs", False)
        # Of all pairs, those beyond the cut-off do not count.
        self.is_local = getattr(network, "cutoff", None) is not None
        cutoff = _cutoff(network, cutoff, self.takes_lists)
        if not skin >= 0:
            raise ValueError(
                f"Argument `skin` must be 0 or more. Received: {skin}"
            )
        self.neighbors = None
        if cutoff is not None:
            self.neighbors = verlet.VerletList(cutoff, skin)
        self.rotations = None
        if symmetrize is not None:
            count = check_count("symmetrize", symmetrize, least=2)
            self.rotations = spread_rotations(count, seed)
        self.random_frame = bool(random_frame)
        self.rng = np.random.default_rng(check_count("seed", seed, 0))
        if compile is None:
            compile = keras.backend.backend() != "torch"
        self.compile = bool(compile)
        self._strained = None
        self._steps = {}
        self._width = None
        self._weights = None  # of compiled steps
        self._offset = None  # atomic numbers, the table, and the energy

    def calculate(
        self,
        atoms: ase.Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = ase_calculator.all_changes,
    ) -> None:
        """Computes `results` for the atoms; ASE calls it.

        Args:
            atoms: `ase.Atoms`.
            properties: names; all are computed, whatever they are.
            system_changes: what is new, unused.
        """
        super().calculate(atoms, properties, system_changes)
        these: Any = self.atoms
        sensible.check_atoms(these)
        offset = self._reference_energy(these)
        x = self._inputs(these)
        if "stress" in properties and not self._has_stress(x):
            raise ase_calculator.PropertyNotImplementedError(
                "The stress needs forces that are a gradient, and a cell of "
                "three lattice vectors with a periodic direction. Received: "
                f'forces="{self.potential.forces}", cell='
                f"{these.cell.array.tolist()}, pbc={these.pbc.tolist()}"
            )
        found = self._averaged(x, len(these))
        for key, value in found.items():
            _check_finite(these, key, value)
        self.results = {
            **found,
            "energy": found["energy"] + offset,
            "free_energy": found["energy"] + offset,
        }
        if "stress" in found:
            self.results["stress"] = full_3x3_to_voigt_6_stress(found["stress"])

    # --- Inputs ---

    def _reference_energy(self, atoms):
        """The sum of the reference energies, a float."""
        # Compiled steps keep their weights, others have those of now.
        table: Any = None
        if not self.compile:
            table = np.array(to_numpy(self.potential.references.table.value))
        if self._offset is not None:
            *made_for, offset = self._offset
            if all(map(np.array_equal, made_for, (atoms.numbers, table))):
                return offset
        if self.potential.elements is not None:
            sensible.check_elements(
                atoms, self.potential.elements, "elements of the potential"
            )
        references = self.potential.references
        known = references.known_elements()
        if known:
            sensible.check_elements(
                atoms, known, "elements whose reference energies are known"
            )
            total = references.total(atoms.numbers[None, :, None])
            offset = float(total[0, 0])
        else:
            warnings.warn(
                "The potential has no reference energies: `adapt` was not "
                "called. Energies are those of the model alone, for "
                f"{atoms.symbols}",
                stacklevel=2,
            )
            offset = 0.0
        self._offset = atoms.numbers.copy(), table, offset
        return offset

    def _inputs(self, atoms):
        """Inputs of the model for one sample, positions in float64."""
        few = self.is_local and len(atoms) <= FEW and not atoms.pbc.any()
        if self.neighbors is None or few:
            return self._all_pairs(atoms)
        near = self.neighbors.near(atoms)
        sensible.check_distances(
            atoms, near.receivers, near.senders, near.distances
        )
        size = verlet.rounded(len(atoms))
        needed = np.bincount(near.receivers, minlength=1).max()
        self._width = verlet.room(int(needed), self._width)
        neighbors, shifts = verlet.packed(near, size, self._width)
        x = _nodes(near.positions, atoms.numbers, size)
        x["mask"] = np.arange(size)[None] < len(atoms)
        x["neighbors"] = neighbors[None]
        if atoms.pbc.any():
            x["shifts"] = shifts[None]
            x["box"] = atoms.cell.array[None]
        return x

    def _all_pairs(self, atoms):
        if atoms.pbc.any():
            reason = (
                "Give the argument `cutoff`."
                if self.takes_lists
                else "Its model takes no lists of neighbors."
            )
            raise ValueError(
                "Expected atoms without periodic directions, atoms.pbc = "
                f"False: {reason} Received: pbc={atoms.pbc.tolist()}"
            )
        receivers, senders = np.triu_indices(len(atoms), 1)
        sensible.check_distances(
            atoms, receivers, senders, pdist(atoms.positions)
        )
        return _nodes(atoms.positions, atoms.numbers, len(atoms))

    # --- Outputs ---

    def _averaged(self, x, count):
        """Energy, forces and stress, with the spread over the frames."""
        frames = self._frames()
        energy, forces, stress = [], [], []
        for some in _parts(frames, TOGETHER // x["positions"].shape[1]):
            y = self._step(self._turned(x, some))
            energy.append(y["energy"][:, 0])
            forces.append(y["forces"][:, :count] @ some)
            if "stress" in y:
                stress.append(some.swapaxes(1, 2) @ y["stress"] @ some)
        energy, forces = np.concatenate(energy), np.concatenate(forces)
        found = {"energy": energy.mean(), "forces": forces.mean(axis=0)}
        if stress:
            found["stress"] = np.concatenate(stress).mean(axis=0)
        if self.rotations is not None:
            found["energy_std"] = energy.std()
            found["forces_std"] = forces.std(axis=0)
        return found

    def _frames(self):
        """The rotations R `(M, 3, 3)` of this step."""
        frames = np.eye(3)[None] if self.rotations is None else self.rotations
        if self.random_frame:
            frames = frames @ spread_rotations(1, self.rng)
        return frames

    def _turned(self, x, frames):
        """The sample in all frames, r -> R r, in the dtype of the model."""
        wide = self.potential.variable_dtype == "float64"
        result = {}
        for key, value in x.items():
            if key in ("positions", "box"):
                value = value @ frames.swapaxes(1, 2)
                value = value.astype("float64" if wide else "float32")
            result[key] = np.repeat(value, len(frames) // len(value), axis=0)
        return {key: result[key] for key in sorted(result)}

    def _has_stress(self, x):
        """Whether there is a stress, which needs a cell of a volume."""
        return (
            self.potential.forces == "gradient"
            and "box" in x
            and abs(np.linalg.det(x["box"][0])) > 0
        )

    def _step(self, x):
        """Outputs of the potential, float64 arrays."""
        strained = self._has_stress(x)
        shapes = (strained, *(value.shape for value in x.values()))
        if shapes not in self._steps:
            potential = self._prepared(x, strained)
            self._check_weights()
            self._steps[shapes] = (
                compiled_for(potential, x)
                if self.compile
                else potential.predict_on_batch
            )
        if strained and not self.compile:
            _copy_scale(self.potential, self._strained)
        y = to_numpy(self._steps[shapes](x))
        return {key: value.astype("float64") for key, value in y.items()}

    def _check_weights(self):
        """Raises ValueError where compiled steps would have other weights."""
        if not self.compile:
            return
        weights = [
            np.array(to_numpy(v.value)) for v in self.potential.variables
        ]
        if self._weights is not None:
            pairs = zip(weights, self._weights, strict=True)
            if not all(np.array_equal(a, b) for a, b in pairs):
                raise ValueError(
                    "The weights of the potential have changed since this "
                    "calculator compiled a step. Make a new Calculator."
                )
        self._weights = weights

    def _prepared(self, x, strained):
        """The potential with all its weights, with a stress where asked for."""
        potential = self.potential
        if not potential.model.built:
            potential.predict_on_batch(x)
        if strained:
            self._strained = self._strained or _with_stress(potential)
            potential = self._strained
        if not potential.built:  # its model is
            potential.build({key: value.shape for key, value in x.items()})
        return potential


def _cutoff(network, cutoff, takes_lists):
    """The cut-off of the list, or None for all pairs."""
    own = getattr(network, "cutoff", None)
    if cutoff is None:
        return own if takes_lists else None
    if own is not None or not takes_lists:
        has = f"the cut-off {own}" if takes_lists else "no lists of neighbors"
        raise ValueError(
            f"Argument `cutoff` is for models without one. {network.name!r} "
            f"has {has}. Received: {cutoff}"
        )
    if not cutoff > 0:
        raise ValueError(f"Expected `cutoff` > 0. Received: {cutoff}")
    return cutoff


def _with_stress(potential):
    """A potential of the same model with the stress among its outputs."""
    if potential.stress:
        return potential
    result = Potential(
        potential.model,
        stress=True,
        elements=potential.elements,
        dtype=potential.dtype_policy,
    )
    _copy_scale(potential, result)
    return result


def _copy_scale(potential, other):
    for name in ("scale", "gain"):
        # A copy: JAX gives away the arrays of a model that predicts.
        value = keras.ops.convert_to_numpy(getattr(potential, name))
        getattr(other, name).assign(value)


def _nodes(positions, numbers, size):
    """Positions and atomic numbers of one sample, padded."""
    # The digits of float32 are for distances, not for a faraway origin.
    positions = positions - positions.mean(axis=0)
    padding = ((0, size - len(numbers)), (0, 0))
    return {
        "positions": np.pad(positions, padding)[None],
        "atomic_numbers": np.pad(numbers[:, None], padding)[None].astype(
            "int32"
        ),
    }


def _parts(frames, at_most):
    """The frames in equal parts, of as many as go together."""
    count = len(frames)
    sizes = (n for n in range(1, count + 1) if count % n == 0)
    size = max(n for n in sizes if n <= max(at_most, 1))
    return frames.reshape(-1, size, 3, 3)


def _check_finite(atoms, key, value):
    value = np.asarray(value)
    if np.isfinite(value).all():
        return
    where = ""
    if key == "forces":
        index = np.argmin(np.isfinite(value).all(axis=1))
        where = f" of {sensible.label(atoms, index)}"
    raise ValueError(
        f"The model gives NaN or infinity for the {key}{where}, in "
        f"{atoms.symbols}"
    )
