"""Pictures of data sets."""

import numpy as np
import pytest
import test_datasets_jets as jets
import test_datasets_mocap as mocap
import test_datasets_molecules as molecules

from keras_remul import cli
from keras_remul.datasets import pictures

pytestmark = pytest.mark.backend_independent


def test_skeleton_is_that_of_the_reference(shared_data):
    with np.load(shared_data / "cmu_mocap/cmu09_run.npz") as file:
        expected = file["edges"]
    found = pictures.edges({"joints": np.zeros((1, 31, 31))})
    np.testing.assert_array_equal(found, expected)


def test_bonds():
    numbers = np.array(molecules.ETHANOL["numbers"])[None, :, None]
    x = {"positions": molecules.trajectory(1), "atomic_numbers": numbers}
    heavy, methyl, methylene = [[0, 1], [1, 2]], [3, 4, 5], [6, 7]
    expected = heavy + [[0, h] for h in methyl] + [[1, h] for h in methylene]
    assert pictures.edges(x) == sorted([*expected, [2, 8]])


@pytest.mark.parametrize(
    "name, axes",
    [
        ("nbody_gravity/tiny", 4),
        ("cmu_mocap/run_09", 4),
        ("xtb_md/tiny", 4),
        ("top_jets/reference", 2),
    ],
)
def test_pictures(tmp_path, rng, name, axes):
    np.savez(tmp_path / "cmu09_run.npz", **mocap.run_09_arrays(rng))
    molecules.write_chunks(tmp_path)
    jets.write_files(tmp_path)
    figure = pictures.picture(
        name, data_dir=tmp_path / "d", manual_dir=tmp_path, verbose=0
    )
    assert len(figure.axes) == axes
    assert all(axis.lines or axis.collections for axis in figure.axes)
    figure.savefig(tmp_path / "picture.png")


def test_command(tmp_path):
    output = tmp_path / "picture.png"
    place = ["--data-dir", str(tmp_path), "--output", str(output)]
    command = ["datasets", "picture", "nbody_gravity/tiny", *place]
    assert cli.main(command) == 0
    assert output.read_bytes().startswith(b"\x89PNG")
