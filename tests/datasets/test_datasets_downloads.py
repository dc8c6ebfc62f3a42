"""Downloads of data: addresses, hashes, sizes, redirects, what is left."""

import hashlib
import io
import os
import tarfile

import numpy as np
import pytest
import requests
import test_datasets_molecules as molecules
import urllib3
from web import serve

from keras_remul import datasets
from keras_remul.datasets import registry, sources
from keras_remul.datasets.cmu_mocap import builder as mocap
from keras_remul.datasets.dft import builder as dft
from keras_remul.datasets.md17 import builder as md17
from keras_remul.datasets.top_jets import builder as jets
from keras_remul.utils import addresses, web

CONTENT = b"0123456789" * 1000
SIZE = len(CONTENT)
NAME = "a file.npz"
PUBLISHED = {
    "sha256": hashlib.sha256(CONTENT).hexdigest(),
    "md5": hashlib.md5(CONTENT).hexdigest(),
}


@pytest.fixture
def host(tmp_path, monkeypatch):
    """A server of one file; its address is in the table under both hashes."""
    monkeypatch.setattr(web, "PAUSE", 0)
    folder = tmp_path / "server"
    folder.mkdir()
    (folder / NAME).write_bytes(CONTENT)
    with serve(folder) as host:
        yield host


def publish(monkeypatch, url, algorithm="sha256", size=SIZE):
    digest = PUBLISHED[algorithm] if algorithm else None
    known = {url: sources.Source(size, algorithm, digest)}
    monkeypatch.setattr(sources, "table", lambda: known)
    return url


def address(host):
    return f"{host.url}/{NAME.replace(' ', '%20')}"


def fetch(url, folder, largest=20_000):
    return sources.fetch(url, folder, largest, verbose=0)


def left(folder):
    return [path for path in folder.rglob("*") if not path.is_dir()]


@pytest.mark.parametrize("algorithm", ["sha256", "md5", None])
def test_download_once(host, tmp_path, monkeypatch, algorithm):
    url = publish(monkeypatch, address(host), algorithm)
    path = fetch(url, tmp_path / "d")
    assert path.read_bytes() == CONTENT and left(tmp_path / "d") == [path]
    assert fetch(url, tmp_path / "d") == path and len(host.asked) == 1
    # Another address with a file of that name is another file.
    other = publish(monkeypatch, f"{url}?other", algorithm)
    assert fetch(other, tmp_path / "d") != path


@pytest.mark.parametrize("algorithm", ["sha256", "md5"])
def test_a_file_that_was_changed_is_downloaded_again(
    host, tmp_path, monkeypatch, algorithm
):
    url = publish(monkeypatch, address(host), algorithm)
    path = fetch(url, tmp_path / "d")
    for content in (CONTENT[:-1], b"1" + CONTENT[1:], b""):
        path.write_bytes(content)
        assert fetch(url, tmp_path / "d").read_bytes() == CONTENT
    assert len(host.asked) == 4


ATTEMPTS = web.RETRIES + 1


@pytest.mark.parametrize(
    "fault, expected, message",
    [
        ("other_bytes", ValueError, "has the (sha256|md5) [0-9a-f]*; .* publ"),
        ("shorter", ValueError, "has 9999 bytes; 10000 were expected"),
        ("longer", ValueError, "larger than the 10000 bytes expected"),
        ("endless", ValueError, "larger than the 10000 bytes expected"),
        ("cut", (ValueError, ConnectionError), "could not|has 5000 bytes"),
        ("error", ConnectionError, "the server answers 500"),
        ("missing", FileNotFoundError, "is not there"),
        ((403, {}), PermissionError, "may not be read"),
        ((302, {"Location": "http://192.0.2.1/x"}), PermissionError, "encrypt"),
        ((302, {"Location": "file:///etc/x"}), PermissionError, "encrypt"),
    ],
)
@pytest.mark.parametrize("algorithm", ["sha256", "md5"])
def test_faulty_downloads(
    host, tmp_path, monkeypatch, algorithm, fault, expected, message
):
    url = publish(monkeypatch, address(host), algorithm)
    path = url.removeprefix(host.url)
    host.faults[path] = [fault] * ATTEMPTS
    with pytest.raises(expected, match=message) as caught:
        fetch(url, tmp_path / "d")
    if isinstance(caught.value, ValueError):
        assert "Nothing was kept" in str(caught.value)
        assert "folder of manual downloads" in str(caught.value)
    assert left(tmp_path / "d") == []
    # One bad answer is not the end, and nothing of it stays.
    host.faults[path] = [fault] if expected is ValueError else []
    assert fetch(url, tmp_path / "d").read_bytes() == CONTENT


