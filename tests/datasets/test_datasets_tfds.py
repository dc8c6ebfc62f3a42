"""TFDS's own test case for each builder, on files written here."""

import atexit
import importlib.util
import pathlib
import tempfile

import keras
import pytest
import test_datasets_jets as jets
import test_datasets_mocap as mocap
import test_datasets_molecules as molecules
import test_datasets_nbody as nbody
import test_datasets_potentials as potentials

from keras_remul.datasets import registry

# `tfds.testing` imports dill, which TFDS itself does not ask for.
if keras.backend.backend() != "tensorflow" or not importlib.util.find_spec(
    "dill"
):
    pytest.skip(
        "TFDS's test case needs TensorFlow and dill.", allow_module_level=True
    )

import tensorflow_datasets as tfds

FOLDER = tempfile.TemporaryDirectory()
atexit.register(FOLDER.cleanup)
MANUAL = pathlib.Path(FOLDER.name)


def case(dataset, config, sizes, **attributes):
    """The test case of a builder."""
    return type(
        f"Test_{dataset}",
        (tfds.testing.DatasetBuilderTestCase,),
        {
            "DATASET_CLASS": registry.builder_class(dataset),
            "BUILDER_CONFIG_NAMES_TO_TEST": [config],
            "SPLITS": dict(
                zip(("train", "validation", "test"), sizes, strict=False)
            ),
            "EXAMPLE_DIR": str(MANUAL),
            **attributes,
        },
    )


mocap.write_subject(MANUAL)
molecules.write_md17(MANUAL)
molecules.write_rmd17(MANUAL)
molecules.write_chunks(MANUAL)
jets.write_files(MANUAL)
potentials.write_organic(MANUAL)

TestNbodyCharged = case("nbody_charged", nbody.small_config(), (5, 3, 2))
TestNbodyGravity = case(
    "nbody_gravity",
    "tiny",
    (16, 8, 8),
    SPLITS={"train": 16, "validation": 8, "test": 8, "test_ood": 8},
)
TestCmuMocap = case("cmu_mocap", mocap.config(), (7, 7, 7))
TestMd17 = case("md17", molecules.config(), (20, 10, 10))
TestRmd17 = case("rmd17", molecules.config(), (20, 10, 10))
TestXtbOrganic = case(
    "xtb_organic",
    "tiny",
    (),
    SPLITS={
        "train": 4,
        "validation": 2,
        "test": 2,
        "test_large": 2,
        "test_hot": 2,
    },
)
TestXtbMd = case("xtb_md", "tiny", (20, 10, 10))
TestTopJets = case("top_jets", "reference", (6, 4, 4))
if importlib.util.find_spec("jplephem") and importlib.util.find_spec("de421"):
    # jplephem opens files by their names, which the test case forbids.
    TestSolarSystem = case(
        "solar_system",
        "tiny",
        (28, 14, 14),
        MOCK_OUT_FORBIDDEN_OS_FUNCTIONS=False,
    )
