"""The commands of presets."""

import json
import re
import socket

import keras
import numpy as np
import pytest

from keras_remul import cli, datasets, list_presets, save_to_preset
from keras_remul.cli import cuda, doctor, trial
from keras_remul.cli import presets as commands
from keras_remul.presets import card, folder

pytestmark = pytest.mark.usefixtures("untraced")

NAME = "nbody_charged_mpn_remul"


def run(capsys, *arguments):
    status = cli.main(list(arguments))
    said = capsys.readouterr()
    return status, " ".join(said.out.split()), " ".join(said.err.split())


def test_presets(capsys, tmp_path):
    status, said, _ = run(capsys, "presets")
    assert status == 0
    assert "105,476" in said and "0.007093" in said
    files = {"metadata.json": {"sha256": "0" * 64, "size": 1}}
    odd = {
        "parameters": "many",
        "metrics": {"test_mse": None, "equivariance_error": 0.25},
    }
    for summary in ({}, {"summary": odd}, {"summary": []}, {"summary": {}}):
        manifest = {"presets": {"theirs": {"files": files, **summary}}}
        (tmp_path / "manifest.json").write_text(json.dumps(manifest))
        status, said, _ = run(capsys, "presets", "--zoo", str(tmp_path))
        assert status == 0 and "theirs" in said
        assert ("0.25" in said) == (summary.get("summary") == odd)
    (tmp_path / "manifest.json").write_text('{"presets": {}}')
    status, said, _ = run(capsys, "presets", "--zoo", str(tmp_path))
    assert status == 0 and "No presets." in said


def test_verify(capsys, tmp_path):
    status, said, _ = run(capsys, "verify", NAME)
    assert status == 0 and f"{NAME}: outputs agree" in said
    status, said, aside = run(capsys, "verify", NAME, "--json")
    (row,) = json.loads(said)
    assert row["preset"] == NAME and 0 <= row["difference"] < 1e-5
    assert "outputs agree" in aside
    status, _, error = run(capsys, "verify", NAME, "--tolerance", "-1")
    assert status == 1 and "gives other outputs" in error
    status, _, error = run(capsys, "verify", "nbody_charged_mpn_remull")
    assert status == 1 and "Nearest names" in error


def test_download(capsys):
    status, said, _ = run(capsys, "download", NAME)
    assert status == 0 and f"{NAME} is in" in said


def test_no_command_shows_credentials(capfd, zoo, cache, server, monkeypatch):
    url = server.url.replace("://", "://me:top-secret@")
    address = f"{url}/small?token=top-secret"
    status, said, _ = run(capfd, "download", address)
    assert status == 0 and "://***@127.0.0.1" in said and "?*** is in" in said
    status, more, _ = run(capfd, "verify", address)
    assert status == 0 and "?***: outputs agree" in more
    for command in ("evaluate", "landscape", "compare"):
        names = [address] * (1 + (command == "compare"))
        status, _, error = run(capfd, command, *names)
        assert status == 1 and re.search("data ?set", error)
        more += error
    server.faults["/small/metadata.json"] = ["missing"]
    status, _, error = run(capfd, "verify", address)
    assert status == 1 and "is not there" in error
    monkeypatch.setenv("KERAS_REMUL_ZOO_URL", f"{url}?token=top-secret")
    monkeypatch.setattr(doctor, "_try", lambda: {"facts": {}, "wrong": {}})
    status, table, _ = run(capfd, "doctor")
    assert status == 0 and "://***@127.0.0.1" in table
    assert "top-secret" not in said + more + error + table


def test_a_card_names_no_password():
    facts = {"class": "a", "parameters": 1, "keras_remul": "1", "backend": "b"}
    source = "From https://me:top-secret@host/x?id=3."
    text = card.card("small", facts | {"description": source})
    assert "From https://host/x?id=3." in text


def test_evaluate(capsys, bodies, monkeypatch):
    splits = {"train": bodies, "test": bodies}
    monkeypatch.setattr(datasets, "load_all", lambda *a, **k: splits)
    status, said, _ = run(capsys, "evaluate", NAME)
    assert status == 0 and "test_mse │ 0.0070931" in said


def test_compare(capsys, bodies, monkeypatch):
    asked = []

    def load(name, split, data_dir, verbose):
        asked.append((name, split))
        return bodies

    monkeypatch.setattr(datasets, "load", load)
    names = NAME, "nbody_charged_egnn"
    status, said, _ = run(capsys, "compare", *names)
    assert status == 0 and all(name in said for name in names)
    assert "MSE, first / second" in said and "distinguished" in said
    other = "nbody_charged/unused"
    status, more, _ = run(capsys, "compare", *names, "--dataset", other)
    assert status == 0 and more == said
    assert asked == [("nbody_charged", "test"), (other, "test")]
    names = NAME, "nbody_gravity_mpn_plain"
    status, _, error = run(capsys, "compare", *names)
    assert status == 1 and "two presets of one data set" in error


def test_landscape(capsys, bodies, monkeypatch, tmp_path):
    asked = []

    def load(name, split, data_dir):
        asked.append((name, split))
        return bodies

    monkeypatch.setattr(datasets, "load", load)
    output = tmp_path / "surface.png"
    names = NAME, "nbody_charged_egnn"
    status, said, _ = run(
        capsys, "landscape", *names, "--points", "3", "--output", str(output)
    )
    assert status == 0
    assert all(name in said for name in names)
    assert asked == [("nbody_charged", "train[:500]")]
    assert output.read_bytes().startswith(b"\x89PNG")
    status, _, error = run(capsys, "landscape", NAME, "nbody_gravity_mpn_plain")
    assert status == 1 and "presets of one data set" in error


