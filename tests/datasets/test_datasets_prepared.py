"""Prepared data: whatever is not what was written is refused, by its name."""

import io
import json
import os
import pathlib
import shutil

import numpy as np
import pytest

from keras_remul import datasets
from keras_remul.datasets import manifest, reader, registry
from keras_remul.datasets.nbody_gravity.builder import NbodyGravityConfig

NAME = "nbody_gravity/tiny"


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    folder = tmp_path_factory.mktemp("prepared")
    datasets.load(NAME, [], data_dir=folder, verbose=0)
    return folder


@pytest.fixture
def data_dir(original, tmp_path):
    return pathlib.Path(shutil.copytree(original, tmp_path / "data"))


def arrays(data_dir):
    """The folder of the arrays."""
    (path,) = data_dir.rglob(manifest.NAME)
    return path.parent


def load(data_dir, split="train", **kwargs):
    arguments = dict(data_dir=data_dir, download=False, verbose=0)
    return datasets.load(NAME, split, **arguments, **kwargs)


def stream(data_dir, split="train"):
    return datasets.stream(
        NAME, split, data_dir=data_dir, download=False, verbose=0
    )


def edit(path, change):
    """Saves an array again, changed, with a header that fits."""
    np.save(path, change(np.load(path)), allow_pickle=True)


def overwrite(path, place, content):
    with open(path, "r+b") as file:
        file.seek(place, os.SEEK_END if place < 0 else os.SEEK_SET)
        file.write(content)


def one_bit(path):
    raw = bytearray(path.read_bytes())
    raw[200] ^= 1
    path.write_bytes(raw)


def one_nan(array):
    array[3] = np.nan
    return array


def to_pipe(path):
    path.unlink()
    os.mkfifo(path.with_name("pipe"))
    path.symlink_to(path.with_name("pipe"))


def to_folder(path):
    path.unlink()
    path.mkdir()


FAULTS = {
    "missing": lambda p: p.unlink(),
    "dangling link": lambda p: (p.unlink(), p.symlink_to("nowhere")),
    "empty": lambda p: p.write_bytes(b""),
    "cut in the header": lambda p: os.truncate(p, 50),
    "cut": lambda p: os.truncate(p, p.stat().st_size - 48),
    "longer": lambda p: p.write_bytes(p.read_bytes() + b"\0" * 48),
    "text": lambda p: p.write_text("positions\n" * 90),
    "another split": lambda p: shutil.copy(p.parents[1] / "test" / p.name, p),
    "another split of as many rows": lambda p: edit(
        p,
        lambda a: np.concatenate(
            [np.load(p.parents[1] / s / p.name) for s in ("test", "validation")]
        ),
    ),
    "another feature": lambda p: shutil.copy(p.with_name("targets.npy"), p),
    "another order of rows": lambda p: edit(p, lambda a: a[::-1].copy()),
    "one bit": one_bit,
    "one bit of the header": lambda p: overwrite(p, 9, b"\1"),
    "a NaN": lambda p: edit(p, one_nan),
    "an infinity": lambda p: overwrite(p, -4, np.float32(np.inf).tobytes()),
    "fewer rows": lambda p: edit(p, lambda a: a[:3]),
    "more rows": lambda p: edit(p, lambda a: np.concatenate([a, a])),
    "fewer nodes": lambda p: edit(p, lambda a: a[:, :3]),
    "no node axis": lambda p: edit(p, lambda a: a.reshape(16, -1)),
    "float64": lambda p: edit(p, lambda a: a.astype("f8")),
    "float16": lambda p: edit(p, lambda a: a.astype("f2")),
    "integers": lambda p: edit(p, lambda a: a.view("i4")),
    "other byte order": lambda p: edit(p, lambda a: a.astype(">f4")),
    "columns": lambda p: edit(p, np.asfortranarray),
    "pickled": lambda p: edit(p, lambda a: a.astype(object)),
    "npz": lambda p: (
        np.savez(p.with_suffix(".npz"), a=np.load(p)),
        os.replace(p.with_suffix(".npz"), p),
    ),
    "a link to a pipe": to_pipe,
    "a folder": to_folder,
}


