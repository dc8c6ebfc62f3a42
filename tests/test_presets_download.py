"""Presets from a web server: right, or a clear error and nothing kept."""

import json
import os
import pathlib
import shutil
import subprocess
import sys

import keras
import numpy as np
import pytest
from web import serve

from keras_remul import (
    download_preset,
    from_preset,
    list_presets,
    save_to_preset,
    verify_preset,
)
from keras_remul.presets import download, files, resolve

NAME = "small"
WEIGHTS = f"/{NAME}/model.weights.h5"


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """A folder with one preset and its manifest."""
    zoo = tmp_path_factory.mktemp("zoo")
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    x = np.ones((2, 3), "float32")
    save_to_preset(model, zoo / NAME, x=x)
    write_manifest(zoo)
    return zoo


def write_manifest(zoo, **changes):
    listing = {**files.describe(zoo / NAME), **changes}
    content = {"format": 1, "presets": {NAME: {"files": listing}}}
    (zoo / "manifest.json").write_text(json.dumps(content))


@pytest.fixture
def zoo(original, tmp_path):
    return pathlib.Path(shutil.copytree(original, tmp_path / "zoo"))


@pytest.fixture
def server(zoo):
    with serve(zoo) as server:
        yield server


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_REMUL_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("KERAS_REMUL_ZOO_URL", raising=False)
    monkeypatch.delenv("KERAS_REMUL_OFFLINE", raising=False)
    monkeypatch.setattr(download, "RETRIES", 1)
    return tmp_path / "cache"


def start(code, *arguments):
    """Python code in another process."""
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )


def kept(cache):
    """The files of presets in the cache."""
    return sorted(file.name for file in cache.glob("presets/*/*"))


def test_download_once_then_cache(server, cache, monkeypatch):
    monkeypatch.setenv("KERAS_REMUL_ZOO_URL", server.url)
    assert NAME in list_presets()
    assert verify_preset(NAME) < 1e-6
    assert WEIGHTS in server.asked
    server.asked.clear()
    from_preset(NAME)
    assert server.asked == []
    monkeypatch.setenv("KERAS_REMUL_OFFLINE", "1")
    from_preset(NAME)
    assert NAME in list_presets()


def test_offline_and_not_in_the_cache(server, monkeypatch):
    monkeypatch.setenv("KERAS_REMUL_OFFLINE", "1")
    with pytest.raises(ConnectionError, match="KERAS_REMUL_OFFLINE"):
        from_preset(NAME, zoo=server.url)
    assert server.asked == []


@pytest.mark.parametrize(
    "fault", ["cut", "other_bytes", "shorter", "error", "redirect", "slow"]
)
def test_one_fault_is_overcome(fault, server, zoo, cache):
    if fault == "redirect":
        shutil.copytree(zoo / NAME, zoo / "elsewhere" / NAME)
    server.faults[WEIGHTS] = [fault]
    assert verify_preset(NAME, zoo=server.url) < 1e-6
    assert server.faults[WEIGHTS] == []
    assert set(kept(cache)) == set(os.listdir(zoo / NAME))


@pytest.mark.parametrize(
    "fault, error, message",
    [
        ("cut", OSError, "model.weights.h5 could not be downloaded.*2 att"),
        ("other_bytes", ValueError, "does not match the known hash"),
        ("shorter", ValueError, "bytes; .* were expected"),
        ("error", OSError, "500"),
        ("missing", FileNotFoundError, "model.weights.h5 is not there.*404"),
        ("silent", OSError, "timed out"),
        ("endless", ValueError, "larger than"),
    ],
)
def test_lasting_faults(fault, error, message, server, cache, monkeypatch):
    monkeypatch.setattr(download, "TIMEOUT", 0.5)
    server.faults[WEIGHTS] = [fault] * 5
    with pytest.raises(error, match=message):
        from_preset(NAME, zoo=server.url)
    assert "model.weights.h5" not in kept(cache)
    assert not [name for name in kept(cache) if name.startswith("tmp")]
    # The cache is as good as before: the rest arrives with the next call.
    server.faults.clear()
    server.asked.clear()
    assert verify_preset(NAME, zoo=server.url) < 1e-6
    assert server.asked.count(f"/{NAME}/config.json") == 0


def test_a_server_cannot_fill_the_disk(server):
    server.faults["/manifest.json"] = ["endless"] * 5
    with pytest.raises(ValueError, match="larger than"):
        list_presets(zoo=server.url)
    assert server.sent < 100 * 2**20


def test_damage_in_the_cache_is_repaired(server, cache):
    folder = download_preset(NAME, zoo=server.url)
    for name in ("config.json", "model.weights.h5", "metadata.json"):
        (folder / name).write_bytes(b"damaged")
    assert verify_preset(NAME, zoo=server.url) < 1e-6


