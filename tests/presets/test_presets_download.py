"""Presets from a web server: right, or a clear error and nothing kept."""

import json
import os
import pathlib
import resource
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

import keras
import numpy as np
import pytest
from filelock import FileLock
from presets_zoo import NAME, WEIGHTS, kept, parts, write_manifest

from keras_remul import (
    download_preset,
    from_preset,
    list_presets,
    save_to_preset,
    verify_preset,
)
from keras_remul.presets import download, files, resolve
from keras_remul.utils import web

pytestmark = [
    pytest.mark.usefixtures("cache"),
    pytest.mark.backend_independent,
]


def start(code, *arguments):
    """Python code in another process."""
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )


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


def test_offline_and_not_in_the_cache(server, cache, monkeypatch):
    monkeypatch.setenv("KERAS_REMUL_OFFLINE", "1")
    with pytest.raises(ConnectionError, match="KERAS_REMUL_OFFLINE") as caught:
        from_preset(NAME, zoo=server.url)
    assert server.asked == []
    said = str(caught.value)
    assert f"Preset {NAME!r}" in said and server.url in said
    assert str(cache) in said and "\n" not in said


@pytest.mark.parametrize(
    "fault",
    ["cut", "other_bytes", "shorter", "longer", "error", "redirect", "slow"]
    + [(429, {"Retry-After": "0"}), (503, {}), (408, {})],
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
        ("longer", ValueError, "larger than"),
        ((401, {}), PermissionError, "needs a login.*401 Unauthorized.*netrc"),
        ((403, {}), PermissionError, "may not be read.*403 Forbidden"),
        ((410, {}), FileNotFoundError, "not there.*410 Gone"),
        ((418, {}), OSError, "cannot be downloaded.*418"),
        ((204, {}), OSError, "cannot be downloaded.*204"),
        ((304, {}), OSError, "cannot be downloaded.*304"),
        ((799, {}), OSError, "could not be downloaded.*799"),
        ((429, {}), OSError, "2 attempts.*429 Too Many Requests"),
        (
            (429, {"Retry-After": "3600"}),
            OSError,
            "1 attempt:.*429 Too Many.*again after '3600' seconds",
        ),
        (
            (503, {"Retry-After": "Fri, 31 Dec 2027 23:59:59 GMT"}),
            OSError,
            "1 attempt:.*503.*again after 'Fri, 31 Dec",
        ),
        (
            (302, {"Location": WEIGHTS}),
            OSError,
            "2 attempts: Exceeded 30 redirects",
        ),
        ((302, {"Location": "ftp://host/x"}), OSError, "leads to ftp://host"),
    ],
)
def test_lasting_faults(fault, error, message, server, cache, monkeypatch):
    monkeypatch.setattr(web, "TIMEOUT", 0.5)
    server.faults[WEIGHTS] = [fault] * 99
    with pytest.raises(error, match=message) as caught:
        from_preset(NAME, zoo=server.url)
    assert ".part" not in str(caught.value)
    assert "model.weights.h5" not in kept(cache)
    # What is wrong is not kept; what is right is continued.
    assert len(parts(cache)) == (fault == "cut")
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


LISTS_NO_METADATA = json.dumps(
    {"presets": {NAME: {"files": {"a": {"sha256": "0" * 64, "size": 1}}}}}
)


@pytest.mark.parametrize(
    "content",
    ["not json", "[]", "{}", '{"presets": {"small": {}}}', "[" * 100000]
    + ['{"presets": {"small": 1}}', b"\xff\xfe{}", LISTS_NO_METADATA]
    + ['{"presets": {"small": {"files": {"a": {"sha256": "1", "size": 1}}}}}']
    + ['{"presets": {"small": {"files": {"a": {"size": -1}}}}}'],
)
# JAX's hook of the garbage collector may run at the depth of 100000 brackets.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_manifests_that_are_none(content, server, zoo):
    content = content if isinstance(content, bytes) else content.encode()
    (zoo / "manifest.json").write_bytes(content)
    for where in (server.url, str(zoo)):
        with pytest.raises(ValueError, match=f"{where}/manifest.json"):
            from_preset(NAME, zoo=where)


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
        with pytest.raises(ValueError, match="not a valid address.*hf://owner"):
            from_preset(address)


DOWNLOAD = """
import sys
from keras_remul import download_preset
from keras_remul.utils import web
web.CHUNK = 2**8
print(download_preset("small", zoo=sys.argv[1]))
"""


def test_two_processes_at_once(server, cache):
    server.faults[WEIGHTS] = ["slow", "slow"]
    workers = [start(DOWNLOAD, server.url) for _ in range(2)]
    folders = [worker.communicate()[0].split()[-1] for worker in workers]
    assert folders[0] == folders[1]
    assert files.check_files(pathlib.Path(folders[0]))
    assert not parts(cache)


