"""Devices, and hosts, train together as one does, with each weighting."""

import json
import os
import pathlib
import subprocess
import sys
import time

import hosts
import keras
import numpy as np
import pytest

from keras_remul import distribution

SCRIPT = pathlib.Path(__file__).with_name("distributed_run.py")
BACKEND = keras.backend.backend()
TORCHRUN = ["-m", "torch.distributed.run", "--nproc-per-node"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("distributed")


@pytest.fixture(scope="module")
def one(folder):
    """The figures of one process with one device."""
    output = folder / "one"
    run(output, ["constant", "gradnorm", "constrained", "stream"], devices=1)
    return {path.name.split(".")[0]: read(path) for path in figures(output)}


def environment(folder, **more):
    kept = {k: v for k, v in os.environ.items() if "proxy" not in k.lower()}
    paths = [str(SCRIPT.parents[1]), os.environ.get("PYTHONPATH", "")]
    return {
        **kept,
        "JAX_PLATFORMS": "cpu",
        "CUDA_VISIBLE_DEVICES": "",
        "OMP_NUM_THREADS": "1",
        # Compiles faster; what the Makefile sets comes after, and wins.
        "XLA_FLAGS": " ".join(
            [
                "--xla_backend_optimization_level=0",
                os.environ.get("XLA_FLAGS", ""),
            ]
        ),
        "PYTHONPATH": os.pathsep.join(paths),
        "DATA": str(folder.parent / "data"),
        **more,
    }


def run(output, cases, devices):
    """Trains on so many devices of this host."""
    output.mkdir()
    command = [sys.executable, str(SCRIPT), str(output), *cases]
    if BACKEND == "torch" and devices > 1:
        command[1:1] = [*TORCHRUN, str(devices), "--standalone"]
    numbers = dict.fromkeys(
        ["KERAS_REMUL_DEVICES", "JAX_NUM_CPU_DEVICES"], str(devices)
    )
    done = subprocess.run(
        command,
        env=environment(output, **numbers),
        capture_output=True,
        text=True,
        timeout=540,
    )
    assert done.returncode == 0, done.stderr[-3000:]


def figures(output):
    return sorted(output.glob("*.*.json"))


def read(path):
    return json.loads(path.read_text())


def assert_as_one(found, one):
    """The same weights, and logs of the epochs that were trained."""
    for key, values in one.items():
        count = len(found[key])
        np.testing.assert_allclose(
            found[key],
            values[-count:],
            rtol=1e-4,
            atol=1e-6 if key == "kernel" else 0,
            err_msg=key,
        )


def test_two_devices_train_as_one(folder, one):
    cases = ["constant", "gradnorm", "constrained"]
    run(folder / "two", cases, devices=2)
    # Each process logs and holds the same.
    paths = figures(folder / "two")
    assert len(paths) == len(cases) * (2 if BACKEND == "torch" else 1)
    for path in paths:
        assert_as_one(read(path), one[path.name.split(".")[0]])
    # The test could have failed: the weightings do differ, and g matters.
    assert one["gradnorm"]["beta"] != one["constant"]["beta"]
    assert one["constrained"]["beta"][-1] != 1.0


def start(network, host, count, output, cases, slurm=False, **more):
    """A process on a host, which finds the others by its environment."""
    command = [str(SCRIPT), str(output), *cases]
    variables = {}
    if BACKEND == "torch":
        where = ["--master-addr=host0", f"--node-rank={host}"]
        command[:0] = [*TORCHRUN, "1", f"--nnodes={count}", *where]
    elif BACKEND == "tensorflow":
        workers = [f"host{i}:12345" for i in range(count)]
        task = {"type": "worker", "index": host}
        config = {"cluster": {"worker": workers}, "task": task}
        variables = {"TF_CONFIG": json.dumps(config)}
    elif slurm:
        variables = {
            "SLURM_JOB_ID": "1",
            "SLURM_STEP_NODELIST": f"host[0-{count - 1}]",
            "SLURM_NTASKS": str(count),
            "SLURM_PROCID": str(host),
            "SLURM_LOCALID": "0",
        }
    else:
        variables = {
            "JAX_COORDINATOR_ADDRESS": "host0:12345",
            "JAX_NUM_PROCESSES": str(count),
            "JAX_PROCESS_ID": str(host),
        }
    with open(log(output, host), "w") as file:
        return network.start(
            host,
            [sys.executable, *command],
            environment(output, **variables, **more),
            stdout=file,
            stderr=subprocess.STDOUT,
        )


def log(output, host):
    return output / f"host{host}.log"


def wait_for_the_middle(process, path):
    for _ in range(3000):
        text = path.read_text()
        if "in the middle of an epoch" in text:
            return
        assert process.poll() is None, text[-3000:]
        time.sleep(0.1)
    raise TimeoutError(text[-3000:])


@pytest.mark.slow
def test_hosts_train_as_one_also_after_one_was_lost(folder, one):
    if hosts.refusal():
        pytest.skip(f"no network namespaces here: {hosts.refusal()}")
    output = folder / "hosts"
    output.mkdir()
    cases = ["gradnorm", "constrained", "stream"]
    with hosts.Hosts(3) as network:
        first = start(network, 0, 2, output, cases)
        second = start(network, 1, 2, output, cases, TO_BE_KILLED="1")
        wait_for_the_middle(second, log(output, 1))
        second.kill()
        assert first.wait(60) != 0
        assert "start the script on all hosts again" in told(output, 0)

        # Three hosts go on from the checkpoint of the first of two.
        assert not list(output.glob("stream.*.json"))
        assert (output / "epoch").read_text() != "3"
        three = [
            start(network, i, 3, output, ["stream"], slurm=True)
            for i in range(3)
        ]
        for i, process in enumerate(three):
            assert process.wait(300) == 0, told(output, i)[-3000:]
    paths = figures(output)
    assert len(paths) == 2 + 2 + 3
    for path in paths:
        assert_as_one(read(path), one[path.name.split(".")[0]])


def told(output, host):
    return log(output, host).read_text().lower()


def test_one_device_is_left_alone():
    with distribution.data_parallel(num_devices=1):
        assert keras.distribution.distribution() is None
        assert distribution.process() == (0, 1)


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


WRONG = {
    "jax": [
        {"JAX_NUM_PROCESSES": "2"},
        {
            "JAX_NUM_PROCESSES": "2",
            "JAX_PROCESS_ID": "2",
            "JAX_COORDINATOR_ADDRESS": "host0:1",
        },
        {
            "JAX_NUM_PROCESSES": "two",
            "JAX_PROCESS_ID": "0",
            "JAX_COORDINATOR_ADDRESS": "host0:1",
        },
    ],
    "torch": [
        {"WORLD_SIZE": "two"},
        {"WORLD_SIZE": "2"},
        {"WORLD_SIZE": "2", "RANK": "2"},
    ],
    "tensorflow": [
        {"TF_CONFIG": text}
        for text in (
            "host0, host1",
            "[]",
            '{"cluster": {"worker": ["host0:1", "host1:1"]}}',
            '{"cluster": {"worker": ["host0:1", "host1:1"]}, '
            '"task": {"type": "worker", "index": 2}}',
        )
    ],
}


@pytest.mark.parametrize("variables", WRONG[BACKEND])
def test_an_environment_that_makes_no_sense(monkeypatch, variables):
    for key, value in variables.items():
        monkeypatch.setenv(key, value)
    with (
        pytest.raises(ValueError, match="^The environment (variable|has) "),
        distribution.data_parallel(),
    ):
        pass


@pytest.mark.skipif(BACKEND != "jax", reason="only JAX must be joined first")
def test_too_late_to_join(monkeypatch):
    """What has computed already cannot become one of many."""
    keras.ops.ones(())
    for key, value in {
        "JAX_NUM_PROCESSES": "2",
        "JAX_PROCESS_ID": "0",
        "JAX_COORDINATOR_ADDRESS": "127.0.0.1:1",
    }.items():
        monkeypatch.setenv(key, value)
    with (
        pytest.raises(ValueError, match="must come before anything"),
        distribution.data_parallel(),
    ):
        pass


HOOKS = [n for n in dir(keras.callbacks.Callback) if n.startswith("on_")]


def test_on_first(monkeypatch):
    """All hooks of the callback run in the first process, and there alone."""
    called = []

    class Spy(keras.callbacks.Callback):
        pass

    for name in HOOKS:

        def hook(self, *args, name=name, **kwargs):
            called.append((name, self.model))

        setattr(Spy, name, hook)
    model = keras.Sequential([keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    x = np.ones((4, 2), "float32")

    def train(callback):
        called.clear()
        model.fit(
            x, x[:, :1], validation_data=(x, x[:, :1]), verbose=0,
            callbacks=[callback],
        )  # fmt: skip
        model.predict(x, verbose=0, callbacks=[callback])
        return list(called)

    expected = train(Spy())
    # Those of batches, once and with their old names, are of training alone.
    assert {name for name, _ in expected} == {*HOOKS} - {
        "on_batch_begin",
        "on_batch_end",
    }
    for index, count in ((0, 1), (0, 2), (1, 2)):
        monkeypatch.setattr(distribution, "process", lambda n=(index, count): n)
        assert train(distribution.OnFirst(Spy())) == (expected, [])[index]
    # A hook that is a function, and one by its old name.
    for name in ("on_epoch_end", "on_batch_end"):
        monkeypatch.setattr(distribution, "process", lambda: (0, 2))
        spy = keras.callbacks.LambdaCallback()
        setattr(spy, name, lambda *_, **__: called.append("here"))
        assert train(distribution.OnFirst(spy)) == ["here"]