@pytest.mark.parametrize("bad", ["../../etc/x", "/etc/x", "a/b", "..", ""])
def test_names_outside_the_cache(bad, server, zoo, tmp_path):
    before = sorted(tmp_path.iterdir())
    some = files.describe(zoo / NAME)["config.json"]
    write_manifest(zoo, **{bad: some})
    with pytest.raises(ValueError, match="only plain names"):
        from_preset(NAME, zoo=server.url)
    manifest = json.loads((zoo / "manifest.json").read_text())
    del manifest["presets"][NAME]["files"][bad]
    manifest["presets"][bad] = manifest["presets"].pop(NAME)
    (zoo / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match="only plain names"):
        list_presets(zoo=server.url)
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    "content",
    ["not json", "[]", "{}", '{"presets": {"small": {}}}', "[" * 100000]
    + ['{"presets": {"small": {"files": {"a": {"sha256": "1", "size": 1}}}}}']
    + ['{"presets": {"small": {"files": {"a": {"size": -1}}}}}'],
)
def test_manifests_that_are_none(content, server, zoo):
    (zoo / "manifest.json").write_text(content)
    with pytest.raises(ValueError, match="manifest"):
        from_preset(NAME, zoo=server.url)


def test_unknown_name(server):
    with pytest.raises(ValueError, match="'smal'.*Nearest names: .'small'"):
        from_preset("smal", zoo=server.url)


def test_address_of_one_preset(server, zoo, cache, monkeypatch):
    address = f"{server.url}/{NAME}"
    assert verify_preset(address) < 1e-6
    digest = files.sha256(zoo / NAME / "metadata.json")
    pinned = f"{address}#sha256={digest}"
    assert verify_preset(pinned) < 1e-6
    server.asked.clear()
    from_preset(pinned)  # needs no network: the hash says it is the same
    assert server.asked == []
    with pytest.raises(ValueError, match="known hash"):
        from_preset(f"{address}#sha256={'0' * 64}")
    monkeypatch.setenv("KERAS_REMUL_OFFLINE", "1")
    from_preset(address)


def test_files_and_folders(zoo, server):
    assert verify_preset(zoo / NAME) < 1e-6
    assert verify_preset((zoo / NAME).as_uri()) < 1e-6
    assert verify_preset(NAME, zoo=zoo.as_uri()) < 1e-6
    assert verify_preset(NAME, zoo=str(zoo)) < 1e-6
    (zoo / NAME / "config.json").write_text("{}")
    for folder in (zoo.as_uri(), str(zoo)):
        with pytest.raises(ValueError, match="not those of manifest.json"):
            from_preset(NAME, zoo=folder)
    with pytest.raises(ValueError, match="holds no metadata.json"):
        from_preset(zoo.as_uri())
    for address in ("ftp://host/small", "s3://bucket/small"):
        with pytest.raises(ValueError, match="no address.*hf://owner/name"):
            from_preset(address)


DOWNLOAD = """
import sys
from keras_remul import download_preset
print(download_preset("small", zoo=sys.argv[1]))
"""


def test_two_processes_at_once(server, cache):
    server.faults[WEIGHTS] = ["slow", "slow"]
    workers = [start(DOWNLOAD, server.url) for _ in range(2)]
    folders = [worker.communicate()[0].split()[-1] for worker in workers]
    assert folders[0] == folders[1]
    assert files.check_files(pathlib.Path(folders[0]))
    assert "tmp" not in " ".join(kept(cache))


def test_cache_that_cannot_be_written(server, monkeypatch):
    # Not even root can write there.
    monkeypatch.setenv("KERAS_REMUL_CACHE", "/proc/keras_remul")
    with pytest.raises(OSError, match="cannot be written.*KERAS_REMUL_CACHE"):
        from_preset(NAME, zoo=server.url)


def test_read_only_cache_that_holds_the_preset(server, cache, monkeypatch):
    folder = download_preset(NAME, zoo=server.url)
    manifest = next((cache / "manifests").iterdir())
    for path in (folder, manifest.parent, cache):
        path.chmod(0o555)
    try:
        server.asked.clear()
        assert verify_preset(NAME, zoo=server.url) < 1e-6
        assert server.asked == []
    finally:
        for path in (folder, manifest.parent, cache):
            path.chmod(0o755)


FULL = """
import resource, sys
from keras_remul import from_preset
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
try:
    from_preset("small", zoo=sys.argv[1])
except OSError as error:
    print("OSError:", error)
"""


def test_full_disk(server, zoo, cache, tmp_path):
    assert (zoo / NAME / "model.weights.h5").stat().st_size > 2000
    said, errors = start(FULL, server.url).communicate()
    assert "OSError" in said, errors
    assert "model.weights.h5" not in kept(cache)
    assert verify_preset(NAME, zoo=server.url) < 1e-6


def test_errors_name_what_to_do():
    with pytest.raises(ValueError, match=resolve.ZOO_URL):
        from_preset("nothing_like_this")