def test_cache_that_cannot_be_written(server, monkeypatch):
    # Not even root can write there.
    monkeypatch.setenv("KERAS_REMUL_CACHE", "/proc/keras_remul")
    with pytest.raises(OSError, match="cannot be written.*KERAS_REMUL_CACHE"):
        from_preset(NAME, zoo=server.url)


def test_read_only_cache_that_holds_the_preset(server, cache, monkeypatch):
    folder = download_preset(NAME, zoo=server.url)
    notes = cache / "notes"
    assert (folder / "config.json").stat().st_mode & 0o044  # others read too
    for path in (folder, notes, cache):
        path.chmod(0o555)
    try:
        server.asked.clear()
        assert verify_preset(NAME, zoo=server.url) < 1e-6
        assert server.asked == []
    finally:
        for path in (folder, notes, cache):
            path.chmod(0o755)


def test_full_disk(server, zoo, cache):
    config = (zoo / NAME / "config.json").stat().st_size
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    for size in (0, 100, config):  # some files fit, or none
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
        try:
            with pytest.raises(OSError, match="File too large.*REMUL_CACHE"):
                from_preset(NAME, zoo=server.url)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        assert "model.weights.h5" not in kept(cache)
        assert not parts(cache)
    assert "config.json" in kept(cache)
    assert verify_preset(NAME, zoo=server.url) < 1e-6


def test_errors_name_what_to_do():
    with pytest.raises(ValueError, match=resolve.ZOO_URL):
        from_preset("nothing_like_this")


def replace(file, kind):
    """Puts something in the place of a file."""
    content = file.read_bytes()
    file.unlink()
    if kind == "other byte":
        file.write_bytes(content[:-9] + bytes([content[-9] ^ 1]) + content[-8:])
    elif kind == "fifo":
        os.mkfifo(file)
    elif kind == "folder":
        file.mkdir()
        (file / "inside").touch()
    elif kind == "empty":
        file.touch()
    elif kind == "huge":
        file.touch()
        os.truncate(file, 2**40)
    else:
        target = {
            "dangling": "/nowhere/x",
            "loop": file,
            "endless": "/dev/zero",
        }
        file.symlink_to(target[kind])


@pytest.fixture
def soon():
    """Whatever hangs is stopped."""
    old = signal.signal(signal.SIGALRM, lambda *_: pytest.fail("it hangs"))
    signal.alarm(30)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, old)


ODD = ["other byte", "fifo", "folder", "empty", "huge", "dangling", "loop"]
ODD += ["endless"]


@pytest.mark.parametrize("kind", ODD)
def test_odd_things_in_the_cache(kind, server, cache, soon, monkeypatch):
    address = f"{server.url}/{NAME}"
    folder = download_preset(NAME, zoo=server.url)
    from_preset(address)
    notes = sorted((cache / "notes").iterdir())
    assert len(notes) == 2
    for note in notes:
        replace(note, kind)
    assert NAME in list_presets(zoo=server.url)
    from_preset(address)
    assert sorted((cache / "notes").iterdir()) == notes
    monkeypatch.setenv("KERAS_REMUL_OFFLINE", "1")
    if kind == "folder":  # is left alone, and only costs time
        with pytest.raises(ConnectionError, match="or was damaged there"):
            list_presets(zoo=server.url)
    else:
        assert NAME in list_presets(zoo=server.url)
        from_preset(address)
    monkeypatch.delenv("KERAS_REMUL_OFFLINE")
    replace(folder / "config.json", kind)
    if kind == "folder":
        with pytest.raises(OSError, match="config.json in the cache.*move"):
            from_preset(NAME, zoo=server.url)
        assert (folder / "config.json" / "inside").exists()
    else:
        assert verify_preset(NAME, zoo=server.url) < 1e-6
    assert not parts(cache)


def test_presets_that_were_changed_on_the_server(server, zoo, cache):
    address = f"{server.url}/{NAME}"
    digest = files.sha256(zoo / NAME / "metadata.json")
    pinned = f"{address}#sha256={digest}"
    for one in (address, pinned):
        assert from_preset(one).output_shape == (None, 2)
    folder = download_preset(NAME, zoo=server.url)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(5)])
    save_to_preset(model, zoo / NAME, x=np.ones((2, 3), "float32"))
    write_manifest(zoo)
    # An address is looked up each time, unless it is pinned.
    assert from_preset(address).output_shape == (None, 5)
    server.asked.clear()
    assert from_preset(pinned).output_shape == (None, 2)
    assert from_preset(NAME, zoo=server.url).output_shape == (None, 2)
    assert server.asked == []
    shutil.rmtree(folder)
    assert from_preset(NAME, zoo=server.url).output_shape == (None, 5)
    shutil.rmtree(zoo / NAME)
    (zoo / "manifest.json").write_text('{"presets": {}}')
    shutil.rmtree(cache / "presets")
    with pytest.raises(ValueError, match="No preset 'small'"):
        from_preset(NAME, zoo=server.url)


