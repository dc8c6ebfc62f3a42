"""nbody_charged: simulator, TFDS builder, `datasets.load`."""

import os
import pathlib
import subprocess
import sys
import textwrap

import keras
import numpy as np
import pytest

from keras_remul import datasets
from keras_remul.datasets.nbody_charged import splits
from keras_remul.datasets.nbody_charged.builder import (
    NbodyCharged,
    NbodyChargedConfig,
)
from keras_remul.datasets.nbody_charged.forces import Coulomb
from keras_remul.datasets.nbody_charged.initial import initial_states
from keras_remul.datasets.nbody_charged.simulator import simulate
from keras_remul.experiments import quickstart

REPOSITORY = pathlib.Path(__file__).parents[2]
SHARED = pathlib.Path(
    os.environ.get("KERAS_REMUL_SHARED_DATA", REPOSITORY.parent / "shared/data")
)
OFFICIAL = SHARED / "nbody_charged5" / "nbody_small_seed43.npz"


def small_config(**kwargs):
    from keras_remul.datasets.nbody_charged.builder import NbodyChargedConfig

    sizes = {"train": 5, "validation": 3, "test": 2, "stream": (6, 3)}
    return NbodyChargedConfig(**{"name": "small", **sizes, **kwargs})


def load_small(data_dir, split="train", **kwargs):
    return datasets.load(
        "nbody_charged",
        split,
        config=small_config(),
        data_dir=data_dir,
        verbose=0,
        **kwargs,
    )


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    path = tmp_path_factory.mktemp("tfds")
    load_small(path)
    return path


@pytest.mark.backend_independent
def test_the_same_without_tensorflow_datasets(data_dir, monkeypatch):
    """For `keras-remul quickstart`, which needs no extra."""
    assert splits.BENCHMARK == NbodyChargedConfig(name="any").ranges()
    monkeypatch.setattr(splits, "BENCHMARK", small_config().ranges())
    monkeypatch.setattr(quickstart, "is_installed", lambda _: False)
    found = quickstart.load_data()
    for name, (x, y) in zip(quickstart.SPLITS, found, strict=True):
        expected = load_small(data_dir, name)
        np.testing.assert_array_equal(y, expected[1])
        assert {*x} == {*expected[0]} and y.dtype == "float32"
        for key, value in x.items():
            np.testing.assert_array_equal(value, expected[0][key])


# Simulator.


def test_initial_states_follow_the_protocol():
    charges, x, v = initial_states([(0, 400)])
    assert set(np.unique(charges)) == {-1.0, 1.0}
    np.testing.assert_allclose(np.linalg.norm(v, axis=-1), 0.5, rtol=1e-12)
    assert abs(x.mean()) < 0.05 and abs(x.std() - 1) < 0.05
    assert abs(v.mean()) < 0.02 and abs(charges.mean()) < 0.1


def test_ranges_are_places_in_one_stream():
    every = initial_states([(0, 9)])
    some = initial_states([(1, 3), (7, 9)])
    for a, b in zip(every, some, strict=True):
        np.testing.assert_array_equal(a[[1, 2, 7, 8]], b)
    other = initial_states([(0, 9)], seed=1)
    assert not np.array_equal(every[1], other[1])


def test_unused_systems_lie_between_training_and_validation():
    config = {c.name: c for c in NbodyCharged.BUILDER_CONFIGS}["unused"]
    ranges = config.ranges()
    assert ranges["train"] == (0, 3000) and ranges["test"] == (3000, 10000)
    assert ranges["validation"] == (10000, 12000)
    with pytest.raises(ValueError, match="test_start=3000"):
        NbodyChargedConfig(name="a", test=7001, test_start=3000)


def test_the_global_generator_is_left_alone():
    np.random.seed(0)
    state = np.random.get_state()[1].copy()
    initial_states([(0, 2)])
    np.testing.assert_array_equal(np.random.get_state()[1], state)


def plain_acceleration(charges, x):
    """The formula, pair by pair: `(N,)`, `(N, 3)` -> `(N, 3)`."""
    result = np.zeros_like(x)
    for i in range(len(x)):
        for j in range(len(x)):
            if i != j:
                r = x[i] - x[j]
                result[i] += charges[i] * charges[j] * r / (r @ r) ** 1.5
    return np.clip(result, -100, 100)


@pytest.mark.parametrize("num_bodies", [2, 5, 8])
def test_accelerations_equal_the_formula(num_bodies):
    charges, x, _ = initial_states([(0, 20)], num_bodies=num_bodies)
    result = Coulomb(charges.T.copy())(np.ascontiguousarray(x.T)).T
    for s in range(20):
        expected = plain_acceleration(charges[s], x[s])
        np.testing.assert_allclose(result[s], expected, rtol=1e-9, atol=1e-9)


