"""What a preset may not do: run code, read other files, unpack to terabytes."""

import io
import json
import os
import pathlib
import shutil
import zipfile

import h5py
import keras
import numpy as np
import pytest

from keras_remul import (
    download_preset,
    from_preset,
    save_to_preset,
    verify_preset,
)
from keras_remul.presets import files, folder, read_metadata, resolve
from keras_remul.utils import atomic


@pytest.fixture
def preset(tmp_path):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    save_to_preset(model, tmp_path / "p", x=np.ones((2, 3), "float32"))
    return tmp_path / "p"


def sign(preset):
    """Makes the hashes right, as an attacker would."""
    facts = json.loads((preset / "metadata.json").read_text())
    (preset / "metadata.json").unlink()
    facts["files"] = files.describe(preset)
    atomic.write_json(preset / "metadata.json", facts)


def layer(class_name, config, module="keras.layers", registered_name=None):
    return {
        "module": module,
        "class_name": class_name,
        "config": config,
        "registered_name": registered_name,
    }


CALLED = []


def harmful(*args, **kwargs):
    CALLED.append(args)


@pytest.mark.parametrize(
    "bad, message",
    [
        (layer("Lambda", {"function": "exit"}), "'Lambda' of 'keras.layers'"),
        (layer("__lambda__", {"value": ["4wA=", None, None]}), "could run"),
        (layer("__typespec__", [1], "tensorflow"), "could run"),
        (layer("TFSMLayer", {"filepath": "/tmp/model"}), "not on the list"),
        (layer("TorchModuleWrapper", {"module": "abc"}), "not on the list"),
        (layer("JaxLayer", {"call_fn": "x"}), "not on the list"),
        (layer("FlaxLayer", {"module": "x"}), "not on the list"),
        (layer("StringLookup", {"vocabulary": "/a"}), "not on the list"),
        (layer("Unknown", {}, "somewhere", "theirs>Unknown"), "registered"),
        (layer("Popen", {"args": "id"}, "subprocess"), "not on the list"),
        (layer("harmful", {}, __name__), "not on the list"),
        (layer("function", "system", "os", "function"), "not on the list"),
        (layer("get_file", {}, "keras.utils"), "not on the list"),
        (layer("load_model", {}, "keras.models"), "not on the list"),
        ({"class_name": "Dense"}, "without a config"),
        ({"class_name": ["Dense"], "config": {}}, "without a config"),
        ({"Dense": {}}, "not a Keras model"),
        ([1], "JSON object"),
    ],
    ids=lambda value: str(value)[:60] if isinstance(value, dict) else "",
)
def test_configurations_that_are_refused(preset, bad, message):
    config = json.loads((preset / "config.json").read_text())
    whole, inside = bad, dict(config)
    if isinstance(bad, dict) and "module" in bad:
        inside["config"] = {**config["config"]}
        inside["config"]["layers"] = [*config["config"]["layers"], bad]
    else:
        inside = bad
    for content in (whole, inside):
        (preset / "config.json").write_text(json.dumps(content))
        sign(preset)
        with pytest.raises(ValueError, match=message):
            from_preset(preset)
    assert CALLED == []


def test_a_custom_class_loads_once_it_is_registered(tmp_path):
    @keras.saving.register_keras_serializable(package="tests")
    class Twice(keras.layers.Layer):
        def call(self, x):
            return 2 * x

    model = keras.Sequential([keras.Input((3,)), Twice()])
    save_to_preset(model, tmp_path / "p", x=np.ones((2, 3), "float32"))
    with pytest.raises(ValueError, match=r"packages=\['tests'\]"):
        from_preset(tmp_path / "p")
    assert verify_preset(tmp_path / "p", packages=["tests"]) == 0.0
    registry = keras.saving.get_custom_objects()
    del registry["tests>Twice"]
    with pytest.raises(ValueError, match="Import the package that registers"):
        from_preset(tmp_path / "p", packages=["tests"])


