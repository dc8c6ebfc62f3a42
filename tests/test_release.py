"""The files of a release: the same bytes for the same input, all listed."""

import json
import pathlib
import shutil
import subprocess
import sys
import zipfile

import pytest
from presets_zoo import NAME

from keras_remul import verify_preset
from keras_remul.presets import files

ROOT = pathlib.Path(__file__).parents[1]
sys.path.append(str(ROOT / "tools"))

import release  # noqa: E402

pytestmark = pytest.mark.backend_independent


def test_archives(zoo, tmp_path):
    for name in ("one", "two"):
        release.archive_zoo(zoo, tmp_path / name)
        (zoo / NAME / "config.json").touch()  # the date is no part of it
    one, two = (tmp_path / n / f"{NAME}.zip" for n in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()
    zipfile.ZipFile(one).extractall(tmp_path / "out")
    assert verify_preset(tmp_path / "out" / NAME) < 1e-6
    assert (tmp_path / "one" / "manifest.json").is_file()
    release.write_sums(tmp_path / "one")
    lines = (tmp_path / "one" / "SHA256SUMS").read_text().splitlines()
    assert lines == [
        f"{files.sha256(tmp_path / 'one' / name)}  {name}"
        for name in ("manifest.json", f"{NAME}.zip")
    ]
    (zoo / NAME / "config.json").write_text("{}")
    with pytest.raises(ValueError, match="those of manifest.json"):
        release.archive_zoo(zoo, tmp_path / "three")
    with pytest.raises(ValueError, match="config.json is damaged"):
        release.archive(zoo / NAME, tmp_path / "damaged.zip")
    shutil.copytree(zoo / NAME, zoo / "other")
    with pytest.raises(ValueError, match=r"Only one.*\['other'\]"):
        release.archive_zoo(zoo, tmp_path / "four")


@pytest.fixture
def wheel(tmp_path):
    """A wheel that needs requests, and pytest with an extra."""
    path = tmp_path / "keras_remul-1-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as content:
        content.writestr(
            zipfile.ZipInfo("keras_remul-1.dist-info/METADATA"),
            "Name: keras-remul\nRequires-Dist: requests>=2\n"
            "Requires-Dist: pytest; extra == 'test'\n\n",
        )
    return path


def test_bill_of_materials(wheel):
    pytest.importorskip("cyclonedx", reason='pip install ".[test]"')
    needed = release.graph(wheel)
    assert needed["keras-remul"] == ["requests"]
    assert "urllib3" in needed["requests"] and "urllib3" in needed
    assert "pytest" not in needed and "pysocks" not in needed
    text = release.sbom(wheel)
    assert text == release.sbom(wheel)
    content = json.loads(text)
    assert content["bomFormat"] == "CycloneDX"
    own = content["metadata"]["component"]
    assert own["name"] == "keras-remul"
    assert own["hashes"][0]["content"] == files.sha256(wheel)
    names = {component["name"] for component in content["components"]}
    assert names == {*needed} - {"keras-remul"}


def test_what_is_there_is_not_touched(tmp_path, monkeypatch):
    monkeypatch.setattr(release, "git", lambda *_: " M README.md")
    with pytest.raises(ValueError, match="committed. Received:\n M README"):
        release.release(tmp_path / "dist")
    (tmp_path / "mine").touch()
    with pytest.raises(ValueError, match="to be empty"):
        release.release(tmp_path)
    assert not (tmp_path / "dist").exists()
    with pytest.raises(subprocess.CalledProcessError):
        monkeypatch.undo()
        release.git("no-such-command")
