"""What holds for each data set: registry, features, failures, TFDS's tests."""

import hashlib
import importlib.util
import os
import pathlib
import subprocess
import sys
import textwrap

import keras
import numpy as np
import pytest

from keras_remul import datasets
from keras_remul.datasets import loading, registry

NAMES = datasets.list_datasets()
ROOT = pathlib.Path(__file__).parents[1]


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
        assert set(info.features) == {*spec.inputs, spec.target}
        assert {"train", "validation", "test"} <= set(builder.split_names)
        assert info.citation and info.homepage and len(info.description) > 300
        assert "Units:" in info.description
        assert info.redistribution_info.license
        for feature in info.features.values():
            assert np.dtype(feature.np_dtype) == np.float32
    assert spec.exact or spec.approximate
    datasets.symmetry(name)
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


def test_full_disk(tmp_path, monkeypatch):
    from keras_remul.datasets.builder import ArrayBuilder

    generate = ArrayBuilder._generate_examples

    def full(self, data):
        for i, example in enumerate(generate(self, data)):
            if i == 3:
                raise OSError(28, "No space left on device")
            yield example

    monkeypatch.setattr(ArrayBuilder, "_generate_examples", full)
    with pytest.raises(OSError, match="No space left"):
        load_tiny(tmp_path)
    assert not list(tmp_path.rglob("*record*"))
    monkeypatch.undo()
    assert len(load_tiny(tmp_path)[1]) == 16


def test_killed_while_preparing(tmp_path):
    code = f"""
    import os
    from keras_remul import datasets
    from keras_remul.datasets.builder import ArrayBuilder

    def killed(self, data):
        yield 0, {{key: array[0] for key, array in data.items()}}
        os._exit(9)

    ArrayBuilder._generate_examples = killed
    datasets.load("nbody_gravity/tiny", data_dir={str(tmp_path)!r}, verbose=0)
    """
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env=environment,
        capture_output=True,
        check=False,
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


ON_TENSORFLOW = keras.backend.backend() == "tensorflow"

# `tfds.testing` imports dill, which TFDS itself does not ask for.
if ON_TENSORFLOW and importlib.util.find_spec("dill"):
    import tensorflow_datasets as tfds

    class NbodyGravityTest(tfds.testing.DatasetBuilderTestCase):
        DATASET_CLASS = registry.builder_class("nbody_gravity")
        BUILDER_CONFIG_NAMES_TO_TEST = ["tiny"]
        SPLITS = {"train": 16, "validation": 8, "test": 8, "test_ood": 8}
        EXAMPLE_DIR = os.path.dirname(__file__)  # nothing is read from it

else:

    @pytest.mark.skip(reason="TFDS's test case needs TensorFlow and dill.")
    def test_tfds_test_case():
        pass
