"""Interatomic potentials: energies, forces and stress in the data's units."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import keras
from keras import ops

from keras_remul import backend
from keras_remul.groups import O3
from keras_remul.groups.base import Group
from keras_remul.layers.reference_energies import (
    ReferenceEnergies,
    one_hot_elements,
    read_energies,
)
from keras_remul.models.wrappers.base import Wrapper
from keras_remul.models.wrappers.labels import PotentialLabels
from keras_remul.representations import PerSample, Tensor
from keras_remul.symmetry import Symmetry
from keras_remul.utils.arguments import at_least, checked
from keras_remul.utils.dtypes import at_least_float32
from keras_remul.utils.typing import Array, Config, Shapes

FORCES = ("gradient", "direct")
UNITS = {"gradient": (1, 4), "direct": (4,)}


@keras.saving.register_keras_serializable(package="keras_remul")
class Potential(PotentialLabels, Wrapper):
    """Energy, forces and stress from any model of scalars of the atoms.

    `E = s a sum_i e_i(x)`, and `F_i = -dE/dx_i`, or `F_i = s f_i(x) - mean`

    The model gives each atom a number e_i of order 1, and with
    `forces="direct"` a vector f_i too. The scale s and the start
    of the gain a, a trainable number, are set from the data by `adapt`, as are
    the reference energies of the elements, which are not part of E: a total
    energy has no meV in float32. `targets` takes them out of
    labels, `total_energy` adds them to predictions, both in float64.

    Forces that are a gradient conserve energy, and are trained through the
    second derivative, so the model has to be smooth. Direct forces cost a third
    of the time and conserve nothing.

    If E is invariant to rotations, there is no net torque, and conversely: the
    derivative of E by a rotation of all atoms (and of the cell) is `sum_i r_i x
    F_i`. With `torque_weight` its mean square per atom is added to the loss,
    without a second pass through the model.

    Args:
        model: Keras model with `readout="nodes"` and `units=1`, or 4 for direct
            forces, such as `PointEdgeTransformer(readout="nodes", units=4)`.
        forces: `"gradient"` or `"direct"`.
        stress: whether the stress is an output too, `(1/V) dE/d strain`; the
            inputs then have a `"box"` of lattice vectors `(B, 3, 3)`.
        elements: optional atomic numbers; the model then gets, instead of
            `"atomic_numbers"`, which element each atom is, one-hot, under the
            key `"elements"`. For models that take features as numbers, such as
            `EGNN`.
        references: optional dict of the reference energy of each element, such
            as that of the isolated atom. Defaults to None: `adapt` fits them.
        torque_weight: weight of the mean square of the net torque, divided by
            the number of atoms, in the loss.
        **kwargs: `name`, `dtype` and `trainable`, for `keras.Model`.

    Call arguments:
        inputs: dict of `"positions"` `(B, N, 3)` and other inputs of `model`,
            such as `"atomic_numbers"` `(B, N, 1)`, which `adapt` needs.
        training: passed on.

    Returns:
        Dict of `"energy"` `(B, 1)`, relative to the reference energies;
        `"energy_per_atom"` `(B, 1)`, the same over the number of atoms;
        `"forces"` `(B, N, 3)`, 0 on padded nodes; with `stress`, `"stress"`
        `(B, 3, 3)`. With an element that is not among `elements`, NaN.

    Raises:
        ValueError: an argument is not valid, or the model has another output.

    Example:
        >>> net = PointEdgeTransformer(readout="nodes", cutoff=4.0)
        >>> potential = Potential(net)
        >>> potential.adapt(x, y)
        >>> potential.compile("adam", loss={"energy_per_atom": "mse",
        ...                                 "forces": "mse"})
        >>> potential.fit(x, potential.targets(x, y))

    Reference:
        Chmiela et al., "Machine learning of accurate energy-conserving
        molecular force fields", arXiv 1611.04678; for the torque, Rhodes et
        al., "Orb-v3: atomistic simulation at scale", arXiv 2504.06231; for
        what direct forces cost, Bigi et al., "The dark side of the forces",
        arXiv 2412.11569.
    """

    @checked(torque_weight=at_least(0))
    def __init__(
        self,
        model: keras.Model,
        forces: str = "gradient",
        stress: bool = False,
        elements: Sequence[int] | None = None,
        references: Mapping[int, float] | None = None,
        torque_weight: float = 0.0,
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("dtype", getattr(model, "dtype_policy", None))
        super().__init__(model, **kwargs)
        if forces not in FORCES:
            raise ValueError(
                f"Argument `forces` must be one of {FORCES}. Received: "
                f"forces={forces!r}"
            )
        if forces == "direct" and (stress or torque_weight):
            raise ValueError(
                "Arguments `stress` and `torque_weight` need "
                'forces="gradient". Received: forces="direct"'
            )
        self.forces = forces
        self.stress = bool(stress)
        self.elements = None if elements is None else list(elements)
        self.torque_weight = float(torque_weight)
        self.references = ReferenceEnergies(
            read_energies("references", references), name="references"
        )
        one = dict(shape=(), initializer="ones", dtype="float32")
        self.scale = self.add_weight(**one, trainable=False, name="scale")
        self.gain = self.add_weight(**one, name="gain")

    def build(self, input_shape: Shapes) -> None:
        shapes = dict(input_shape)
        if self.elements is not None and "atomic_numbers" in shapes:
            nodes = shapes.pop("atomic_numbers")[:2]
            shapes["elements"] = (*nodes, len(self.elements))
        super().build(shapes)

    @property
    def real_dtype(self) -> str:
        """The dtype of energies: that of the variables, or float32 if wider."""
        return at_least_float32(self.variable_dtype)

    # --- Forward pass ---

    def call(
        self, inputs: dict[str, Array], training: bool | None = None
    ) -> dict[str, Array]:
        self._check_inputs(inputs)
        x = self._inputs_of_model(inputs)
        self.build_parts(x)
        mask = inputs.get("mask")
        if mask is not None:
            mask = ops.cast(mask, "bool")[..., None]  # (B, N, 1)
        count = self._count_atoms(x, mask)
        if self.forces == "direct":
            outputs = self._direct(x, mask, count, training)
        else:
            outputs = self._gradient(x, mask, count, training)
        outputs["energy_per_atom"] = outputs["energy"] / count
        if mask is not None:
            outputs["forces"] = self.attach_mask(
                [outputs["forces"], mask[..., 0]]
            )
        return outputs

    def _count_atoms(self, x, mask):
        """Numbers of atoms `(B, 1)`, one or more; `(1, 1)` without a mask."""
        if mask is None:
            count = ops.cast(ops.shape(x["positions"])[1], self.real_dtype)
            return ops.reshape(count, (1, 1))
        count = ops.sum(ops.cast(mask, "int32"), axis=1)
        return ops.cast(ops.maximum(count, 1), self.real_dtype)

    def _inputs_of_model(self, inputs):
        x = dict(inputs)
        if self.elements is not None:
            if "atomic_numbers" not in x:
                raise ValueError(
                    'Argument `elements` needs inputs["atomic_numbers"]. '
                    f"Received: {sorted(x)}"
                )
            numbers = ops.cast(x.pop("atomic_numbers"), self.real_dtype)
            x["elements"] = one_hot_elements(
                numbers, self.elements, x.get("mask")
            )
        return x

    def _of_atoms(self, x, mask, training):
        """The energy `(B, 1)`, and what else the model gives each atom."""
        y = self.model(x, training=training)
        expected = UNITS[self.forces]
        if len(y.shape) != 3 or y.shape[-1] not in expected:
            raise ValueError(
                'Expected a model with readout="nodes" and units='
                f"{expected[-1] if self.forces == 'direct' else 1}. Received: "
                f"an output of shape {tuple(y.shape)}"
            )
        y = ops.cast(y, self.real_dtype) * ops.cast(self.scale, self.real_dtype)
        y = y if mask is None else ops.where(mask, y, 0.0)
        gain = ops.cast(self.gain, self.real_dtype)
        return gain * ops.sum(y[..., 0], axis=1, keepdims=True), y[..., 1:]

    def _direct(self, x, mask, count, training):
        energy, forces = self._of_atoms(x, mask, training)
        # A molecule does not accelerate itself.
        total = ops.sum(forces, axis=1, keepdims=True)
        forces = forces - total / count[..., None]
        if mask is not None:
            forces = ops.where(mask, forces, 0.0)
        return {"energy": energy, "forces": forces}

    def _gradient(self, x, mask, count, training):
        positions = ops.cast(x["positions"], self.real_dtype)
        atoms = ops.shape(positions)[1]
        strained = self.stress or (self.torque_weight and "box" in x)
        box = x.get("box")

        # One array: the positions and, below, the strain of each sample.
        def energy(z):
            moved = {**x, "positions": z[:, :atoms]}
            if strained:
                # A small strain e moves a point r to r + r e.
                strain = z[:, atoms:]
                r = moved["positions"]
                moved["positions"] = r + backend.matmul(r, strain)
                cell = ops.cast(box, z.dtype)
                moved["box"] = cell + backend.matmul(cell, strain)
            return self._of_atoms(moved, mask, training)[0]

        z = positions
        if strained:
            strain = ops.zeros_like(ops.cast(box, z.dtype))
            z = ops.concatenate([z, strain], axis=1)
        y, gradient = backend.value_and_gradient(
            energy, z, self.variables, self.add_loss
        )
        forces = -gradient[:, :atoms]
        if mask is not None:
            forces = ops.where(mask, forces, 0.0)
        outputs = {"energy": y, "forces": forces}
        if self.stress:
            outputs["stress"] = _stress(gradient[:, atoms:], box)
        if self.torque_weight and training:
            if strained:
                virial = gradient[:, atoms:]
                twice = virial - ops.swapaxes(virial, 1, 2)
                square = 0.5 * ops.sum(ops.square(twice), axis=(1, 2))
            else:
                r = positions
                if mask is not None:
                    r = ops.where(mask, r, 0.0)
                square = ops.sum(ops.square(_torque(r, forces)), -1)
            mean = ops.mean(square / count[:, 0])
            self.add_loss(self.torque_weight * mean)
        return outputs

    def _check_inputs(self, inputs):
        if not isinstance(inputs, dict) or "positions" not in inputs:
            raise ValueError(
                'Expected `inputs` to be a dict with the key "positions". '
                f"Received: {keras.tree.map_structure(type, inputs)}"
            )
        box = tuple(inputs["box"].shape) if "box" in inputs else None
        if (self.stress or self.torque_weight and box) and (
            box is None or len(box) != 3 or box[1:] != (3, 3)
        ):
            raise ValueError(
                "The strain of a cell, for `stress` and `torque_weight`, needs "
                'inputs["box"] of lattice vectors (batch, 3, 3). Received: a '
                f"box of shape {box}"
            )

    def compute_output_spec(
        self, inputs: dict[str, Array], training: bool | None = None
    ) -> dict[str, keras.KerasTensor]:
        self._check_inputs(inputs)
        batch, nodes, _ = inputs["positions"].shape
        shapes = {
            "energy": (batch, 1),
            "energy_per_atom": (batch, 1),
            "forces": (batch, nodes, 3),
        }
        if self.stress:
            shapes["stress"] = (batch, 3, 3)
        return {
            key: keras.KerasTensor(shape, dtype=self.real_dtype)
            for key, shape in shapes.items()
        }

    # --- Symmetry ---

    def make_symmetry(
        self, inputs: Iterable[str], group: Group | None = None
    ) -> Symmetry:
        """The `Symmetry` of energies, forces and stress, for a `RemulModel`.

        Args:
            inputs: dict of inputs, or any collection of their keys. Velocities
                and lattice vectors turn with the positions; a `"mask"` is taken
                as one, and all others stay as they are.
            group: defaults to `groups.O3()`.

        Returns:
            `Symmetry`.
        """
        kinds = {"positions": "point", "velocities": "vector", "box": "vector"}
        outputs: dict[str, Any] = dict.fromkeys(
            ("energy", "energy_per_atom"), "scalar"
        )
        outputs["forces"] = "vector"
        if self.stress:
            outputs["stress"] = PerSample(Tensor(2))
        keys = sorted(set(inputs) - {"mask"})
        return Symmetry(
            O3() if group is None else group,
            {key: kinds.get(key, "scalar") for key in keys},
            outputs,
        )

    # --- Config ---

    def get_config(self) -> Config:
        return {
            **super().get_config(),
            "forces": self.forces,
            "stress": self.stress,
            "elements": self.elements,
            "references": self.references.energies,
            "torque_weight": self.torque_weight,
        }


def _torque(positions, forces):
    """sum_i r_i x F_i `(B, 3)`; the origin does not matter."""
    # Near the atoms, so that no digits are lost.
    center = ops.mean(ops.stop_gradient(positions), axis=1, keepdims=True)
    return ops.sum(ops.cross(positions - center, forces, axis=-1), axis=1)


def _stress(virial, box):
    """(1/V) dE/d strain, its symmetric part `(B, 3, 3)`."""
    box = ops.cast(box, virial.dtype)
    volume = ops.abs(ops.linalg.det(box))[:, None, None]
    return 0.5 * (virial + ops.swapaxes(virial, 1, 2)) / volume