def test_sizes_that_nobody_published_are_bounded(host, tmp_path, monkeypatch):
    url = publish(monkeypatch, address(host), None, size=None)
    with pytest.raises(ValueError, match="larger than the 9999 bytes"):
        fetch(url, tmp_path / "d", largest=9999)
    host.faults[url.removeprefix(host.url)] = ["endless"] * ATTEMPTS
    with pytest.raises(ValueError, match="larger than the 10000 bytes"):
        fetch(url, tmp_path / "d", largest=10_000)
    assert left(tmp_path / "d") == []
    assert fetch(url, tmp_path / "d", largest=10_000).read_bytes() == CONTENT


def test_a_server_that_is_too_slow(host, tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "PATIENCE", 0.3)
    monkeypatch.setattr(sources, "SLOWEST", 1e9)
    url = publish(monkeypatch, address(host))
    host.faults[url.removeprefix(host.url)] = ["drip"]
    with pytest.raises(TimeoutError, match="too slow"):
        fetch(url, tmp_path / "d")
    assert left(tmp_path / "d") == []


def test_a_full_disk(host, tmp_path, monkeypatch):
    url = publish(monkeypatch, address(host))

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        fetch(url, tmp_path / "d")
    assert left(tmp_path / "d") == []


@pytest.mark.parametrize(
    "url",
    [
        "http://mocap.cs.cmu.edu/subjects/35/35.asf",
        "http://www.quantum-machine.org/gdml/data/npz/md17_ethanol.npz",
        "HTTP://example.org/x",
        "http://127.0.0.1.example.org/x",
        "http://127.0.0.1@example.org/x",
        "http://me:secret@example.org/x",
        "ftp://127.0.0.1/x",
        "file:///etc/hostname",
        "/etc/hostname",
        "",
    ],
)
def test_nothing_is_read_without_encryption(url, tmp_path, monkeypatch):
    def asked(self, request, **kwargs):
        raise AssertionError(request.url)

    monkeypatch.setattr(requests.adapters.HTTPAdapter, "send", asked)
    with pytest.raises(ValueError, match="https://, or download") as caught:
        fetch(url, tmp_path)
    assert "secret" not in str(caught.value) and left(tmp_path) == []


@pytest.mark.parametrize(
    "target", ["https://other.test/x", "http://other.test/x", "http://[::1]/x"]
)
def test_redirects(target, tmp_path, monkeypatch):
    """From https to https only: not even to this machine."""
    asked = []

    def send(self, request, **kwargs):
        asked.append(request.url)
        response = requests.Response()
        response.status_code, response.url = 302, request.url
        response.request = request
        response.headers["Location"] = target
        if len(asked) > 1:
            response.status_code = 404
        status = response.status_code
        response.raw = urllib3.HTTPResponse(io.BytesIO(), status=status)
        return response

    monkeypatch.setattr(requests.adapters.HTTPAdapter, "send", send)
    secure = target.startswith("https")
    expected = FileNotFoundError if secure else PermissionError
    with pytest.raises(expected):
        fetch("https://data.test/any.npz", tmp_path)
    assert len(asked) == 1 + secure and left(tmp_path) == []


# What is known of the sources.


