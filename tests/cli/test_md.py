"""Molecular dynamics at the command line, and its figures by hand."""

import keras
import numpy as np
import pytest

from keras_remul import cli, models, save_to_preset
from keras_remul.presets.dynamics import simulate

build = pytest.importorskip("ase.build", reason="needs ase, of the extra ase")
from ase import Atoms, io, units  # noqa: E402
from ase.calculators.calculator import (  # noqa: E402
    Calculator,
    all_changes,
)


class Springs(Calculator):
    """E = k/2 sum (r - center)^2, and forces that may be wrong."""

    implemented_properties = ["energy", "forces"]
    torque = 0.0

    def calculate(self, atoms=None, properties=(), changes=all_changes):
        super().calculate(atoms, properties, changes)
        r = atoms.positions - atoms.positions.mean(axis=0)
        turned = np.cross([0.0, 0.0, 1.0], r)
        self.results = {
            "energy": 0.5 * np.sum(r**2),
            "forces": -r + self.torque * turned,
        }


def run(tmp_path, calculator, **arguments):
    atoms = build.molecule("CH4")
    atoms.calc = calculator
    output = tmp_path / "md.xyz"
    figures = simulate(atoms, output, 200, verbose=False, **arguments)
    return figures, io.read(output, ":"), atoms


@pytest.mark.backend_independent
def test_constant_energy(tmp_path):
    figures, frames, atoms = run(tmp_path, Springs(), timestep=0.2)
    assert len(frames) == 21
    np.testing.assert_allclose(frames[-1].positions, atoms.positions, atol=1e-6)
    assert abs(figures["energy_drift"]) < 0.5
    assert figures["energy_noise"] < 0.5
    assert figures["angular_momentum_drift"] < 1e-6
    temperatures = [frame.get_temperature() for frame in frames]
    assert figures["temperature"] == pytest.approx(
        np.mean(temperatures), rel=1e-4
    )
    assert figures["ns_per_day"] > 0


@pytest.mark.backend_independent
def test_what_is_not_conserved_is_seen(tmp_path):
    wrong = Springs()
    wrong.torque = 0.3
    figures, frames, _ = run(tmp_path, wrong, timestep=0.2)
    assert abs(figures["energy_drift"]) > 100.0
    momenta = [
        np.cross(
            frame.positions - frame.get_center_of_mass(), frame.get_momenta()
        ).sum(axis=0)
        for frame in frames
    ]
    hbar = units._hbar * units.J * units.second
    expected = np.linalg.norm(np.array(momenta) - momenta[0], axis=1).max()
    assert figures["angular_momentum_drift"] == pytest.approx(
        expected / hbar, rel=1e-3
    )


@pytest.mark.backend_independent
def test_thermostat(tmp_path):
    figures, _, _ = run(
        tmp_path, Springs(), friction=0.05, temperature=500.0, seed=1
    )
    assert 100.0 < figures["temperature"] < 1500.0
    assert not {"energy_drift", "angular_momentum_drift"} & set(figures)
    again, _, _ = run(
        tmp_path, Springs(), friction=0.05, temperature=500.0, seed=1
    )
    assert again["temperature"] == figures["temperature"]


@pytest.mark.backend_independent
def test_momenta_of_the_file_are_kept(tmp_path):
    atoms = Atoms("H2", [[0, 0, 0], [0, 0, 1.0]], momenta=[[1, 0, 0]] * 2)
    atoms.calc = Springs()
    simulate(atoms, tmp_path / "md.xyz", 1, verbose=False)
    np.testing.assert_allclose(atoms.get_momenta()[:, 0], 1.0)


@pytest.mark.backend_independent
def test_atoms_on_a_line_do_not_warn(tmp_path):
    atoms = build.molecule("CO2")
    atoms.calc = Springs()
    simulate(atoms, tmp_path / "md.xyz", 1, verbose=False)
    assert atoms.get_momenta().any()
    assert np.abs(atoms.get_angular_momentum()).max() < 1e-8


@pytest.fixture
def preset(tmp_path, monkeypatch, rng):
    monkeypatch.chdir(tmp_path)
    keras.utils.set_random_seed(0)
    network = models.EGNN(num_layers=1, hidden_dim=4, readout="nodes")
    network.build({"positions": (2, 3, 3), "elements": (2, 3, 2)})
    potential = models.Potential(
        network, elements=[1, 8], references={1: -13.5, 8: -2040.0}
    )
    water = build.molecule("H2O")
    water.write("water.xyz")
    moved = rng.normal(size=(2, 3, 3)) * 0.1
    x = {
        "positions": (water.positions + moved).astype("float32"),
        "atomic_numbers": np.array([[[8], [1], [1]]] * 2),
    }
    potential(x)
    save_to_preset(potential, "mine", x=x)
    return x


def test_commands(preset, capsys):
    command = ["md", "mine", "water.xyz", "--steps", "4", "--interval", "2"]
    assert cli.main(command) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "drift of the angular momentum, hbar" in said
    assert "Written: md.xyz" in said
    frames = io.read("md.xyz", ":")
    assert len(frames) == 3 and frames[0].get_forces().shape == (3, 3)
    assert cli.main(["report", "--rotation", "mine"]) == 0
    said = capsys.readouterr().out
    assert "40°" in said and "at random" in said and "Of the forces" in said


@pytest.mark.backend_independent
def test_a_cell_and_a_time_step_that_is_too_long(preset, capsys):
    water = io.read("water.xyz")
    water.set_cell([5.0, 5.0, 5.0])
    water.pbc = True
    water.write("cell.xyz")
    command = ["md", "mine", "cell.xyz", "--steps", "4", "--interval", "2"]
    assert cli.main(command) == 1
    assert "Give the argument `cutoff`" in capsys.readouterr().err
    command += ["--cutoff", "3", "--timestep", "1000", "--output", "a.xyz"]
    assert cli.main(command) == 0
    assert "The time step is too long" in " ".join(
        capsys.readouterr().out.split()
    )


def test_faults(preset, capsys, tmp_path):
    (tmp_path / "bad.xyz").write_text("no atoms\n")
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    save_to_preset(model, "other", x=np.ones((2, 3), "float32"))
    for command, message in (
        (["md", "mine", "none.xyz"], "none.xyz: No such file"),
        (["md", "mine", "bad.xyz"], "file of atoms that ASE reads.*bad.xyz"),
        (["md", "other", "water.xyz"], "Expected a `Potential`.*Sequential"),
        (["report", "--rotation", "other"], "Expected a `Potential`"),
    ):
        assert cli.main(command) == 1
        said = capsys.readouterr().err.strip().splitlines()
        assert len(said) == 1
        assert message.split(".*")[0] in said[0], said
