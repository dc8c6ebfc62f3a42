"""Two devices, of the CPU, train as one does: 20 steps of each weighting."""

import json
import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest

from keras_remul import distribution

SCRIPT = pathlib.Path(__file__).with_name("distributed_run.py")


def run(devices, output):
    """The results of each process."""
    environment = {
        **os.environ,
        "KERAS_REMUL_DEVICES": str(devices),
        "JAX_NUM_CPU_DEVICES": str(devices),
        "JAX_PLATFORMS": "cpu",
        "CUDA_VISIBLE_DEVICES": "",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join(
            [str(SCRIPT.parents[1]), os.environ.get("PYTHONPATH", "")]
        ),
    }
    command = [sys.executable, str(SCRIPT), str(output)]
    processes = 1
    if keras.backend.backend() == "torch" and devices > 1:
        processes = devices
        command[1:1] = ["-m", "torch.distributed.run", "--standalone"]
        command[4:4] = [f"--nproc-per-node={devices}"]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=540
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [
        json.loads(pathlib.Path(f"{output}.{rank}").read_text())
        for rank in range(processes)
    ]


def test_two_devices_train_as_one(tmp_path):
    (one,) = run(1, tmp_path / "one")
    many = run(2, tmp_path / "two")
    assert set(one) == {"constant", "gradnorm", "constrained"}
    for two in many:  # each process logs and holds the same
        for name, history in one.items():
            for key, values in history.items():
                np.testing.assert_allclose(
                    two[name][key],
                    values,
                    rtol=1e-4,
                    atol=1e-6 if key == "kernel" else 0,
                    err_msg=f"{name}: {key}",
                )
    # The test could have failed: the weightings do differ, and g matters.
    assert one["gradnorm"]["beta"] != one["constant"]["beta"]
    assert one["constrained"]["beta"][-1] != 1.0


def test_one_device_is_left_alone():
    with distribution.data_parallel(num_devices=1):
        assert keras.distribution.distribution() is None


def test_errors(monkeypatch):
    with pytest.raises(ValueError, match="`num_devices` must be at least 1"):
        distribution.data_parallel(0)
    with (
        pytest.raises(ValueError, match="64"),
        distribution.data_parallel(64),
    ):
        pass
    monkeypatch.setenv("KERAS_REMUL_DEVICES", "two")
    with pytest.raises(ValueError, match="KERAS_REMUL_DEVICES.*'two'"):
        distribution.data_parallel()
