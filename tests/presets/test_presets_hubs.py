"""hf:// and kaggle://: the hubs' own clients against a stand-in server."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import threading

import keras
import numpy as np
import pytest
from web import Handler, serve

from keras_remul import (
    from_preset,
    save_to_preset,
    upload_preset,
    verify_preset,
)
from keras_remul.presets import download, files, hubs, upload
from keras_remul.utils.plain_files import read_json

pytestmark = pytest.mark.backend_independent

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(scope="module")
def preset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hub") / "small"
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    save_to_preset(model, folder, x=np.ones((2, 3), "float32"))
    return folder


class Hub(Handler):
    """The parts of the two hubs' interfaces that their clients use."""

    def _json(self, content):
        content = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _resolved(self):
        found = re.match(r"/owner/small/resolve/([^/]+)/([^?]+)", self.path)
        if found and found[1] in ("main", "v1", self.server.commit):
            file = pathlib.Path(self.directory) / found[2]
            return file if file.is_file() else None
        return None

    def _send_file(self, with_content):
        file = self._resolved()
        if file is None:
            self.send_response(404)
            self.send_header("X-Error-Code", "EntryNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        content = file.read_bytes()
        if self.server.faults.get("bytes"):
            content = content[:-1] + bytes([content[-1] ^ 1])
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("ETag", f'"{files.sha256(file)[:40]}"')
        self.send_header("X-Repo-Commit", self.server.commit)
        self.send_header("Accept-Ranges", "bytes")
        self.end_headers()
        if with_content:
            self.wfile.write(content)

    def do_HEAD(self):
        self._send_file(with_content=False)

    def do_GET(self):
        self.server.asked.append(self.path)
        if self.path.startswith("/set/"):
            name, value = self.path.split("/")[2:]
            if name == "commit":
                self.server.commit = value
            else:
                self.server.faults[name] = int(value)
            return self._json({})
        if self.server.faults.get("status"):
            self.send_response(self.server.faults["status"])
            self.send_header("Content-Length", "0")
            return self.end_headers()
        names = sorted(os.listdir(self.directory))
        if self.path.startswith("/api/models/owner/small/tree/"):
            return self._json(
                [
                    {
                        "type": "file",
                        "path": name,
                        "oid": "0" * 40,
                        "size": os.path.getsize(f"{self.directory}/{name}")
                        + self.server.faults.get("size", 0),
                    }
                    for name in names
                ]
            )
        known = re.match(
            r"/api/models/owner/small(/revision/(\w+))?", self.path
        )
        if known and known[2] in (None, "main", "v1", self.server.commit):
            self._json(
                {
                    "id": "owner/small",
                    "modelId": "owner/small",
                    "sha": self.server.commit,
                    "private": False,
                    "tags": [],
                    "siblings": [{"rfilename": name} for name in names],
                }
            )
        elif self.path.startswith("/api/"):
            self.send_response(404)
            self.send_header("X-Error-Code", "RepoNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()
        else:
            self._send_file(with_content=True)

    def do_POST(self):
        length = int(self.headers.get("Content-Length", 0))
        request = json.loads(self.rfile.read(length) or "{}")
        self.server.asked.append(self.path)
        call = self.path.rpartition("/")[2]
        if request.get("ownerSlug") != "owner":
            self.send_error(404)
        elif call == "GetModelInstance":
            self._json({"versionNumber": 2})
        elif call == "ListModelInstanceVersionFiles":
            names = sorted(os.listdir(self.directory))
            self._json({"files": [{"name": name} for name in names]})
        elif call == "DownloadModelInstanceVersion":
            content = (
                pathlib.Path(self.directory) / request["path"]
            ).read_bytes()
            self._send(content, len(content))
        else:
            self.send_error(404)


KAGGLE = """
import os
import kagglesdk.kaggle_env as env
env._env_to_endpoint[env.KaggleEnv.LOCAL] = os.environ["STAND_IN"]
"""
VERIFY = """
import os, pathlib, sys, urllib.request, warnings
from keras_remul import verify_preset
for address in sys.argv[1:]:
    if address.startswith("set "):
        url = os.environ["STAND_IN"] + "/set/" + address.removeprefix("set ")
        urllib.request.urlopen(url).close()
        continue
    if address.startswith("damage "):
        for file in pathlib.Path(os.environ["CLIENTS"]).rglob("*"):
            if file.is_file() and file.name == address.removeprefix("damage "):
                file.write_bytes(b"{")
        continue
    os.environ["KERAS_REMUL_OFFLINE"] = str(int(address.startswith("offline ")))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            result = "difference", verify_preset(address.split()[-1])
        except (ValueError, OSError) as error:
            result = type(error).__name__, " ".join(str(error).split())
    told = [str(warning.message) for warning in told]
    print("SAID", *result, *[text for text in told if "can change" in text])
"""


@pytest.fixture
def hub(preset):
    with serve(preset, Hub) as server:
        server.folder, server.commit = preset, COMMIT
        yield server


@pytest.fixture
def run(hub, tmp_path):
    """Verifies addresses in a new process; what it said, line by line."""

    def run(*addresses, before=""):
        done = subprocess.run(
            [sys.executable, "-c", before + VERIFY, *addresses],
            capture_output=True,
            text=True,
            check=False,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(sys.path),
                "HF_ENDPOINT": hub.url,
                "KERAS_REMUL_CACHE": str(tmp_path / "cache"),
                "CLIENTS": str(tmp_path),
                "HF_HOME": str(tmp_path / "hf"),
                "HF_HUB_DISABLE_TELEMETRY": "1",
                "KAGGLEHUB_CACHE": str(tmp_path / "kaggle"),
                "KAGGLE_CONFIG_DIR": str(tmp_path),
                "KAGGLE_API_ENVIRONMENT": "LOCALHOST",
                "STAND_IN": hub.url,
            },
        )
        said = re.findall("^SAID (.*)$", done.stdout, re.M)
        asked = [a for a in addresses if "://" in a]
        assert len(said) == len(asked), done.stdout + done.stderr
        return said

    return run


def starts(said, *words):
    assert [line.split()[0] for line in said] == list(words), said


def test_hugging_face(hub, run):
    other = "f" * 40
    said = run(
        "hf://owner/small",
        "hf://owner/small@v1",
        "offline hf://owner/small@v1",
        f"hf://owner/small@{COMMIT}",
        "offline hf://owner/small@v2",
        "hf://owner/unknown",
        f"set commit/{other}",
        "offline hf://owner/small",
        "hf://owner/small",
    )
    starts(said[:4], *["difference"] * 4)
    names = "small", "small@v1", "small@v1"
    for line, address in zip(said[:3], names, strict=True):
        assert (
            f"hf://owner/{address} can change: it refers to {COMMIT} now. To "
            f"load the same files always, write hf://owner/small@{COMMIT}"
        ) in line
    assert "can change" not in said[3]
    assert said[4].startswith("OSError hf://owner/small@v2 could not be")
    assert "KERAS_REMUL_OFFLINE is set" in said[4]
    assert said[5].startswith("OSError hf://owner/unknown could not be")
    starts(said[6:], *["difference"] * 2)
    assert f"refers to {COMMIT} now" in said[6]
    assert f"{other} now, and referred to {COMMIT} before" in said[7]
    # A branch is looked up, then all comes from one commit.
    assert sum("/revision/v1" in path for path in hub.asked) == 1
    asked = [path for path in hub.asked if "/resolve/" in path]
    assert asked and all(COMMIT in path or other in path for path in asked)


def test_hugging_face_and_what_is_wrong(hub, run):
    digest = files.sha256(hub.folder / files.METADATA)
    fixed = f"hf://owner/small@{COMMIT}"
    said = run(
        "set size/1",
        fixed,
        "set size/0",
        "set bytes/1",
        fixed,
        "set bytes/0",
        f"hf://owner/small#sha256={digest}",
        f"hf://owner/small#sha256={'0' * 64}",
        "hf://owner/small#sha256=",
        "damage config.json",
        fixed,
        "damage metadata.json",
        f"offline {fixed}",
        fixed,
        "set status/429",
        "hf://owner/small@v3",
        "set status/401",
        "hf://owner/small@v4",
    )
    starts(said[:2], "ValueError", "ValueError")
    assert "bytes of README.md; the hub holds" in said[0]
    assert "is damaged" in said[1]
    # What was damaged on the way is fetched again. A pin says which it is.
    starts(said[2:5], "difference", "ValueError", "ValueError")
    assert "can change" not in said[2]
    assert "another hash" in said[3] and "must end in" in said[4]
    starts(said[5:8], "difference", "ValueError", "difference")
    starts(said[8:], "OSError", "OSError")
    assert "429" in said[8] and "401" in said[9]


def test_kaggle(hub, run):
    base = "kaggle://owner/small/keras/base"
    said = run(
        base,
        f"{base}/2",
        f"offline {base}/2",
        "kaggle://other/small/keras/base/2",
        "damage config.json",
        f"{base}/2",
        "damage metadata.json",
        f"{base}/2",
        f"{base}/2#sha256={'0' * 64}",
        before=KAGGLE,
    )
    starts(said[:2], "difference", "difference")
    assert f"{base} can change: it refers to 2 now" in said[0]
    assert "can change" not in said[1]
    assert said[2].startswith("ConnectionError KERAS_REMUL_OFFLINE"), said
    assert said[3].startswith("OSError kaggle://other/"), said
    # What is damaged is fetched again. A pin says which it is.
    starts(said[4:], "difference", "difference", "ValueError")
    assert "another hash" in said[6]
    # The version says that the cache is right: else each file came once. And
    # one was asked of the other owner.
    downloads = [path for path in hub.asked if "Download" in path]
    assert len(downloads) == 3 * len(os.listdir(hub.folder)) + 1


@pytest.mark.parametrize(
    "address", ["hf://owner/small", "kaggle://owner/small/keras/base"]
)
@pytest.mark.parametrize("slow", ["metadata.json", "config.json"])
def test_a_client_that_takes_for_ever(
    address, slow, preset, cache, monkeypatch
):
    given_up = threading.Event()

    class Client:
        @staticmethod
        def snapshot_download(repository, allow_patterns, **arguments):
            if slow in allow_patterns:
                given_up.wait(60)
            return str(preset)

        @staticmethod
        def model_download(handle, path, force_download):
            if path == slow:
                given_up.wait(60)
            return str(preset / path)

    monkeypatch.setattr(hubs, "_client", lambda *_: Client)
    monkeypatch.setattr(download, "PATIENCE", 0.2)
    try:
        with pytest.raises(TimeoutError, match=f"{address} was given up"):
            from_preset(address)
    finally:
        given_up.set()


def test_what_a_kaggle_model_does_not_list_is_left_there(
    preset, cache, monkeypatch
):
    asked = []

    class Client:
        @staticmethod
        def model_download(handle, path, force_download):
            asked.append((handle, path))
            return str(preset / path)

    monkeypatch.setattr(hubs, "_client", lambda *_: Client)
    with pytest.warns(UserWarning, match="can change"):
        from_preset("kaggle://owner/small/keras/base")
    assert asked[0] == ("owner/small/keras/base", "metadata.json")
    # preset.name stands for the version that the client has found.
    here = f"owner/small/keras/base/{preset.name}"
    listed = read_json(preset / "metadata.json")["files"]
    assert asked[1:] == [(here, name) for name in listed]


@pytest.mark.parametrize(
    "address",
    ["hf://owner", "hf://a/b/c", "hf:///b", "kaggle://owner/model"],
)
def test_addresses(address, preset):
    with pytest.raises(ValueError, match=f"Expected {address[:4]}"):
        from_preset(address)
    with pytest.raises(ValueError, match="Expected|handle"):
        upload_preset(preset, address)


def test_missing_client(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    monkeypatch.setitem(sys.modules, "kagglehub", None)
    with pytest.raises(ImportError, match=r"keras-remul\[hf\]"):
        from_preset("hf://owner/small")
    with pytest.raises(ImportError, match=r"keras-remul\[kaggle\]"):
        from_preset("kaggle://owner/small/keras/base")


def test_upload_of_a_verified_copy(preset, monkeypatch, tmp_path):
    calls = []

    class Client:
        @staticmethod
        def create_repo(repository, exist_ok):
            calls.append((repository, exist_ok))

        @staticmethod
        def upload_folder(**arguments):
            copy = arguments["folder_path"]
            calls.append(arguments | {"files": sorted(os.listdir(copy))})

        @staticmethod
        def model_upload(handle, folder):
            raise RuntimeError("401 https://me:top-secret@host?token=x")

    monkeypatch.setattr(hubs, "_client", lambda *_: Client)
    shutil.copytree(preset, tmp_path / "small")
    (tmp_path / "small" / "secrets.json").write_text("{}")
    upload_preset(tmp_path / "small", "hf://me/small@draft")
    assert calls[0] == ("me/small", True)
    assert calls[1]["revision"] == "draft"
    assert calls[1]["files"] == sorted(os.listdir(preset))
    with pytest.raises(OSError, match="kaggle://me/small.*: 401 https://...@"):
        upload_preset(preset, "kaggle://me/small/keras/base")
    for bad in ("ftp://me:top-secret@host", "kaggle://me/small/keras/base/2"):
        with pytest.raises(ValueError, match="uploaded") as caught:
            upload_preset(preset, bad)
        assert "top-secret" not in str(caught.value)
    (tmp_path / "small" / "config.json").write_text("{}")
    with pytest.raises(ValueError, match="damaged"):
        upload_preset(tmp_path / "small", "hf://me/small")
    assert len(calls) == 2


def test_upload_to_a_folder(preset, monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_REMUL_OFFLINE", "1")  # it needs no network
    target = tmp_path / "shared" / "mine"
    upload_preset(preset, target.as_uri())
    assert verify_preset(target.as_uri()) < 1e-6
    assert sorted(os.listdir(target)) == sorted(os.listdir(preset))
    assert os.listdir(target.parent) == ["mine"]
    for there in (target, tmp_path / "file"):
        there.touch() if there.name == "file" else None
        with pytest.raises(ValueError, match="exists, and is not overwritten"):
            upload_preset(preset, there.as_uri())
    for bad in ("file://host/mine", "file:mine", f"{target.as_uri()}#x"):
        with pytest.raises(ValueError, match="file:///path|uploaded|'#'"):
            upload_preset(preset, bad)
    # Nothing is left where it fails, and one of two at once wins.
    with monkeypatch.context() as patch:
        patch.setattr(upload, "verify_preset", lambda _: os.mkdir(other))
        other = target.parent / "other"
        with pytest.raises(ValueError, match="exists, and is not overwritten"):
            upload_preset(preset, other.as_uri())
    assert sorted(os.listdir(target.parent)) == ["mine", "other"]