def test_two_close_bodies_are_clipped():
    x = np.zeros((3, 2, 1))
    x[0, 1] = 0.05  # 1 / r^2 = 400
    result = Coulomb(np.ones((2, 1)))(x)
    np.testing.assert_array_equal(result[:, :, 0].T[0], [-100, 0, 0])
    np.testing.assert_array_equal(result[:, :, 0].T[1], [100, 0, 0])


def test_scalar_products_round_like_fma():
    from fractions import Fraction

    _, x, _ = initial_states([(0, 20)])
    x = np.ascontiguousarray(x.T)
    force = Coulomb(np.ones((5, 20)))
    force._scalar_products(x)
    for (i, j), row in force.index.items():
        for s in range(20):
            a, b = x[:, i, s], x[:, j, s]
            dot = float(a[0] * b[0])
            for k in (1, 2):
                dot = float(Fraction(a[k]) * Fraction(b[k]) + Fraction(dot))
            assert force.dot[row, s] == dot


def energy(charges, x, v):
    first, second = np.triu_indices(5, 1)
    r = np.linalg.norm(x[..., first, :] - x[..., second, :], axis=-1)
    strength = (charges[:, first] * charges[:, second])[:, None]
    return 0.5 * (v**2).sum((-1, -2)) + (strength / r).sum(-1)


def test_momentum_and_energy_are_kept():
    charges, x0, v0 = initial_states([(0, 40)])
    charges = np.ones_like(charges)  # repulsion: no close encounters
    x, v = simulate(charges, x0, v0, frames=(0, 10), verbose=0)
    momentum = v.sum(axis=2)
    np.testing.assert_allclose(momentum[:, 0], v0.sum(1), atol=1e-10)
    np.testing.assert_allclose(momentum[:, 1], v0.sum(1), atol=1e-10)
    e = energy(charges, x, v)
    np.testing.assert_allclose(e[:, 1], e[:, 0], rtol=1e-2)


def test_simulation_is_equivariant():
    charges, x0, v0 = initial_states([(0, 40)])
    charges = np.ones_like(charges)
    q, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))
    x, _ = simulate(charges, x0, v0, frames=(5,), verbose=0)
    y, _ = simulate(charges, x0 @ q + 1.0, v0 @ q, frames=(5,), verbose=0)
    np.testing.assert_allclose(y, x @ q + 1.0, atol=1e-8)
    assert np.abs(x - x0[:, None]).max() > 0.1


def test_chunks_do_not_change_the_result(monkeypatch):
    from keras_remul.datasets.nbody_charged import simulator

    state = initial_states([(0, 7)])
    whole = simulate(*state, frames=(1, 3), verbose=0)
    monkeypatch.setattr(simulator, "CHUNK", 3)
    parts = simulate(*state, frames=(1, 3), verbose=0)
    np.testing.assert_array_equal(whole, parts)


def test_equals_the_official_data():
    if not OFFICIAL.exists():
        pytest.skip(
            "The official data are not here; KERAS_REMUL_SHARED_DATA is the "
            "folder that holds nbody_charged5/nbody_small_seed43.npz."
        )
    official = np.load(OFFICIAL)
    size = 200
    charges, x0, v0 = initial_states([(0, size)])
    x, v = simulate(charges, x0, v0, frames=(30, 40), verbose=0)
    np.testing.assert_array_equal(charges, official["train_charges"][:size])
    expected = official["train_loc"][:size, [0, 5]]
    error = np.abs(x.astype("float32") - expected).max((1, 2, 3))
    velocity = np.abs(v[:, 0] - official["train_vel0"][:size]).max((1, 2))
    # All systems are equal where `np.power` rounds as it did there.
    assert (error == 0).mean() >= 0.85
    assert (error < 1e-3).mean() >= 0.9
    assert (velocity < 1e-3).mean() >= 0.9


def test_progress_bar_can_be_switched_off(capsys):
    state = initial_states([(0, 2)])
    simulate(*state, frames=(0,), verbose=0)
    assert capsys.readouterr().err == ""
    simulate(*state, frames=(0,), verbose=1)
    assert "Simulating" in capsys.readouterr().err


def test_simulate_names_the_wrong_argument():
    charges, x, v = initial_states([(0, 2)])
    with pytest.raises(ValueError, match=r"Received shapes: \(2, 5\)"):
        simulate(charges, x[:, :4], v[:, :4])
    with pytest.raises(ValueError, match="frames=\\(40, 30\\)"):
        simulate(charges, x, v, frames=(40, 30))


# Builder and load.