def edit_weights(preset, change):
    with h5py.File(preset / "model.weights.h5", "r+") as file:
        found = []
        file.visititems(
            lambda name, node: (
                found.append(name)
                if isinstance(node, h5py.Dataset) and node.ndim == 2
                else None
            )
        )
        change(file, found[0])
    sign(preset)


def external_link(file, name):
    del file[name]
    file[name] = h5py.ExternalLink("/etc/hostname", "/x")


def external_storage(file, name):
    del file[name]
    file.create_dataset(name, (3, 2), "f4", external=[("/etc/passwd", 0, 24)])


def bomb(file, name):
    del file[name]
    # Kilobytes in the file, a terabyte in memory.
    file.create_dataset(
        name, (2**20, 2**18), "f4", compression="gzip", chunks=(2**10, 2**10)
    )


def other_shape(file, name):
    del file[name]
    file[name] = np.zeros((3, 3), "f4")


def missing(file, name):
    del file[name]


@pytest.mark.parametrize(
    "change", [external_link, external_storage, bomb, other_shape, missing]
)
def test_weights_that_are_refused(preset, change):
    edit_weights(preset, change)
    with pytest.raises(ValueError, match="does not hold the weights"):
        from_preset(preset)


def test_weights_that_are_no_hdf5(preset):
    (preset / "model.weights.h5").write_bytes(b"\x80\x04.")
    sign(preset)
    with pytest.raises(ValueError, match="does not hold the weights"):
        from_preset(preset)


def array(dtype="<f4", shape=(2, 3), content=bytes(24)):
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        stream, {"descr": dtype, "fortran_order": False, "shape": shape}
    )
    return stream.getvalue() + content