@pytest.mark.parametrize("how", [load, stream])
@pytest.mark.parametrize("fault", FAULTS)
def test_faulty_array(fault, how, data_dir):
    path = arrays(data_dir) / "train" / "positions.npy"
    FAULTS[fault](path)
    with pytest.raises(ValueError, match="positions.npy") as caught:
        how(data_dir)
    text = str(caught.value)
    assert "train" in text and "emove th" in text and "load" in text


@pytest.mark.parametrize(
    "fault, message",
    [
        ("fewer rows", r"holds an array of shape \(3, 4, 3\).*\(16, 4, 3\)"),
        ("float64", "dtype <f8; .* dtype <f4 was written"),
        ("columns", "in the order of columns"),
        ("pickled", r"dtype \|O; .*<f4 was written"),
        ("text", "holds no array of the format .npy"),
        ("cut", "has 848 bytes, 896 were written"),
        ("longer", "has 944 bytes, 896 were written"),
        ("a NaN", "its sha256 is not that of what was written"),
        ("a link to a pipe", "positions.npy is not a file"),
    ],
)
def test_what_is_wrong_is_said(fault, message, data_dir):
    FAULTS[fault](arrays(data_dir) / "train" / "positions.npy")
    with pytest.raises(ValueError, match=message):
        load(data_dir)


def test_the_records_of_tfds_are_not_read(data_dir):
    """Who needs the room may delete them."""
    x, y = load(data_dir)
    records = [*data_dir.rglob("*-of-*")]
    assert records
    for path in records:
        path.unlink()
    again, y_again = load(data_dir)
    np.testing.assert_array_equal(y, y_again)
    np.testing.assert_array_equal(x["masses"], again["masses"])
    batch, _ = stream(data_dir)[0]
    assert len(batch["masses"]) == 16


def test_the_remedy_is_one(data_dir):
    x, y = load(data_dir)
    one_bit(arrays(data_dir) / "train" / "masses.npy")
    with pytest.raises(ValueError, match="Remove the folder (.*) and") as error:
        load(data_dir)
    assert len(load(data_dir, "test")[1]) == 8  # is what it was
    folder = str(error.value).split("Remove the folder ")[1].split(" and load")
    shutil.rmtree(folder[0])
    again, y_again = datasets.load(NAME, data_dir=data_dir, verbose=0)
    np.testing.assert_array_equal(y, y_again)
    np.testing.assert_array_equal(x["masses"], again["masses"])


def change(path, **entries):
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, **entries}))


def drop(path, *keys):
    content = inner = json.loads(path.read_text())
    for key in keys[:-1]:
        inner = inner[key]
    del inner[keys[-1]]
    path.write_text(json.dumps(content))


def put(path, value, *keys):
    content = inner = json.loads(path.read_text())
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = value
    path.write_text(json.dumps(content))


POSITIONS = ("files", "train", "positions")


@pytest.mark.parametrize(
    "fault",
    [
        lambda p: p.unlink(),
        lambda p: p.write_bytes(b""),
        lambda p: os.truncate(p, 300),
        lambda p: p.write_text("[1]"),
        lambda p: p.write_text("[" * 10**5),
        to_pipe,
        lambda p: change(p, format=2),
        lambda p: change(p, name="nbody_charged"),
        lambda p: change(p, config="gatr"),
        lambda p: change(p, version="1.1.0"),
        lambda p: change(p, dtype="<f8"),
        lambda p: change(p, settings=None),
        lambda p: change(p, files=None),
        lambda p: drop(p, "files", "test"),
        lambda p: drop(p, *POSITIONS),
        lambda p: drop(p, *POSITIONS, "sha256"),
        lambda p: put(p, None, *POSITIONS, "sha256"),
        lambda p: put(p, "0" * 63, *POSITIONS, "sha256"),
        lambda p: put(p, True, *POSITIONS, "size"),
        lambda p: put(p, [3, 4, 3], *POSITIONS, "shape"),
        lambda p: put(p, {}, "files", "further"),
    ],
)
def test_faulty_manifest(fault, data_dir):
    path = arrays(data_dir) / manifest.NAME
    fault(path)
    with pytest.raises(ValueError, match=r"manifest\.json.*emove th"):
        load(data_dir)


