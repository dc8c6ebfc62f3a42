"""hf:// and kaggle://: the hubs' own clients against a stand-in server."""

import json
import os
import pathlib
import re
import subprocess
import sys

import keras
import numpy as np
import pytest
from web import Handler, serve

from keras_remul import from_preset, save_to_preset, upload_preset
from keras_remul.presets import files, hubs

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
        if found and found[1] in ("main", "v1", COMMIT):
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
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Accept-Ranges", "bytes")
        self.end_headers()
        if with_content:
            self.wfile.write(content)

    def do_HEAD(self):
        self._send_file(with_content=False)

    def do_GET(self):
        self.server.asked.append(self.path)
        names = sorted(os.listdir(self.directory))
        if self.path.startswith("/api/models/owner/small/tree/"):
            return self._json(
                [
                    {
                        "type": "file",
                        "path": name,
                        "oid": "0" * 40,
                        "size": os.path.getsize(f"{self.directory}/{name}"),
                    }
                    for name in names
                ]
            )
        known = re.match(
            r"/api/models/owner/small(/revision/(\w+))?", self.path
        )
        if known and known[2] in (None, "main", "v1", COMMIT):
            self._json(
                {
                    "id": "owner/small",
                    "modelId": "owner/small",
                    "sha": COMMIT,
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
import os, sys
from keras_remul import verify_preset
for address in sys.argv[1:]:
    os.environ["KERAS_REMUL_OFFLINE"] = str(int(address.startswith("offline ")))
    try:
        print("difference", verify_preset(address.removeprefix("offline ")))
    except (ValueError, OSError) as error:
        print(type(error).__name__, " ".join(str(error).split()))
"""


@pytest.fixture
def hub(preset):
    with serve(preset, Hub) as server:
        server.folder = preset
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
                "HF_HOME": str(tmp_path / "hf"),
                "HF_HUB_DISABLE_TELEMETRY": "1",
                "KAGGLEHUB_CACHE": str(tmp_path / "kaggle"),
                "KAGGLE_CONFIG_DIR": str(tmp_path),
                "KAGGLE_API_ENVIRONMENT": "LOCALHOST",
                "STAND_IN": hub.url,
            },
        )
        starts = ("difference", "ValueError", "OSError", "ConnectionError")
        lines = done.stdout.splitlines()
        said = [line for line in lines if line.startswith(starts)]
        assert len(said) == len(addresses), done.stdout + done.stderr
        return said

    return run


def test_hugging_face(hub, run):
    said = run(
        "hf://owner/small",
        "hf://owner/small@v1",
        "offline hf://owner/small@v1",
        "offline hf://owner/small@v2",
        "hf://owner/unknown",
    )
    assert [line.split()[0] for line in said[:3]] == ["difference"] * 3, said
    assert said[3].startswith("OSError hf://owner/small@v2 could not be")
    assert said[4].startswith("OSError hf://owner/unknown could not be")
    assert any("/v1" in path for path in hub.asked)


def test_hugging_face_with_other_bytes(hub, run):
    hub.faults["bytes"] = True
    (said,) = run("hf://owner/small")
    assert said.startswith("ValueError"), said


def test_kaggle(hub, run):
    said = run(
        "kaggle://owner/small/keras/base",
        "kaggle://owner/small/keras/base/2",
        "offline kaggle://owner/small/keras/base/2",
        "kaggle://other/small/keras/base/2",
        before=KAGGLE,
    )
    assert [line.split()[0] for line in said[:2]] == ["difference"] * 2, said
    assert said[2].startswith("ConnectionError KERAS_REMUL_OFFLINE"), said
    assert said[3].startswith("OSError kaggle://other/"), said
    # The version says that the cache is right: each file came once.
    downloads = [path for path in hub.asked if "Download" in path]
    assert len(downloads) == len(os.listdir(hub.folder))


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


def test_upload_calls_the_client_with_a_verified_preset(preset, monkeypatch):
    calls = []

    class Client:
        @staticmethod
        def create_repo(repository, exist_ok):
            calls.append((repository, exist_ok))

        @staticmethod
        def upload_folder(**arguments):
            calls.append(arguments)

    monkeypatch.setattr(hubs, "_client", lambda *_: Client)
    upload_preset(preset, "hf://me/small@draft")
    assert calls[0] == ("me/small", True)
    assert calls[1]["revision"] == "draft"
    assert calls[1]["folder_path"] == preset
    with pytest.raises(ValueError, match="uploaded to hf://"):
        upload_preset(preset, "ftp://me/small")
