"""Where presets and exported files are put, and what is left alone there."""

import json
import os
import pathlib
import shutil

import keras
import numpy as np
import pytest
from test_presets_safety import sign

from keras_remul import export, from_preset, save_to_preset, verify_preset
from keras_remul.presets import files, places
from keras_remul.presets.folder import update_metadata

X = np.ones((2, 3), "float32")


@pytest.fixture(scope="module")
def model():
    return keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])


@pytest.fixture
def preset(model, tmp_path):
    save_to_preset(model, tmp_path / "p", x=X)
    return tmp_path / "p"


def tree(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


LISTED = {"format": 1, "files": {"a.npy": {"sha256": "0" * 64, "size": 1}}}


@pytest.mark.backend_independent
@pytest.mark.parametrize("facts", [{}, [1], {"format": 1}, LISTED, None])
def test_folders_of_others_are_left_alone(model, tmp_path, facts):
    """Many programs call a file metadata.json."""
    thesis = tmp_path / "thesis"
    (thesis / ".git").mkdir(parents=True)
    (thesis / ".git" / "HEAD").write_text("x")
    (thesis / "chapter.tex").write_text("x")
    if facts is not None:
        (thesis / "metadata.json").write_text(json.dumps(facts))
    before = tree(thesis)
    with pytest.raises(ValueError, match="left alone.*chapter.tex"):
        save_to_preset(model, thesis)
    assert tree(thesis) == before
    assert os.listdir(tmp_path) == ["thesis"]


@pytest.mark.backend_independent
@pytest.mark.parametrize("name", ["mine.txt", ".hidden", "folder/x", ".git/x"])
def test_what_lies_beside_a_preset_is_left_alone(model, preset, name):
    (preset / name).parent.mkdir(exist_ok=True)
    (preset / name).write_text("precious")
    before = tree(preset)
    shown = name.partition("/")[0]
    for write in (
        lambda: save_to_preset(model, preset),
        lambda: update_metadata(preset, description="x"),
    ):
        with pytest.raises(ValueError, match=f"left alone.*'{shown}'"):
            write()
        assert tree(preset) == before


@pytest.mark.backend_independent
def test_a_damaged_preset_is_replaced(model, preset):
    (preset / files.GOLDEN).unlink()
    (preset / files.CONFIG).write_text("x")
    (preset / files.CARD).unlink()
    save_to_preset(model, preset, x=X)
    assert verify_preset(preset) == 0.0


@pytest.mark.backend_independent
def test_the_working_folder_is_left_alone(model, preset, monkeypatch):
    monkeypatch.chdir(preset)
    before = tree(preset)
    for path in (".", preset, pathlib.Path(".")):
        with pytest.raises(ValueError, match="is the working folder"):
            save_to_preset(model, path)
        with pytest.raises(ValueError, match="is the working folder"):
            update_metadata(path, description="x")
    assert tree(pathlib.Path(".")) == before


@pytest.mark.backend_independent
def test_paths(model, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    save_to_preset(model, "~/p")
    update_metadata("~/p", description="Mine.")
    assert from_preset("~/p").count_params() == model.count_params()
    assert os.listdir(tmp_path) == ["p"]
    for path in (
        "hf://me/p",
        "kaggle://a/b",
        "https://a:b@c/d",
        pathlib.Path("hf://me/p"),
    ):
        for write in (save_to_preset, lambda _, path: update_metadata(path)):
            with pytest.raises(ValueError, match="address.*upload_preset") as e:
                write(model, path)
            assert "a:b" not in str(e.value)
        with pytest.raises(ValueError, match="address"):
            export(model, path, X)
    for path in ("", None, 3, b"p"):
        with pytest.raises(ValueError, match="`path` must be a path"):
            save_to_preset(model, path)
    assert os.listdir(tmp_path) == ["p"]


@pytest.mark.backend_independent
def test_a_link_to_another_disk(model, tmp_path, monkeypatch):
    """What is moved to its place was made beside it, and not by the link."""
    disk, here = tmp_path / "disk", tmp_path / "here"
    disk.mkdir()
    here.mkdir()
    save_to_preset(model, disk / "p")
    (here / "link").symlink_to(disk / "p")
    replace = os.replace

    def one_disk(old, new):
        disks = [
            pathlib.Path(os.path.realpath(path)).relative_to(tmp_path).parts[0]
            for path in (old, new)
            if pathlib.Path(path).is_relative_to(tmp_path)
        ]
        if len(set(disks)) > 1:
            raise OSError(18, "Invalid cross-device link")
        replace(old, new)

    monkeypatch.setattr(os, "replace", one_disk)
    save_to_preset(model, here / "link", x=X)
    update_metadata(here / "link", description="Mine.")
    assert (here / "link").is_symlink() and verify_preset(disk / "p") == 0.0
    # The card says the name that was given.
    assert (disk / "p" / "README.md").read_text().startswith("# link")
    assert [os.listdir(disk), os.listdir(here)] == [["p"], ["link"]]


def saved_model(folder):
    """What an export of this format writes."""
    for name in ("assets", "variables"):
        (folder / name).mkdir(parents=True)
    for name in (
        "saved_model.pb",
        "fingerprint.pb",
        "variables/variables.index",
        "variables/variables.data-00000-of-00001",
    ):
        (folder / name).write_text("x")


def test_targets_of_exports(tmp_path, monkeypatch):
    path = tmp_path / "dd.pt2"
    places.check_export(path, "torch", ".pt2")
    path.write_text("x")
    places.check_export(path, "torch", ".pt2")
    with pytest.raises(ValueError, match="left alone.*a file"):
        places.check_export(path, "tf_saved_model", "")
    path.unlink()
    saved_model(path)
    places.check_export(path, "tf_saved_model", "")
    with pytest.raises(ValueError, match="left alone.*saved_model.pb"):
        places.check_export(path, "torch", ".pt2")
    for name in ("mine", ".git/x", "variables/mine", "assets/mine"):
        (path / name).parent.mkdir(exist_ok=True)
        (path / name).write_text("x")
        with pytest.raises(ValueError, match=f"left alone.*'{name}'"):
            places.check_export(path, "tf_saved_model", "")
        shutil.rmtree(path)
        saved_model(path)
    monkeypatch.chdir(path / "variables")
    with pytest.raises(ValueError, match="is the working folder, or holds it"):
        places.check_export(path, "tf_saved_model", "")


def test_an_export_leaves_a_folder_alone(model, tmp_path):
    """Also one that holds a saved model and its owner's files."""
    backend = keras.backend.backend()
    name, format = (
        ("m.pt2", "torch")
        if backend == "torch"
        else (
            "m",
            "tf_saved_model",
        )
    )
    saved_model(tmp_path / name)
    (tmp_path / name / "mine").write_text("x")
    before = tree(tmp_path)
    with pytest.raises(ValueError, match="left alone.*'mine'"):
        export(model, tmp_path / name, X, format)
    assert tree(tmp_path) == before


@pytest.mark.backend_independent
def test_cards_and_weights_in_shards_are_part_of_a_preset(model, tmp_path):
    save_to_preset(model, tmp_path / "p", max_shard_size=1e-3)
    (tmp_path / "p" / "plot.png").write_bytes(b"x")
    sign(tmp_path / "p")  # lists the picture
    update_metadata(tmp_path / "p", description="x")
    assert (tmp_path / "p" / "plot.png").read_bytes() == b"x"
    save_to_preset(model, tmp_path / "p")
    assert not (tmp_path / "p" / "plot.png").exists()