def test_a_manifest_that_was_adapted_to_fewer_rows(data_dir):
    """Rows are compared with what TFDS wrote down too."""
    path = arrays(data_dir) / "train" / "positions.npy"
    edit(path, lambda a: a[:3])
    facts = {"shape": [3, 4, 3], "size": path.stat().st_size, "sha256": "0"}
    put(arrays(data_dir) / manifest.NAME, facts, *POSITIONS)
    with pytest.raises(ValueError, match=r"\[16, 4, 3\].*'positions'"):
        load(data_dir)


@pytest.mark.parametrize(
    "fault",
    [
        lambda p: p.unlink(),
        lambda p: p.write_bytes(b""),
        lambda p: os.truncate(p, 100),
        lambda p: p.write_text("{}"),
        lambda p: p.write_text(p.read_text().replace('"16"', '"3"')),
        lambda p: p.write_bytes(p.read_bytes().replace(b"16", b"\xff6")),
    ],
)
def test_faulty_info(fault, data_dir):
    (path,) = data_dir.rglob("dataset_info.json")
    fault(path)
    with pytest.raises(ValueError, match=r"\.json.*emove th"):
        load(data_dir)


def test_the_folder_of_another_configuration(data_dir):
    """A copy of `tiny` under the name of `remul`."""
    (folder,) = data_dir.glob("nbody_gravity/tiny")
    shutil.copytree(folder, folder.with_name("remul"))
    with pytest.raises(ValueError, match=r"manifest\.json.*'tiny'"):
        datasets.load(
            "nbody_gravity/remul", data_dir=data_dir, download=False, verbose=0
        )


def test_another_configuration_of_the_same_name(tmp_path):
    def get(**changes):
        sizes = dict(train=5, validation=2, test=2)
        config = NbodyGravityConfig(name="mine", **{**sizes, **changes})
        return datasets.load(
            "nbody_gravity", config=config, data_dir=tmp_path, verbose=0
        )

    assert len(get()[1]) == len(get(description="Other words.")[1]) == 5
    with pytest.raises(ValueError, match="'mine': seed=0, not 1. Give"):
        get(seed=1)
    with pytest.raises(ValueError, match="train=5, not 6"):
        get(train=np.int64(6))
    assert len(get(train=np.int64(5))[1]) == 5


@pytest.mark.parametrize("shape", [(1, 1), (16, 4, 3), (10**6, 20, 3), (7,)])
def test_the_header_is_that_of_numpy(shape, tmp_path):
    array = np.broadcast_to(np.float32(0), shape)
    np.save(tmp_path / "any.npy", array[:1])
    header = manifest.header(array[:1].shape)
    assert (tmp_path / "any.npy").read_bytes().startswith(header)
    file = io.BytesIO(manifest.header(shape))
    np.lib.format.read_magic(file)
    found = np.lib.format.read_array_header_1_0(file)
    assert found == (shape, False, np.dtype("<f4")) and file.read() == b""
    assert len(manifest.header(shape)) % 64 == 0


def test_settings_of_each_configuration_are_json():
    for name in datasets.list_datasets():
        for config in registry.builder_class(name).builder_configs.values():
            settings = manifest.settings(config)
            assert settings == json.loads(json.dumps(settings))
            assert not {"name", "description"} & set(settings)


def test_a_file_that_is_put_there_between_check_and_use(data_dir, monkeypatch):
    """The bytes that were hashed are those that are handed out."""
    path = arrays(data_dir) / "train" / "positions.npy"
    truth, _ = load(data_dir)
    check = reader._check

    def and_swap(digest, checked, *rest):
        check(digest, checked, *rest)
        if checked == path and path.exists():
            np.save(path.with_name("other.npy"), 0 * truth["positions"])
            os.replace(path.with_name("other.npy"), path)

    monkeypatch.setattr(reader, "_check", and_swap)
    for how in (load, stream):
        shutil.copy(path, path.with_name("kept"))
        found = how(data_dir)
        x = found[0] if how is load else found.shards[0]
        np.testing.assert_array_equal(x["positions"], truth["positions"])
        os.replace(path.with_name("kept"), path)