def test_the_table():
    table = sources.table()
    for url, source in table.items():
        assert url.startswith("https://")
        assert 1000 < source.size < 2**31
        length = {"sha256": 64, "md5": 32}[source.algorithm]
        assert len(source.digest) == length
    wanted = {f"{jets.URL}/{name}" for name in jets.FILES.values()}
    wanted |= {
        f"{dft.URL}/{cls.FOLDER}/{file}"
        for cls in (dft.DftAcac, dft.DftEthanol, dft.Dft3bpa)
        for file in cls.SETS
    }
    assert {*wanted, md17.REVISED_URL} <= set(table)
    subject = {url for url in table if url.startswith(f"{mocap.URL}/35/")}
    assert len(subject) == 21
    for url in (
        jets.URL,
        dft.URL,
        md17.Md17.URL,
        md17.REVISED_URL,
        mocap.URL,
    ):
        assert addresses.secure(url) and "127" not in url


@pytest.mark.parametrize(
    "line",
    [
        "http://host/x\t5\tsha256:" + "0" * 64,
        "https://host/x\t5\tsha256:" + "0" * 63,
        "https://host/x\t5\tsha1:" + "0" * 40,
        "https://host/x\t5\t-",
        "https://host/x\tfive\tmd5:" + "0" * 32,
        "https://host/x\t5\tmd5:{0}\nhttps://host/x\t5\tmd5:{0}".format(
            "0" * 32
        ),
    ],
)
def test_a_faulty_table(line, tmp_path, monkeypatch):
    (tmp_path / "sources.tsv").write_text(line + "\n")
    monkeypatch.setattr(sources, "__file__", str(tmp_path / "sources.py"))
    with pytest.raises(ValueError, match=r"sources.tsv|invalid literal"):
        sources.table.__wrapped__()


# Builders.


def load(name, tmp_path):
    return datasets.load(
        name, config=molecules.config(), data_dir=tmp_path / "data", verbose=0
    )


def test_the_hash_of_what_nobody_published_is_kept(
    host, tmp_path, monkeypatch, capsys
):
    molecules.write_md17(tmp_path / "server")
    monkeypatch.setattr(md17.Md17, "URL", host.url)
    x, _ = load("md17", tmp_path)
    assert len(x["positions"]) == 20
    raw = (tmp_path / "server" / "md17_ethanol.npz").read_bytes()
    builder = registry.builder_class("md17")(
        config=molecules.config(), data_dir=tmp_path / "data"
    )
    known = builder.info.metadata["sha256 of md17_ethanol.npz"]
    assert known == hashlib.sha256(raw).hexdigest()


def write_archive(path, folder):
    """rmd17.tar.bz2 with one molecule; its hash."""
    molecules.write_rmd17(folder)
    with tarfile.open(path, "w:bz2") as archive:
        archive.add(
            folder / "rmd17_ethanol.npz", "rmd17/npz_data/rmd17_ethanol.npz"
        )
    (folder / "rmd17_ethanol.npz").unlink()
    return path.read_bytes()


def test_an_archive_is_downloaded_and_one_file_taken_out(
    host, tmp_path, monkeypatch
):
    raw = write_archive(tmp_path / "server" / "23950376", tmp_path)
    url = f"{host.url}/23950376"
    monkeypatch.setattr(md17, "REVISED_URL", url)
    known = {
        url: sources.Source(len(raw), "sha256", hashlib.sha256(raw).hexdigest())
    }
    monkeypatch.setattr(sources, "table", lambda: known)
    host.faults["/23950376"] = ["other_bytes"] * ATTEMPTS
    with pytest.raises(ValueError, match="has the sha256"):
        load("rmd17", tmp_path)
    assert not [p for p in left(tmp_path / "data") if ".npz" in p.name]
    x, y = load("rmd17", tmp_path)
    np.testing.assert_array_equal(
        molecules.times(y), molecules.times(x["positions"]) + 30
    )
