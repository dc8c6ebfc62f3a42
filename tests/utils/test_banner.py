"""What TensorFlow says at its start is left out, and nothing else."""

import os

import pytest

from keras_remul.utils import banner

pytestmark = pytest.mark.backend_independent

NEEDLESS = """\
WARNING: All log messages before absl::InitializeLog() is called are written
I0000 00:00:1700000000.000000 1 port.cc:153] oneDNN custom operations are on.
I0000 00:00:1700000000.000000 1 cudart_stub.cc:31] Could not find cuda drivers
I0000 00:00:1700000000.000000 1 cpu_feature_guard.cc:227] This TensorFlow binary
To enable the following instructions: AVX2, rebuild TensorFlow.
"""
NEEDED = "W0000 00:00:1700000000.000000 1 gpu_device.cc:2] Cannot open a GPU\n"


def write(text):
    """As C++ does, past `sys.stderr`."""
    os.write(2, text.encode())


@pytest.mark.parametrize("level", [None, "0", "3"])
def test_only_the_banner_is_left_out(level, monkeypatch, capfd):
    monkeypatch.delenv(banner.VARIABLE, raising=False)
    if level:
        monkeypatch.setenv(banner.VARIABLE, level)
    with pytest.raises(ImportError), banner.hidden():
        write(NEEDLESS)
        write(NEEDED)
        raise ImportError
    write("after\n")
    shown = NEEDLESS if level == "0" else ""
    assert capfd.readouterr().err == f"{shown}{NEEDED}after\n"


@pytest.mark.parametrize("gpu", [True, False])
def test_a_gpu_that_fails_is_told(gpu, monkeypatch, tmp_path, capfd):
    (tmp_path / ("nvidia0" if gpu else "nvidia-caps")).touch()
    monkeypatch.setattr(banner, "_DEVICES", tmp_path)
    monkeypatch.delenv(banner.VARIABLE, raising=False)
    line = "E0000 00:00:17 1 cuda_platform.cc:52] failed call to cuInit: 303\n"
    with banner.hidden():
        write(line)
    assert capfd.readouterr().err == (line if gpu else "")


def test_a_program_without_a_screen(monkeypatch):
    def dup(descriptor):
        raise OSError

    monkeypatch.setattr(os, "dup", dup)
    with banner.hidden():
        pass