def test_rows_are_those_that_were_asked_for(data_dir):
    x, y = load(data_dir)
    for split, rows in {
        "train[3:5]": slice(3, 5),
        "train[:0]": slice(0, 0),
        "train[-2:]": slice(14, 16),
    }.items():
        part, target = load(data_dir, split)
        np.testing.assert_array_equal(part["masses"], x["masses"][rows])
        np.testing.assert_array_equal(target, y[rows])
        assert target.flags.writeable and target.dtype == np.float32
    both, _ = load(data_dir, "train[:1]+train[15:]")
    np.testing.assert_array_equal(both["masses"], x["masses"][[0, 15]])
    with pytest.raises(ValueError, match="read-only"):
        stream(data_dir).shards[0]["masses"][0] = 1


def test_a_stream_is_mapped_and_each_file_is_read_once(data_dir, monkeypatch):
    opened = []
    real = reader.open_plain

    def spy(path):
        opened.append(path)
        return real(path)

    monkeypatch.setattr(reader, "open_plain", spy)
    batches = stream(data_dir, "train[:4]+train[4:]")
    assert all(
        isinstance(a.base, np.memmap) for a in batches.shards[0].values()
    )
    assert len(opened) == len(set(opened)) == 4


def test_data_without_hashes_are_prepared_once_more(data_dir):
    """Those of release 1.1.0 have no manifest, and their own folder."""
    new = arrays(data_dir).parent
    old = new.rename(new.with_name("1.1.0"))
    info = old / "dataset_info.json"
    info.write_text(info.read_text().replace("1.1.1", "1.1.0"))
    (old / "arrays" / manifest.NAME).unlink()
    with pytest.raises(FileNotFoundError, match="versions 1.1.0; from 1.1.1"):
        load(data_dir)
    x, _ = datasets.load(NAME, data_dir=data_dir, verbose=0)
    np.testing.assert_array_equal(
        x["positions"], np.load(old / "arrays" / "train" / "positions.npy")
    )


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda a: a["train"].pop("masses"), "'train' must have the features"),
        (lambda a: a["train"].update(more=0), "'train' must have the features"),
        (lambda a: a.pop("test"), "must have the splits"),
        (
            lambda a: a["test"].update(targets=a["test"]["targets"][:3]),
            "'test'.*as many rows.*'targets': 3",
        ),
        (
            lambda a: a.update(test={k: v[:0] for k, v in a["test"].items()}),
            "'test'.*at least one",
        ),
        (
            lambda a: a["test"].update(targets=1j * a["test"]["targets"]),
            "'targets'.*'test' must hold real numbers.*complex128",
        ),
        (
            lambda a: a["test"].update(
                targets=a["test"]["targets"].astype(object)
            ),
            "'targets'.*'test' must hold real numbers.*object",
        ),
        (
            lambda a: a["test"].update(targets=1e39 + a["test"]["targets"]),
            "'targets'.*'test'.*too large for float32",
        ),
    ],
)
def test_a_builder_with_faulty_arrays(change, message, tmp_path, monkeypatch):
    cls = registry.builder_class("nbody_gravity")
    real = cls._arrays

    def faulty(self, manager):
        found = real(self, manager)
        change(found)
        return found

    monkeypatch.setattr(cls, "_arrays", faulty)
    with pytest.raises(ValueError, match=message):
        datasets.load(NAME, data_dir=tmp_path, verbose=0)
    monkeypatch.undo()
    with pytest.raises(FileNotFoundError, match="not prepared"):
        load(tmp_path)
    assert not list(tmp_path.rglob("*.npy"))
    assert len(datasets.load(NAME, data_dir=tmp_path, verbose=0)[1]) == 16