def rewrite_golden(preset, member, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(preset / "golden.npz", "w", compression) as archive:
        archive.writestr("input.npy", member)
        archive.writestr("output.npy", array(shape=(2, 2), content=bytes(16)))
    sign(preset)


def test_golden_outputs_that_are_refused(preset):
    rewrite_golden(preset, bytes(2**24), zipfile.ZIP_DEFLATED)
    with pytest.raises(ValueError, match="golden.npz.*is compressed"):
        verify_preset(preset)
    rewrite_golden(preset, array("|O", (1,), b"\x80\x04K\x01."))
    with pytest.raises(ValueError, match="holds Python objects"):
        verify_preset(preset)
    rewrite_golden(preset, array(shape=(2**20, 2**20)))
    with pytest.raises(ValueError, match="not the size of an array"):
        verify_preset(preset)
    (preset / "golden.npz").write_bytes(b"PK")
    sign(preset)
    with pytest.raises(ValueError, match="golden.npz"):
        verify_preset(preset)


def test_metadata_that_name_other_files(preset):
    facts = json.loads((preset / "metadata.json").read_text())
    for name in ("../p/config.json", "/etc/passwd"):
        facts["files"][name] = facts["files"]["config.json"]
        (preset / "metadata.json").write_text(json.dumps(facts))
        with pytest.raises(ValueError, match="only plain names"):
            from_preset(preset)
        del facts["files"][name]


def test_links_out_of_the_folder(preset, tmp_path):
    """A link is followed: the hash says what is read, not where it is."""
    target = tmp_path / "elsewhere.h5"
    (preset / "model.weights.h5").rename(target)
    (preset / "model.weights.h5").symlink_to(target)
    from_preset(preset)
    assert isinstance(target, pathlib.Path)
    target.write_bytes(b"changed")
    with pytest.raises(ValueError, match="damaged"):
        from_preset(preset)


def test_each_weight_counts(tmp_path):
    """Also one that no stored input reaches, changed by one percent."""
    model = keras.Sequential(
        [keras.Input((3,)), keras.layers.Dense(4), keras.layers.Dense(2)]
    )
    for weight in model.weights:
        weight.assign(np.ones(weight.shape))
    save_to_preset(model, tmp_path / "p", x=np.zeros((2, 3), "float32"))
    for weight in model.weights:
        folder = tmp_path / f"changed{weight.path.replace('/', '-')}"
        shutil.copytree(tmp_path / "p", folder)
        value = keras.ops.convert_to_numpy(weight).copy()
        value.flat[-1] *= 1.01
        weight.assign(value)
        model.save_weights(folder / "model.weights.h5")
        sign(folder)
        weight.assign(np.ones(weight.shape))
        for load in (verify_preset, from_preset):
            with pytest.raises(ValueError, match="other weights"):
                load(folder)


def test_what_is_hashed_is_what_is_loaded(preset, monkeypatch):
    """A file that is exchanged after it was compared is not loaded."""
    other = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    right = keras.ops.convert_to_numpy(from_preset(preset).weights[0])
    read = files.check_file

    def exchanged(folder, name, *arguments):
        read(folder, name, *arguments)
        if name == "model.weights.h5":
            other.save_weights(folder / name)
            (folder / "config.json").write_text("{}")

    monkeypatch.setattr(files, "check_file", exchanged)
    loaded = keras.ops.convert_to_numpy(from_preset(preset).weights[0])
    np.testing.assert_array_equal(loaded, right)


@pytest.mark.parametrize(
    "use", [from_preset, verify_preset, read_metadata, download_preset]
)
def test_what_is_pinned_is_what_is_loaded(preset, tmp_path, monkeypatch, use):
    """Another preset, whose own hashes are right, comes after the pin."""
    other = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    save_to_preset(other, tmp_path / "other", x=np.ones((2, 3), "float32"))
    pin = files.sha256(preset / "metadata.json")
    resolved = resolve.resolve

    def swap(*args):
        found = resolved(*args)
        shutil.rmtree(preset)
        shutil.copytree(tmp_path / "other", preset)
        return found

    monkeypatch.setattr(folder, "resolve", swap)
    monkeypatch.setattr(resolve, "resolve", swap)
    with pytest.raises(ValueError, match="was changed just now"):
        use(f"file://{preset}#sha256={pin}")


def test_what_a_kill_between_two_steps_leaves(preset):
    """The old one is away and the new one not there; both are said."""
    old = preset.with_name(".p-old-01234567")
    preset.rename(old)
    with pytest.raises(ValueError, match=f"{old} is the old one"):
        from_preset(preset)
    model = from_preset(old)
    save_to_preset(model, preset)
    assert old.exists()  # nothing was replaced
    save_to_preset(model, preset)
    assert not old.exists()
    assert [path.name for path in preset.parent.iterdir()] == ["p"]


def test_shards_that_are_not_listed(tmp_path):
    path, outside = tmp_path / "p", tmp_path / "outside.weights.h5"
    model = keras.Sequential(
        [
            keras.Input((3,)),
            keras.layers.Dense(200),
            keras.layers.Dense(200),
            keras.layers.Dense(200),
        ]
    )
    save_to_preset(model, path, max_shard_size=2e-4)
    assert len(list(path.glob("*.h5"))) > 1
    shards = json.loads((path / "model.weights.json").read_text())
    facts = json.loads((path / "metadata.json").read_text())
    first = sorted(path.glob("*.h5"))[0]
    outside.write_bytes(first.read_bytes())
    for name in ("../outside.weights.h5", str(outside)):
        changed = json.loads(json.dumps(shards).replace(first.name, name))
        (path / "model.weights.json").write_text(json.dumps(changed))
        sign(path)
        with pytest.raises(ValueError, match="only plain names"):
            from_preset(path)
    (path / "model.weights.json").write_text(json.dumps(shards))
    sign(path)
    facts = json.loads((path / "metadata.json").read_text())
    del facts["files"][first.name]
    (path / "metadata.json").write_text(json.dumps(facts))
    with pytest.raises(ValueError, match="does not list"):
        from_preset(path)


@pytest.mark.parametrize("name", ["config.json", "metadata.json", "golden.npz"])
@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes on this system")
def test_pipes_and_folders_are_no_files(preset, name):
    (preset / name).unlink()
    os.mkfifo(preset / name)
    for _ in range(2):
        with pytest.raises((ValueError, OSError), match="file|missing|no such"):
            verify_preset(preset)
        if (preset / name).is_fifo():
            (preset / name).unlink()
            (preset / name).mkdir()
