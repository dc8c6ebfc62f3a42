"""Potentials in ASE: neighbors, cells, frames, and atoms that cannot be."""

import sys
import warnings

import keras
import numpy as np
import pytest
from keras import ops

from keras_remul import ase, backend, models
from keras_remul.presets import calculator as calculators
from keras_remul.presets import verlet

build = pytest.importorskip("ase.build", reason="needs ase, of the extra ase")
from ase import Atoms  # noqa: E402
from ase.calculators.calculator import (  # noqa: E402
    PropertyNotImplementedError,
)

BACKEND = keras.backend.backend()
ENERGIES = {1: -13.5, 6: -1030.25, 8: -2040.125, 29: -45000.0}


def network(cutoff=3.5, units=1):
    return models.PointEdgeTransformer(
        num_layers=1,
        hidden_dim=8,
        num_heads=2,
        num_basis=4,
        cutoff=cutoff,
        readout="nodes",
        units=units,
    )


def potential(**kwargs):
    keras.utils.set_random_seed(0)
    made = models.Potential(network(), references=ENERGIES, **kwargs)
    made.build({"positions": (1, 9, 3), "atomic_numbers": (1, 9, 1)})
    return made


@pytest.fixture(scope="module")
def shared():
    """One potential and calculator, whose steps are compiled once."""
    return ase.Calculator(potential())


@pytest.fixture(scope="module")
def _changed():
    return potential()


@pytest.fixture
def changing(_changed):
    """A potential whose weights a test may change, compiled once."""
    start = _changed.get_weights()
    yield _changed
    _changed.set_weights(start)


def copper():
    """A skewed cell of four atoms, smaller than the cut-off."""
    atoms = build.bulk("Cu", cubic=True)
    atoms.rattle(0.1, seed=0)
    skewed = atoms.cell + np.array([[0, 0.3, 0], [0, 0, 0.2], [0.1, 0, 0]])
    atoms.set_cell(skewed, scale_atoms=True)
    return atoms


def slab():
    atoms = copper()
    atoms.pbc = True, True, False
    return atoms


def wire():
    atoms = copper()
    atoms.pbc = False, False, True
    atoms.cell[:2] = 0.0
    return atoms


def computed(atoms, calculator):
    atoms = atoms.copy()
    atoms.calc = calculator
    return atoms.get_potential_energy(), atoms.get_forces(), calculator.results


def test_energies_are_those_of_the_potential(shared):
    atoms = build.molecule("CH3CH2OH")
    energy, forces, results = computed(atoms, shared)
    x = {
        "positions": atoms.positions[None].astype("float32"),
        "atomic_numbers": atoms.numbers[None, :, None],
    }
    y = shared.potential.predict(x, verbose=0)
    total = shared.potential.total_energy(x, y)[0, 0]
    assert abs(energy - total) < 1e-5
    np.testing.assert_allclose(forces, y["forces"][0], atol=2e-5)
    assert results["free_energy"] == energy
    # Far from the origin there are as many digits.
    atoms.positions += 1e4
    assert abs(computed(atoms, shared)[0] - energy) < 1e-5


def test_a_list_is_all_pairs(shared):
    atoms = build.molecule("CH3CH2OH")
    energy, forces, _ = computed(atoms, shared)
    listed = ase.Calculator(shared.potential)
    listed.is_local = False  # so that few atoms get a list as well
    energy_of_list, forces_of_list, _ = computed(atoms, listed)
    assert listed.neighbors.made == 1
    assert abs(energy_of_list - energy) < 1e-5
    np.testing.assert_allclose(forces_of_list, forces, atol=1e-5)


@pytest.mark.parametrize("make", [copper, slab, wire])
def test_a_cell_is_a_part_of_its_supercell(make, shared):
    one = make()
    many = one.repeat(np.where(one.pbc, [2, 1, 2], 1))
    count = len(many) // len(one)
    energy, forces, _ = computed(one, shared)
    energy_of_many, forces_of_many, _ = computed(many, shared)
    assert abs(energy_of_many / count - energy) < 1e-5
    expected = np.tile(forces, (count, 1))
    np.testing.assert_allclose(forces_of_many, expected, atol=1e-5)
    # Images of the atoms in other cells are the same atoms.
    turns = np.array([[3, -5, 2], [0, 0, 0], [-1, 0, 0], [0, 9, 0]]) * one.pbc
    one.positions += turns @ one.cell.array
    np.testing.assert_allclose(computed(one, shared)[1], forces, atol=1e-5)