def test_sizes_that_are_refused(server, zoo, cache, monkeypatch):
    facts = files.describe(zoo / NAME)["model.weights.h5"]
    write_manifest(zoo, more=facts | {"size": 2**36})
    with pytest.raises(ValueError, match="at most .* bytes"):
        from_preset(NAME, zoo=server.url)
    write_manifest(zoo, **{f"f{i}": facts | {"size": 0} for i in range(1000)})
    with pytest.raises(ValueError, match="at most 1000 files"):
        from_preset(NAME, zoo=server.url)
    monkeypatch.setattr(download, "LARGEST", 2**62)
    write_manifest(zoo, more=facts | {"size": 2**61})
    with pytest.raises(OSError, match="are free in the cache"):
        from_preset(NAME, zoo=server.url)
    assert kept(cache) == []
    for change in (-1, 1):
        shutil.rmtree(cache)
        listed = facts | {"size": facts["size"] + change}
        write_manifest(zoo, **{"model.weights.h5": listed})
        with pytest.raises(ValueError, match="larger than|were expected"):
            from_preset(NAME, zoo=server.url)


def kill_in_the_middle(server, cache):
    """The part that a killed process leaves, in a list."""
    server.faults[WEIGHTS] = ["drip"]
    worker = start(DOWNLOAD, server.url)
    while server.faults[WEIGHTS] or not parts(cache):
        assert worker.poll() is None
        time.sleep(0.02)
    while not (size := parts(cache)[0].stat().st_size):
        time.sleep(0.02)
    worker.kill()
    worker.communicate()
    assert size > 0
    return parts(cache)


def test_killed_in_the_middle(server, cache):
    (left,) = kill_in_the_middle(server, cache)
    size = left.stat().st_size
    server.faults[WEIGHTS] = ["rest"]
    assert verify_preset(NAME, zoo=server.url) < 1e-6
    assert server.ranges == [f"bytes={size}-"]
    assert not parts(cache)


@pytest.mark.parametrize("answers", ["all", "other_rest", "416", "other bytes"])
def test_what_cannot_be_continued_begins_anew(answers, server, cache):
    server.faults[WEIGHTS] = ["cut"] * 2
    with pytest.raises(ConnectionError, match="'small' was not found in"):
        from_preset(NAME, zoo=server.url)
    (left,) = parts(cache)
    size = left.stat().st_size
    server.ranges.clear()
    if answers == "other bytes":
        left.write_bytes(b"x" * size)
    fault = {"all": None, "416": (416, {}), "other bytes": "rest"}
    server.faults[WEIGHTS] = [fault.get(answers, answers)]
    assert verify_preset(NAME, zoo=server.url) < 1e-6
    assert server.ranges == [f"bytes={size}-"]
    assert not parts(cache)


@pytest.mark.parametrize("kind", ["fifo", "dangling", "huge", "whole"])
def test_odd_parts(kind, server, zoo, cache, soon):
    server.faults[WEIGHTS] = ["cut"] * 2
    with pytest.raises(ConnectionError):
        from_preset(NAME, zoo=server.url)
    server.ranges.clear()
    (left,) = parts(cache)
    if kind == "whole":
        shutil.copyfile(zoo / NAME / "model.weights.h5", left)
        server.asked.clear()
    else:
        replace(left, kind)
    assert verify_preset(NAME, zoo=server.url) < 1e-6
    assert (WEIGHTS in server.asked) == (kind != "whole")
    assert server.ranges == [] and not parts(cache)


def test_a_process_that_waits_for_none(server, cache):
    """While another one continues a part, it begins anew, and keeps none."""
    server.faults[WEIGHTS] = ["cut"] * 2
    with pytest.raises(ConnectionError):
        from_preset(NAME, zoo=server.url)
    (left,) = parts(cache)
    size, folder = left.stat().st_size, left.parent
    with FileLock(cache / "locks" / folder.name):
        server.faults[WEIGHTS] = ["cut"] * 2
        with pytest.raises(ConnectionError):
            from_preset(NAME, zoo=server.url)
        assert parts(cache) == [left] and left.stat().st_size == size
        assert verify_preset(NAME, zoo=server.url) < 1e-6
    assert left.stat().st_size == size
    os.utime(left, (0, 0))
    (folder / "config.json").unlink()
    assert verify_preset(NAME, zoo=server.url) < 1e-6
    assert not left.exists()  # nobody will continue it


@pytest.mark.backend_independent
def test_nobody_listens(cache, monkeypatch):
    """One attempt, and a limit for names that are looked up for long."""
    monkeypatch.setattr(web, "PAUSE", 1e9)
    monkeypatch.setattr(web, "CONNECT", 0.1)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(
            web.UnreachedError, match="127.0.0.1.* cannot be re"
        ):
            list_presets(zoo=url)
        with pytest.raises(web.UnreachedError):
            web.check_reached(url)
    waits = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *a, **k: waits.wait(5))
    with pytest.raises(ConnectionError, match="host.invalid cannot be reached"):
        web.check_reached("https://host.invalid")
    waits.set()
