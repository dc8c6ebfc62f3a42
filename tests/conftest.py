"""Shared by all tests. One process tests one backend: set KERAS_BACKEND."""

import os
import pathlib

import keras
import numpy as np
import pytest
from hypothesis import settings

# Compiling dominates the first example of each test.
settings.register_profile(
    "default", deadline=None, derandomize=True, max_examples=10
)
settings.load_profile("default")


@pytest.fixture(autouse=True)
def seeded():
    keras.utils.set_random_seed(0)
    yield
    keras.config.set_floatx("float32")
    keras.config.set_dtype_policy("float32")


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def bodies(rng):
    """Twelve systems of five charged bodies, and where they drift to."""
    x = {
        "positions": rng.normal(size=(12, 5, 3)).astype("float32"),
        "velocities": rng.normal(size=(12, 5, 3)).astype("float32"),
        "charges": rng.choice([-1.0, 1.0], size=(12, 5, 1)).astype("float32"),
    }
    return x, x["positions"] + 0.7 * x["velocities"]


@pytest.fixture
def shared_data():
    """Folder of real data for development, where there is one."""
    default = pathlib.Path(__file__).parents[2] / "shared" / "data"
    path = pathlib.Path(os.environ.get("KERAS_REMUL_SHARED_DATA", default))
    if not path.is_dir():
        pytest.skip(
            "no reference data: set KERAS_REMUL_SHARED_DATA to their folder"
        )
    return path