def test_stress_is_the_derivative_by_strain(shared):
    atoms = copper()
    atoms.calc = shared
    stress = atoms.get_stress(voigt=False)
    np.testing.assert_allclose(stress, stress.T)
    size, volume = 2e-3, atoms.get_volume()
    for i, j in ((0, 0), (1, 2)):
        strain = np.zeros((3, 3))
        strain[i, j] += 0.5 * size
        strain[j, i] += 0.5 * size
        energies = []
        for sign in (1, -1):
            moved = atoms.copy()
            moved.set_cell(
                atoms.cell @ (np.eye(3) + sign * strain), scale_atoms=True
            )
            energies.append(computed(moved, shared)[0])
        found = (energies[0] - energies[1]) / (2.0 * size * volume)
        assert abs(found - stress[i, j]) < 1e-3 * np.abs(stress).max()


def test_no_stress(shared):
    atoms = build.molecule("H2O")
    atoms.calc = shared
    with pytest.raises(PropertyNotImplementedError, match="three lattice"):
        atoms.get_stress()
    atoms = copper()
    direct = models.Potential(
        network(units=4), forces="direct", references=ENERGIES
    )
    atoms.calc = ase.Calculator(direct)
    with pytest.raises(PropertyNotImplementedError, match='forces="direct"'):
        atoms.get_stress()


def test_the_skin(shared):
    """A list that is not made anew still holds all pairs within the cut-off."""
    atoms = copper().repeat(2)
    lists = verlet.VerletList(3.5, skin=0.6)
    rng = np.random.default_rng(0)
    step = rng.normal(size=atoms.positions.shape)
    step *= 0.055 / np.linalg.norm(step, axis=1, keepdims=True)
    made = []
    for _ in range(13):
        found = lists.near(atoms)
        fresh = verlet.VerletList(3.5, skin=0.0).near(atoms)
        assert len(found.distances) == len(fresh.distances)
        np.testing.assert_allclose(
            np.sort(found.distances), np.sort(fresh.distances), atol=1e-9
        )
        made.append(lists.made)
        atoms.positions += step
    # At 0, and where 0.3 is passed: after 6 steps, and 6 more.
    assert made == [1] * 6 + [2] * 6 + [3]
    for change in (
        lambda: atoms.set_cell(atoms.cell * 1.01),
        lambda: atoms.set_pbc([True, True, False]),
        lambda: atoms.pop(),
    ):
        change()
        before = lists.made
        lists.near(atoms)
        lists.near(atoms)
        assert lists.made == before + 1


def test_lists_are_those_of_periodic_graph():
    from keras_remul.graphs import periodic_graph

    for atoms in (copper(), slab(), wire(), build.molecule("C6H6")):
        near = verlet.VerletList(3.5, skin=0.5).near(atoms)
        width = int(np.bincount(near.receivers).max())
        neighbors, shifts = verlet.packed(near, len(atoms), width)
        cell = np.where(atoms.pbc[:, None], atoms.cell.array, 0.0)
        expected = periodic_graph(near.positions[None], 3.5, cell[None])

        def edges(neighbors, shifts):
            i, k = np.nonzero(neighbors >= 0)
            return sorted(zip(i, neighbors[i, k], *shifts[i, k].T, strict=True))

        found = edges(neighbors, shifts)
        assert found == edges(*(a[0] for a in expected))
        assert len(found) > 10


def test_not_compiled_anew_where_the_list_grows_a_little(shared):
    atoms = copper().repeat(2)
    atoms.rattle(0.3, seed=0)
    atoms.calc = shared
    sizes, steps = set(), set()
    for scale in (1.0, 0.97, 0.94):
        moved = atoms.copy()
        moved.set_cell(atoms.cell * scale, scale_atoms=True)
        near = shared.neighbors.near(moved)
        sizes.add(int(np.bincount(near.receivers).max()))
        computed(moved, shared)
        steps.add(len(shared._steps))
    assert len(sizes) > 1 and len(steps) == 1
    atoms.set_cell(atoms.cell * 0.8, scale_atoms=True)
    before = shared._width
    assert shared._inputs(atoms)["neighbors"].shape[-1] > before


def test_room():
    assert verlet.room(50, None) == 56
    assert verlet.room(56, 56) == 56
    assert verlet.room(57, 56) > 57
    assert verlet.room(20, 56) < 30
    numbers = {verlet.rounded(n) for n in range(100, 1000)}
    assert len(numbers) < 30
    assert all(n <= verlet.rounded(n) < 1.13 * n for n in range(1, 1000))