def test_names_in_a_picture():
    alone = commands._short_names(["runs/a", "https://me:x@host/b?token=1"])
    assert list(alone.values()) == ["a", "b?***"]
    alike = commands._short_names(["runs/a/preset", "runs/b/preset"])
    assert list(alike.values()) == ["runs/a/preset", "runs/b/preset"]


def test_export(capsys, tmp_path):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    save_to_preset(model, tmp_path / "p", x=np.ones((2, 3), "float32"))
    torch = keras.backend.backend() == "torch"
    format, name = ("torch", "m.pt2") if torch else ("tf_saved_model", "m")
    output = str(tmp_path / name)
    status, said, error = run(
        capsys, "export", str(tmp_path / "p"),
        "--format", format, "--output", output,
    )  # fmt: skip
    assert status == 0, error
    assert "outputs agree" in said and (tmp_path / name).exists()
    assert "x: batch, 3" in said and "number of nodes is fixed" in said
    save_to_preset(model, tmp_path / "p")
    again = ("export", str(tmp_path / "p"), "--output", output)
    status, _, error = run(capsys, *again)
    assert status == 2 and "exists. --force replaces it" in error
    status, _, error = run(capsys, *again, "--force")
    assert status == 1 and "no inputs" in error


def test_what_the_doctor_tries(monkeypatch):
    asked = []

    def one_of_them(name):
        """What tests/presets/test_zoo.py does for each."""
        asked.append(name)
        return folder.verify_preset(name) if name == NAME else None

    monkeypatch.setattr(trial, "verify_preset", one_of_them)
    report = trial.report()
    assert sorted(asked) == list_presets() and NAME in asked
    assert report["facts"]["backend in use"] == keras.backend.backend()
    assert {*report["wrong"].values()} == {None}

    def fails():
        raise OSError("no space")

    monkeypatch.setattr(trial, "CHECKS", {"one": fails})
    assert trial.report()["wrong"] == {"one": "OSError: no space"}


@pytest.mark.backend_independent
def test_doctor(capsys, tmp_path, monkeypatch):
    tried = {"facts": {"devices": "cpu"}, "wrong": {"one step": None}}
    monkeypatch.setattr(doctor, "_try", lambda: tried)
    monkeypatch.setenv("KERAS_REMUL_CACHE", str(tmp_path / "cache"))
    status, said, _ = run(capsys, "doctor")
    assert status == 0 and "ok: one step" in said and "│ cpu " in said
    status, said, _ = run(capsys, "doctor", "--json")
    facts = {row["fact"]: row["value"] for row in json.loads(said)}
    assert facts["keras"] == keras.__version__ and facts["one step"] == "ok"
    (tmp_path / "file").touch()
    with socket.socket() as taken:  # nobody listens there
        taken.bind(("127.0.0.1", 0))
        zoo = f"http://127.0.0.1:{taken.getsockname()[1]}"
        monkeypatch.setenv("KERAS_REMUL_ZOO_URL", zoo)
        monkeypatch.setenv("KERAS_REMUL_CACHE", str(tmp_path / "file" / "c"))
        tried["wrong"]["one step"] = "no"
        status, said, error = run(capsys, "doctor")
    assert status == 1 and "3 of 5 checks failed" in error
    assert "Not a directory. Set KERAS_REMUL_CACHE" in said
    assert re.search("127.0.0.1:[0-9]+ cannot be reached. Check the", said)
    monkeypatch.setenv("KERAS_REMUL_OFFLINE", "1")
    assert "OFFLINE is set, so it is not" in run(capsys, "doctor")[1]


@pytest.mark.backend_independent
def test_a_framework_that_ends_its_process(monkeypatch, tmp_path):
    monkeypatch.setattr(doctor.sys, "executable", "/bin/false")
    wrong = doctor._try()["wrong"]
    assert wrong == {"Keras can be imported": "it ended with 1"}


REQUIRED = {
    "torch": ["nvidia-cudnn-cu12==9.1; platform_system != 'x'", "sympy"],
    "tensorflow": ["nvidia-cudnn-cu12==9.3; extra == 'and-cuda'"],
    "jax_cuda12_plugin": ["nvidia-cudnn-cu12>=9.1; extra == 'with-cuda'"],
}
STACKS = [
    (["torch"], "9.1", None),
    (["torch", "tensorflow"], None, None),
    (["torch", "jax_cuda12_plugin"], "9.1", "their libraries fit"),
    (["torch", "tensorflow"], "9.1", "tensorflow wants .*==9.3, 9.1 is"),
    (["torch", "jax_cuda12_plugin"], "9.0", "torch wants .* jax wants"),
]


@pytest.mark.backend_independent
@pytest.mark.parametrize("names, cudnn, message", STACKS)
def test_two_stacks_of_cuda(names, cudnn, message, tmp_path, monkeypatch):
    """Read from the metadata of what is installed, here in a folder."""
    for name in [*names, "nvidia_cudnn_cu12"][: len(names) + bool(cudnn)]:
        version = cudnn if name.startswith("nvidia") else "2.0"
        lines = ["Metadata-Version: 2.1", f"Name: {name}"]
        lines += [f"Version: {version}"]
        lines += [f"Requires-Dist: {one}" for one in REQUIRED.get(name, ())]
        info = tmp_path / f"{name}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("\n".join(lines))
    monkeypatch.setattr("sys.path", [str(tmp_path)])
    try:
        found = cuda.check()
    except ValueError as error:
        found = str(error)
    assert found is None if message is None else re.search(message, found)


@pytest.mark.parametrize("command", ["download", "evaluate", "export"])
def test_a_name_is_needed(command, capsys):
    with pytest.raises(SystemExit):
        cli.main([command])
    assert "name" in capsys.readouterr().err