def test_load_gives_numpy_arrays(data_dir):
    x, y = load_small(data_dir)
    assert sorted(x) == ["charges", "positions", "velocities"]
    assert x["charges"].shape == (5, 5, 1)
    for array in (x["positions"], x["velocities"], y):
        assert array.shape == (5, 5, 3)
    assert all(array.dtype == "float32" for array in (*x.values(), y))
    state = initial_states([(0, 5)])
    positions, velocities = simulate(*state, frames=(30, 40), verbose=0)
    np.testing.assert_array_equal(
        x["positions"], positions[:, 0].astype("float32")
    )
    np.testing.assert_array_equal(
        x["velocities"], velocities[:, 0].astype("float32")
    )
    np.testing.assert_array_equal(y, positions[:, 1].astype("float32"))
    np.testing.assert_array_equal(x["charges"][..., 0], state[0])


def test_splits_are_disjoint_places_of_the_stream(data_dir):
    expected = initial_states([(0, 5), (6, 9), (9, 11)])[0]
    pairs = load_small(data_dir, ["train", "validation", "test"])
    charges = np.concatenate([x["charges"][..., 0] for x, _ in pairs])
    np.testing.assert_array_equal(charges, expected)


@pytest.mark.parametrize(
    "split, rows",
    [
        ("train[:2]", [0, 1]),
        ("train[2:4]", [2, 3]),
        ("train[-1:]", [4]),
        ("train[60%:]", [3, 4]),
        ("train[:1]+train[4:]", [0, 4]),
    ],
)
def test_slices(data_dir, split, rows):
    _, y = load_small(data_dir)
    _, part = load_small(data_dir, split)
    np.testing.assert_array_equal(part, y[rows])


def test_all_and_read_instruction(data_dir):
    import tensorflow_datasets as tfds

    assert len(load_small(data_dir, "all")[1]) == 10
    _, y = load_small(data_dir)
    split = tfds.core.ReadInstruction("train", to=2, unit="abs")
    np.testing.assert_array_equal(load_small(data_dir, split)[1], y[:2])


@pytest.mark.parametrize(
    "kwargs, message",
    [
        ({"name": "nbody_charge"}, "Unknown `name`.*'nbody_charge'.*mean 'nb"),
        ({"split": "valid"}, "Unknown `split`.*'valid'.*mean 'validation'"),
        ({"split": "tran[:9]"}, "Unknown `split`.*mean 'train'"),
        ({"config": "10K"}, "Unknown `config`.*'10K'.*mean '10k'"),
    ],
)
def test_unknown_names(tmp_path, kwargs, message):
    kwargs = {"name": "nbody_charged", "data_dir": tmp_path, **kwargs}
    with pytest.raises(ValueError, match=message):
        datasets.load(**kwargs)
    assert not list(tmp_path.iterdir())


def test_not_prepared_and_not_allowed_to(tmp_path):
    with pytest.raises(FileNotFoundError, match="download=True"):
        load_small(tmp_path, download=False)


def test_config_must_fit_the_stream():
    with pytest.raises(ValueError, match="train=7"):
        small_config(train=7)


@pytest.mark.backend_independent
def test_twenty_bodies(tmp_path):
    config = small_config(name="twenty", num_bodies=20)
    x, y = datasets.load(
        "nbody_charged", config=config, data_dir=tmp_path, verbose=0
    )
    assert y.shape == x["velocities"].shape == (5, 20, 3)
    state = initial_states([(0, 5)], num_bodies=20)
    positions, _ = simulate(*state, frames=(40,), verbose=0)
    np.testing.assert_array_equal(y, positions[:, 0].astype("float32"))


def test_quiet(tmp_path, capfd):
    load_small(tmp_path)
    captured = capfd.readouterr()
    assert captured.out == ""
    assert "Simulating" not in captured.err
    assert "Generating" not in captured.err


def test_interrupted_preparation_leaves_nothing(tmp_path, monkeypatch):
    from keras_remul.datasets.nbody_charged.builder import NbodyCharged

    generate = NbodyCharged._generate_examples

    def interrupted(self, folder):
        yield next(generate(self, folder))
        raise KeyboardInterrupt

    monkeypatch.setattr(NbodyCharged, "_generate_examples", interrupted)
    with pytest.raises(KeyboardInterrupt):
        load_small(tmp_path)
    left = [path.name for path in tmp_path.rglob("*") if path.is_file()]
    assert not [n for n in left if "record" in n or n.endswith(".npy")]
    with pytest.raises(FileNotFoundError):
        load_small(tmp_path, download=False)
    monkeypatch.undo()
    assert len(load_small(tmp_path)[1]) == 5


def test_truncated_file_is_an_error(tmp_path):
    load_small(tmp_path)
    (file,) = tmp_path.rglob("arrays/train/positions.npy")
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(ValueError, match="positions.npy is damaged"):
        load_small(tmp_path)
    file.unlink()
    with pytest.raises(FileNotFoundError, match="Remove this folder"):
        load_small(tmp_path)


def test_list_and_register():
    import tensorflow_datasets as tfds

    assert "nbody_charged" in datasets.list_datasets()
    datasets.register()
    assert "nbody_charged" in tfds.list_builders()


