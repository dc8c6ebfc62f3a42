"""What holds for each data set: registry, features, failures, TFDS's tests."""

import hashlib
import os
import pathlib
import shutil
import subprocess
import sys
import textwrap

import keras
import numpy as np
import pytest

from keras_remul import datasets
from keras_remul.datasets import loading, registry

NAMES = datasets.list_datasets()
ROOT = pathlib.Path(__file__).parents[2]


def load_tiny(data_dir, split="train"):
    return datasets.load(
        "nbody_gravity/tiny", split, data_dir=data_dir, verbose=0
    )


@pytest.mark.parametrize("name", NAMES)
def test_registry_fits_the_builder(name, tmp_path):
    spec = registry.entry(name)
    cls = registry.builder_class(name)
    assert cls.name == name
    assert cls.code_path.parent == cls.pkg_dir_path
    for config in cls.builder_configs:
        builder = loading.builder_maker(f"{name}/{config}", None, tmp_path)()
        info = builder.info
        assert set(info.features) - {"mask"} == {*spec.inputs, *spec.targets}
        assert {"train", "validation", "test"} <= set(builder.split_names)
        assert info.citation and info.homepage and len(info.description) > 300
        assert "Units:" in info.description
        assert info.redistribution_info.license
        for key, feature in info.features.items():
            dtype = builder.DTYPES.get(key, "float32")
            assert np.dtype(feature.np_dtype) == dtype
    assert spec.exact or spec.approximate
    datasets.symmetry(name)
    laws = datasets.symmetries(name)
    assert [law.group for law in laws] == [*spec.exact, *spec.approximate]
    assert list(tmp_path.iterdir()) == []


def test_same_bytes_twice(tmp_path):
    digests = []
    for folder in ("a", "b"):
        load_tiny(tmp_path / folder)
        files = sorted((tmp_path / folder).rglob("*-of-*"))
        content = b"".join(path.read_bytes() for path in files)
        digests.append(hashlib.sha256(content).hexdigest())
        assert len(files) == 4
    assert digests[0] == digests[1]


def test_what_an_older_release_prepared_is_left_alone(tmp_path):
    load_tiny(tmp_path)
    (new,) = (tmp_path / "nbody_gravity" / "tiny").iterdir()
    old = new.rename(new.with_name("1.0.0"))
    shutil.rmtree(old / "arrays")
    assert len(load_tiny(tmp_path)[1]) == 16
    assert old.exists() and new.exists()


def run_python(code, **kwargs):
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        **kwargs,
    )


@pytest.mark.backend_independent
@pytest.mark.skipif(sys.platform == "win32", reason="needs RLIMIT_FSIZE")
def test_full_disk(tmp_path):
    # The operating system refuses to write more than 1000 bytes to a file.
    result = run_python(
        f"""
        import resource, signal
        from keras_remul import datasets
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        datasets.load("nbody_gravity/tiny", data_dir={str(tmp_path)!r})
        """
    )
    assert "File too large" in result.stderr, result.stderr
    left = [path.name for path in tmp_path.rglob("*") if path.is_file()]
    assert not [n for n in left if "record" in n or n.endswith(".npy")]
    assert len(load_tiny(tmp_path)[1]) == 16


@pytest.mark.backend_independent
def test_killed_while_preparing(tmp_path):
    result = run_python(
        f"""
        import os
        from keras_remul import datasets
        from keras_remul.datasets.builder import ArrayBuilder

        generate = ArrayBuilder._generate_examples

        def killed(self, folder):
            yield next(generate(self, folder))
            os._exit(9)

        ArrayBuilder._generate_examples = killed
        datasets.load("nbody_gravity/tiny", data_dir={str(tmp_path)!r})
        """
    )
    assert result.returncode == 9, result.stderr
    with pytest.raises(FileNotFoundError, match="not prepared"):
        datasets.load("nbody_gravity/tiny", data_dir=tmp_path, download=False)
    assert len(load_tiny(tmp_path)[1]) == 16


@pytest.mark.parametrize(
    "bad, message",
    [
        (np.full((2, 4, 3), np.nan), "'positions'.*'train'.*NaN"),
        (np.zeros((2, 5, 3)), r"\(S, 4, 3\). Received: \(2, 5, 3\)"),
    ],
)
def test_bad_arrays_are_not_written(tmp_path, monkeypatch, bad, message):
    cls = registry.builder_class("nbody_gravity")
    arrays = {"train": {"positions": bad}}
    monkeypatch.setattr(cls, "_arrays", lambda self, manager: arrays)
    with pytest.raises(ValueError, match=message):
        load_tiny(tmp_path)


def test_stream(tmp_path):
    x, y = load_tiny(tmp_path)
    arguments = dict(data_dir=tmp_path, batch_size=6, verbose=0)
    batches = datasets.stream("nbody_gravity/tiny", seed=0, **arguments)
    assert isinstance(batches, keras.utils.PyDataset)
    assert [len(batch[1]) for batch in batches] == [6, 6, 4]
    first = np.concatenate([batch[1] for batch in batches])
    batches.on_epoch_end()
    second = np.concatenate([batch[1] for batch in batches])
    for found in (first, second):
        assert not np.array_equal(found, y)
        np.testing.assert_array_equal(
            np.sort(found, axis=0), np.sort(y, axis=0)
        )
    assert not np.array_equal(first, second)
    again = datasets.stream("nbody_gravity/tiny", seed=0, **arguments)
    np.testing.assert_array_equal(again[0][1], first[:6])
    ordered = datasets.stream(
        "nbody_gravity/tiny", "train[4:]", shuffle=False, **arguments
    )
    np.testing.assert_array_equal(ordered[0][0]["masses"], x["masses"][4:10])
    with pytest.raises(ValueError, match="`batch_size`.*0"):
        datasets.stream("nbody_gravity/tiny", **{**arguments, "batch_size": 0})


def test_fit_on_a_stream(tmp_path):
    from keras_remul import RemulModel, models

    batches = datasets.stream(
        "nbody_gravity/tiny", data_dir=tmp_path, batch_size=8, verbose=0
    )
    network = models.Transformer(num_layers=1, hidden_dim=8, num_heads=2)
    remul = RemulModel(network, datasets.symmetry("nbody_gravity"))
    remul.compile("adam", loss="mse")
    history = remul.fit(batches, epochs=2, verbose=0).history
    assert np.isfinite(history["loss"]).all() and batches.epoch >= 2


@pytest.mark.backend_independent
def test_reading_10000_systems_takes_less_than_a_second(tmp_path):
    from keras_remul.datasets.nbody_gravity.builder import NbodyGravityConfig

    sizes = {"train": 10_000, "validation": 1, "test": 1}
    config = NbodyGravityConfig(name="large", **sizes)
    arguments = dict(config=config, data_dir=tmp_path, verbose=0)
    datasets.load("nbody_gravity", [], **arguments)
    result = run_python(
        f"""
        import sys, time
        from keras_remul import datasets
        from keras_remul.datasets.nbody_gravity.builder import (
            NbodyGravityConfig,
        )
        config = NbodyGravityConfig(name="large", **{sizes})
        start = time.perf_counter()
        x, y = datasets.load(
            "nbody_gravity",
            config=config,
            data_dir={str(tmp_path)!r},
            download=False,
        )
        print(len(y), time.perf_counter() - start, "tensorflow" in sys.modules)
        """
    )
    assert result.returncode == 0, result.stderr
    size, seconds, tensorflow = result.stdout.split()
    assert size == "10000" and float(seconds) < 1
    if keras.backend.backend() != "tensorflow":
        assert tensorflow == "False"