def test_average_over_frames(shared):
    atoms = build.molecule("H2O")
    average = ase.Calculator(shared.potential, symmetrize=4)
    energy, forces, results = computed(atoms, average)
    each = []
    for turn in average.rotations:
        turned = atoms.copy()
        turned.positions = atoms.positions @ turn.T
        e, f, _ = computed(turned, shared)
        each.append((e, f @ turn))
    energies, forces_of_each = map(np.array, zip(*each, strict=True))
    assert abs(energy - energies.mean()) < 1e-5
    assert abs(results["energy_std"] - energies.std()) < 1e-5
    np.testing.assert_allclose(forces, forces_of_each.mean(0), atol=2e-5)
    spread = results["forces_std"]
    np.testing.assert_allclose(spread, forces_of_each.std(0), atol=2e-5)
    assert energies.std() > 1e-3 and spread.min() > 1e-4
    # A set with the symmetry of a group is the same from each of its turns.
    turn = average.rotations[0].T @ average.rotations[1]
    atoms.positions = atoms.positions @ turn.T
    again = computed(atoms, average)
    assert abs(again[0] - energy) < 1e-5
    np.testing.assert_allclose(again[1], forces @ turn.T, atol=2e-5)


def test_frames_of_cells_turn_back(shared, monkeypatch):
    atoms = copper()
    invariant = ase.Calculator(potential(), symmetrize=2, random_frame=True)
    step = invariant._step

    def trace(x):
        """Of an exact model: energy and stress of a tensor of the cell."""
        y = step(x)
        box = x["box"].astype("float64")
        y["stress"] = box.swapaxes(1, 2) @ box
        return y

    monkeypatch.setattr(invariant, "_step", trace)
    atoms.calc = invariant
    expected = atoms.cell.array.T @ atoms.cell.array
    np.testing.assert_allclose(
        atoms.get_stress(voigt=False), expected, rtol=1e-5
    )


def test_random_frames(shared):
    atoms = build.molecule("H2O")
    still = computed(atoms, shared)[0]
    found = []
    for seed in (0, 0, 1):
        turning = ase.Calculator(shared.potential, random_frame=True, seed=seed)
        first = computed(atoms, turning)[0]
        turning.reset()
        found.append((first, computed(atoms, turning)[0]))
    assert found[0] == found[1] != found[2]
    assert found[0][0] != found[0][1]
    assert 1e-5 < np.abs(np.array(found) - still).max() < 10.0


def test_models_without_a_cutoff():
    network = models.EGNN(num_layers=1, hidden_dim=4, readout="nodes")
    network.build({"positions": (1, 9, 3), "elements": (1, 9, 3)})
    made = models.Potential(network, elements=[1, 6, 8], references=ENERGIES)
    atoms = build.molecule("CH3CH2OH")
    free, listed, wide = (
        ase.Calculator(made, cutoff=cutoff) for cutoff in (None, 2.0, 9.0)
    )
    energy = computed(atoms, free)[0]
    assert abs(computed(atoms, wide)[0] - energy) < 1e-4
    # Its list is a part of the model.
    assert abs(computed(atoms, listed)[0] - energy) > 1e-3
    atoms.set_cell([9.0] * 3)
    atoms.pbc = True
    with pytest.raises(ValueError, match="Give the argument `cutoff`"):
        computed(atoms, free)


def test_arguments():
    made = potential()
    for argument, message in (
        (dict(cutoff=3.0), "has the cut-off 3.5"),
        (dict(skin=-1.0), "`skin`"),
        (dict(symmetrize=1), "`symmetrize`"),
        (dict(seed=-1), "`seed`"),
    ):
        with pytest.raises(ValueError, match=message):
            ase.Calculator(made, **argument)
    plain = models.Transformer(num_layers=1, hidden_dim=8, num_heads=2)
    with pytest.raises(ValueError, match="Expected a `Potential`.*Transformer"):
        ase.Calculator(plain)
    with pytest.raises(ValueError, match="no lists of neighbors"):
        ase.Calculator(models.Potential(plain), cutoff=3.0)


def water(**changes):
    atoms = build.molecule("H2O")
    for name, value in changes.items():
        setattr(atoms, name, value)
    return atoms


def spoilt(index, value):
    atoms = build.molecule("H2O")
    atoms.positions[index] = value
    return atoms