def test_symmetry_maps_every_feature(data_dir):
    symmetry = datasets.symmetry("nbody_charged")
    x, y = load_small(data_dir)
    g = symmetry.group.sample(len(y), seed=0)
    moved = keras.tree.map_structure(
        keras.ops.convert_to_numpy, symmetry.transform_inputs(g, x)
    )
    assert sorted(moved) == sorted(x)
    np.testing.assert_array_equal(moved["charges"], x["charges"])
    assert np.abs(moved["positions"] - x["positions"]).max() > 0.1
    np.testing.assert_allclose(
        np.linalg.norm(moved["velocities"], axis=-1),
        np.linalg.norm(x["velocities"], axis=-1),
        rtol=1e-5,
    )
    with pytest.raises(ValueError, match="Unknown `name`"):
        datasets.symmetry("nbody")


# Without TensorFlow, in another process.

HIDE_TENSORFLOW = """
import sys

class Hide:
    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "tensorflow":
            return None
        return self.finder.find_spec(name, path, target)

    def __getattr__(self, name):
        return getattr(self.finder, name)

sys.meta_path[:] = [Hide(finder) for finder in sys.meta_path]
"""


def run_python(code):
    backend = keras.backend.backend()
    if backend == "tensorflow":
        pytest.skip("Needs another backend than TensorFlow.")
    result = subprocess.run(
        [sys.executable, "-c", HIDE_TENSORFLOW + textwrap.dedent(code)],
        env={
            **os.environ,
            "KERAS_BACKEND": backend,
            "PYTHONPATH": str(REPOSITORY),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_without_tensorflow(data_dir, tmp_path):
    pytest.importorskip("array_record")
    code = f"""
    import keras_remul.datasets as datasets
    assert "tensorflow_datasets" not in sys.modules
    from keras_remul.datasets.nbody_charged.builder import NbodyChargedConfig
    config = NbodyChargedConfig(
        name="small", train=5, validation=3, test=2, stream=(6, 3)
    )
    arguments = dict(config=config, split="train[1:4]", verbose=0)
    x, y = datasets.load("nbody_charged", data_dir={str(data_dir)!r},
                         download=False, **arguments)
    x2, y2 = datasets.load("nbody_charged", data_dir={str(tmp_path)!r},
                           **arguments)
    assert (y == y2).all() and y.shape == (3, 5, 3)
    assert all((x[key] == x2[key]).all() for key in x)
    assert "tensorflow" not in sys.modules
    print("done")
    """
    assert run_python(code) == "done\n"
    files = [path.name for path in tmp_path.rglob("*-of-*")]
    assert len(files) == 3 and all("array_record" in name for name in files)
    _, y = load_small(data_dir, "train[1:4]")
    np.testing.assert_array_equal(load_small(tmp_path, "train[1:4]")[1], y)


# With TensorFlow: TFDS's own loader and test case.

ON_TENSORFLOW = keras.backend.backend() == "tensorflow"


@pytest.mark.skipif(not ON_TENSORFLOW, reason="Reads with TensorFlow.")
def test_tfds_load_reads_what_load_prepared(data_dir):
    import tensorflow_datasets as tfds

    datasets.register()
    _, y = load_small(data_dir)
    dataset = tfds.load(
        "nbody_charged",
        split="train",
        data_dir=data_dir,
        builder_kwargs={"config": small_config()},
    )
    targets = [example["targets"] for example in tfds.as_numpy(dataset)]
    np.testing.assert_array_equal(np.stack(targets), y)
    dataset = tfds.load(
        "nbody_charged",
        split="train",
        data_dir=data_dir,
        as_supervised=True,
        builder_kwargs={"config": small_config()},
    )
    (batch,) = tfds.as_numpy(dataset.batch(10))
    x, _ = load_small(data_dir)
    np.testing.assert_array_equal(batch[1], y)
    assert sorted(batch[0]) == sorted(x)
    for key in x:
        np.testing.assert_array_equal(batch[0][key], x[key])


def test_flipped_charges_move_alike():
    c, x, v = initial_states([(0, 20)])
    same = simulate(c, x, v, frames=(1,), verbose=0)
    flipped = simulate(-c, x, v, frames=(1,), verbose=0)
    for a, b in zip(same, flipped, strict=True):
        np.testing.assert_array_equal(a, b)
    space_and_charges = datasets.symmetries("nbody_charged")[1]
    assert repr(space_and_charges.inputs["charges"]) == "Odd(Scalar())"
    alone = datasets.symmetry("nbody_charged")
    assert repr(alone.inputs["charges"]) == "Scalar()"
    with pytest.raises(ValueError, match="may change its sign"):
        datasets.symmetry("nbody_gravity", space_and_charges.group)
