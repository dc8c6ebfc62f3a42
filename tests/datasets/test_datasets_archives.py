"""Zip and tar archives: limits, names, damage."""

import io
import os
import struct
import tarfile
import zipfile

import numpy as np
import pytest

from keras_remul.datasets import archives
from keras_remul.utils import npz

# npz files.


def npy(array, **kwargs):
    file = io.BytesIO()
    np.save(file, array, **kwargs)
    return file.getvalue()


def write_zip(path, members, **kwargs):
    with zipfile.ZipFile(path, "w", **kwargs) as archive:
        for name, content in members:
            archive.writestr(name, content)


GOOD = npy(np.arange(50.0))


def patched(path, old, new):
    raw = path.read_bytes()
    assert old in raw
    path.write_bytes(raw.replace(old, new))


def encrypted(path):
    raw = bytearray(path.read_bytes())
    for magic, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        raw[raw.index(magic) + place] |= 1
    path.write_bytes(raw)


def other_compression(path):
    raw = bytearray(path.read_bytes())
    for magic, place in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        struct.pack_into("<H", raw, raw.index(magic) + place, 99)
    path.write_bytes(raw)


@pytest.mark.parametrize(
    "write, message",
    [
        (lambda p: p.write_bytes(b""), "not an npz file"),
        (lambda p: p.write_bytes(GOOD), "not an npz file"),
        (lambda p: p.write_bytes(p.read_bytes()[:-30]), "not an npz file"),
        (lambda p: p.write_bytes(p.read_bytes()[:200]), "not an npz file"),
        (lambda p: patched(p, GOOD[200:232], b"\1" * 32), "damaged.*CRC"),
        (encrypted, "'X.npy' is encrypted"),
        (other_compression, "damaged"),
        (lambda p: write_zip(p, [("../X.npy", GOOD)]), r"'\.\./X.npy' leads"),
        (lambda p: write_zip(p, [("/X.npy", GOOD)]), "'/X.npy' leads"),
        (lambda p: write_zip(p, [("C:/X.npy", GOOD)]), "'C:/X.npy' leads"),
        (lambda p: write_zip(p, [("a\\..\\X.npy", GOOD)]), "leads elsewhere"),
        (lambda p: write_zip(p, [("Y.npy", GOOD)]), r"Missing: \['X'\].*'Y'"),
        (
            lambda p: write_zip(p, [("X.npy", GOOD), ("X", GOOD)]),
            "two members 'X'",
        ),
        (
            lambda p: write_zip(p, [("X.npy", GOOD[:-8])]),
            r"520 bytes, which is not the size.*\(50,\)",
        ),
        (lambda p: write_zip(p, [("X.npy", GOOD + b"0")]), "529 bytes, which"),
        (
            lambda p: write_zip(
                p, [("X.npy", GOOD.replace(b"(50,)", b"(-1,)"))]
            ),
            "is not the size of an array|damaged",
        ),
        (lambda p: write_zip(p, [("X.npy", b"text" * 99)]), "damaged"),
        (
            lambda p: write_zip(
                p, [("X.npy", npy(np.array([{}]), allow_pickle=True))]
            ),
            "'X.npy' holds Python objects",
        ),
        (
            lambda p: write_zip(
                p, [(f"{i}.npy", b"") for i in range(npz.MEMBERS + 1)]
            ),
            "more than 10,000 members",
        ),
        (
            lambda p: write_zip(
                p,
                [("X.npy", GOOD), ("Y.npy", bytes(npz.SMALL + 1))],
                compression=zipfile.ZIP_DEFLATED,
            ),
            "more than 200 times its own bytes",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_faulty_npz(tmp_path, write, message):
    path = tmp_path / "any.npz"
    write_zip(path, [("X.npy", GOOD)])
    (array,) = npz.read_npz(path, ["X"]).values()
    np.testing.assert_array_equal(array, np.arange(50.0))
    write(path)
    with pytest.raises(ValueError, match=message) as caught:
        npz.read_npz(path, ["X"])
    assert str(path) in str(caught.value)
    assert "Get the file again" in str(caught.value)


def test_total_of_a_zip(tmp_path, monkeypatch):
    monkeypatch.setattr(npz, "TOTAL", 600)
    path = tmp_path / "any.npz"
    write_zip(path, [("X.npy", GOOD)])
    npz.read_npz(path, ["X"])
    write_zip(path, [("X.npy", GOOD), ("Y.npy", GOOD)])
    with pytest.raises(ValueError, match="more than 600 bytes"):
        npz.read_npz(path, ["X"])


def test_what_numpy_writes_is_read(tmp_path, rng):
    arrays = {
        "columns": np.asfortranarray(rng.normal(size=(3, 4))),
        "scalar": np.array(2.5),
        "none": np.zeros((0, 3)),
        "text": np.array(["a", "bc"]),
        "big": rng.normal(size=(5, 2)).astype(">f4"),
    }
    for save in (np.savez, np.savez_compressed):
        save(tmp_path / "any.npz", **arrays)
        found = npz.read_npz(tmp_path / "any.npz", list(arrays), ["absent"])
        assert list(found) == list(arrays)
        for key, array in arrays.items():
            np.testing.assert_array_equal(found[key], array)
            assert found[key].dtype == array.dtype


# Tar archives.


def member(name, content=b"good", **attributes):
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for key, value in attributes.items():
        setattr(info, key, value)
    return info, content


def write_tar(path, members, mode="w:bz2"):
    with tarfile.open(path, mode) as archive:
        for info, content in members:
            archive.addfile(info, io.BytesIO(content))


WANTED = "rmd17/npz_data/any.npz"


def link(kind, target):
    return member("rmd17/other", b"", type=kind, linkname=target)


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_one_file_out_of_a_tar(tmp_path, mode):
    path, folder = tmp_path / "any.tar", tmp_path / "out"
    folder.mkdir()
    directory = member("rmd17", b"", type=tarfile.DIRTYPE)
    write_tar(path, [directory, member("rmd17/b", b"x"), member(WANTED)], mode)
    found = archives.extract(path, WANTED, folder)
    assert found.read_bytes() == b"good"
    assert [p.name for p in folder.iterdir()] == ["any.npz"]
    path.unlink()  # what is there already is not unpacked again
    assert archives.extract(path, WANTED, folder) == found


@pytest.mark.parametrize(
    "write, message",
    [
        (lambda p: p.write_bytes(b""), "does not hold|not a tar file"),
        (lambda p: p.write_bytes(b"text" * 999), "not a tar file"),
        (lambda p: p.write_bytes(b"BZh9" + b"text" * 99), "no tar|damaged"),
        (lambda p: p.write_bytes(p.read_bytes()[:-20]), "cut short|damaged"),
        (lambda p: write_tar(p, [member("a")]), f"does not hold '{WANTED}'"),
        (lambda p: write_tar(p, [member("../a"), member(WANTED)]), "'../a'"),
        (lambda p: write_tar(p, [member("/a"), member(WANTED)]), "'/a' leads"),
        (lambda p: write_tar(p, [member("a/../b"), member(WANTED)]), "leads"),
        (
            lambda p: write_tar(
                p, [link(tarfile.SYMTYPE, "/etc"), member(WANTED)]
            ),
            "'rmd17/other' is a link or a device",
        ),
        (
            lambda p: write_tar(
                p, [link(tarfile.LNKTYPE, "a"), member(WANTED)]
            ),
            "is a link or a device",
        ),
        (
            lambda p: write_tar(
                p, [link(tarfile.FIFOTYPE, ""), member(WANTED)]
            ),
            "is a link or a device",
        ),
        (
            lambda p: write_tar(p, [link(tarfile.CHRTYPE, ""), member(WANTED)]),
            "is a link or a device",
        ),
        (
            lambda p: write_tar(
                p, [member(WANTED, b"", type=tarfile.SYMTYPE, linkname="a")]
            ),
            "is a link or a device",
        ),
        (
            lambda p: write_tar(p, [member("a")] * 41 + [member(WANTED)]),
            "more than 40 members",
        ),
        (
            lambda p: write_tar(p, [member("a", bytes(9001)), member(WANTED)]),
            "more than 9,000 bytes",
        ),
        (
            lambda p: write_tar(p, [member(WANTED, bytes(8000))]),
            "more than 20 times its own bytes",
        ),
    ],
)
def test_faulty_tar(tmp_path, monkeypatch, write, message):
    limits = dict(MEMBERS=40, TOTAL=9000, RATIO=20, SMALL=7000)
    for name, value in limits.items():
        monkeypatch.setattr(npz, name, value)
    path, folder = tmp_path / "any.tar.bz2", tmp_path / "out"
    folder.mkdir()
    content = np.random.default_rng(0).bytes(6000)
    write_tar(path, [member(WANTED, content)])
    archives.extract(path, WANTED, folder).unlink()
    write(path)
    with pytest.raises(ValueError, match=message) as caught:
        archives.extract(path, WANTED, folder)
    assert str(path) in str(caught.value)
    assert "Get the file again" in str(caught.value)
    assert list(folder.iterdir()) == []


def test_a_full_disk_leaves_no_part_of_a_file(tmp_path, monkeypatch):
    path, folder = tmp_path / "any.tar", tmp_path / "out"
    folder.mkdir()
    write_tar(path, [member(WANTED)])

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        archives.extract(path, WANTED, folder)
    assert list(folder.iterdir()) == []