CANNOT_BE = [
    (lambda: Atoms(), "no atoms"),
    (lambda: spoilt(1, np.nan), r"finite.*atom 1 \(H\)"),
    (lambda: spoilt(2, np.inf), r"finite.*atom 2 \(H\)"),
    (lambda: spoilt(1, [0, 0, 0.2]), r"0.3 Angstrom.*atom 0 \(O\).*1 \(H\)"),
    (lambda: water(pbc=True), "volume.*True, True, True"),
    (lambda: water(pbc=True, cell=[[3, 0, 0], [0, 3, 0], [3, 3, 0]]), "volume"),
    (lambda: water(pbc=True, cell=[0.2, 5, 5]), "0.3.*periodic images"),
    (lambda: water(numbers=[8, 1, 92]), r"known: H, C, O, Cu.*2 \(U\)"),
]


@pytest.mark.parametrize("make, message", CANNOT_BE)
def test_atoms_that_cannot_be(make, message, shared):
    with pytest.raises(ValueError, match=message):
        computed(make(), shared)


def test_elements_of_the_potential():
    made = models.Potential(network(), elements=[1, 6], references=ENERGIES)
    with pytest.raises(ValueError, match=r"potential: H, C.*atom 0 \(O\)"):
        computed(water(), ase.Calculator(made))


@pytest.mark.filterwarnings("ignore:.*__array__:DeprecationWarning")
def test_no_reference_energies():
    made = models.Potential(network())
    calculator = ase.Calculator(made, compile=False)
    with pytest.warns(UserWarning, match="no reference energies.*OH2"):
        computed(water(), calculator)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        atoms = water()
        atoms.rattle(0.01)
        computed(atoms, calculator)


def test_nan_of_the_model(changing):
    calculator = ase.Calculator(changing, compile=False)
    changing.gain.assign(np.nan)
    with pytest.raises(ValueError, match="NaN or infinity for the.*OH2"):
        computed(water(), calculator)


def test_compiled_and_not():
    """Compiled, it has the weights of then."""
    if BACKEND == "torch":
        from test_compiled import need_a_compiler

        need_a_compiler()
    # Without a gradient: PyTorch takes minutes for that.
    network = models.EGNN(num_layers=1, hidden_dim=4, readout="nodes", units=4)
    network.build({"positions": (1, 3, 3), "elements": (1, 3, 2)})
    made = models.Potential(
        network, forces="direct", elements=[1, 8], references=ENERGIES
    )
    fixed, live = (ase.Calculator(made, compile=c) for c in (True, False))
    before = [computed(water(), c)[1] for c in (fixed, live)]
    np.testing.assert_allclose(*before, atol=1e-5)
    made.scale.assign(2.0 * ops.convert_to_tensor(made.scale))
    for calculator in (fixed, live):
        calculator.reset()
    after = [computed(water(), c)[1] for c in (fixed, live)]
    np.testing.assert_allclose(after[0], before[0], atol=1e-6)
    np.testing.assert_allclose(after[1], 2.0 * before[1], atol=1e-5)
    assert np.abs(before[1]).max() > 1e-3


def test_weights_that_change(changing):
    for make in (copper, water):
        live = ase.Calculator(changing, compile=False)
        before = computed(make(), live)[1]
        changing.scale.assign(2.0 * ops.convert_to_tensor(changing.scale))
        live.reset()
        after = computed(make(), live)[1]
        np.testing.assert_allclose(after, 2.0 * before, atol=1e-4)
        assert np.abs(before).max() > 0.1


def test_a_program_that_computes_something_else(monkeypatch):
    made = potential()

    def wrong(model, sample, shapes):
        y = model.predict_on_batch(sample)
        y = {key: ops.add(value, 1.0) for key, value in y.items()}
        return (lambda x: y), (lambda x: x)

    monkeypatch.setattr(backend, "compiled", wrong)
    with pytest.raises(ValueError, match="compiled model gives other outputs"):
        computed(water(), ase.Calculator(made, compile=True))


def test_a_preset(tmp_path, shared):
    from keras_remul import save_to_preset

    save_to_preset(shared.potential, tmp_path / "mine")
    mine = ase.Calculator(tmp_path / "mine")
    found, expected = (computed(water(), c)[0] for c in (mine, shared))
    assert abs(found - expected) < 1e-5


@pytest.mark.backend_independent
def test_without_ase(monkeypatch):
    monkeypatch.setitem(sys.modules, "ase.calculators", None)
    monkeypatch.delitem(sys.modules, calculators.__name__)
    with pytest.raises(ImportError, match=r"pip install .keras-remul\[ase\]"):
        ase.Calculator  # noqa: B018
    with pytest.raises(AttributeError, match="Optimizer"):
        ase.Optimizer  # noqa: B018
