"""Shared by all tests. One process tests one backend: set KERAS_BACKEND."""

import contextlib
import gc
import os
import pathlib
import shutil

import keras
import numpy as np
import pytest
from hypothesis import settings
from presets_zoo import make_zoo
from web import serve

from keras_remul.utils import web

# Compiling dominates the first example of each test.
settings.register_profile(
    "default", deadline=None, derandomize=True, max_examples=10
)
settings.load_profile("default")


# Where the tests that do not depend on the backend run: they take least there.
ONCE_ON = "torch"


def pytest_addoption(parser):
    parser.addoption(
        "--part",
        choices=["all", "each", "once"],
        default="all",
        help="each: what every backend runs. once: what no backend matters "
        f"for, which runs on {ONCE_ON} only. The two together are all.",
    )


def pytest_collection_modifyitems(config, items):
    part = config.getoption("part")
    if keras.backend.backend() != ONCE_ON:
        part = "each"
    if part == "all":
        return
    reasons = {
        "each": f"no matter of the backend: once, on {ONCE_ON}",
        "once": "in the part that every backend runs",
    }
    skip = pytest.mark.skip(reason=reasons[part])
    for item in items:
        once = item.get_closest_marker("backend_independent") is not None
        if once != (part == "once"):
            item.add_marker(skip)


def pytest_sessionstart():
    """TensorFlow leaves graphs as they are traced, since each runs few times.

    To improve them takes a tenth of the time of tests that train.
    """
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.optimizer.set_experimental_options(
            {"disable_meta_optimizer": True}
        )


def pytest_collection_finish():
    """The collector of garbage leaves the imported modules alone.

    Tracing makes so many objects that it else looks through those of the
    framework again and again, for a tenth of all the time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 50, 100)


@pytest.fixture(autouse=True)
def seeded():
    keras.utils.set_random_seed(0)
    yield
    keras.config.set_floatx("float32")
    keras.config.set_dtype_policy("float32")


@pytest.fixture
def float64(seeded):
    """All in float64, of which JAX has none unless it is told; see `seeded`."""
    with contextlib.ExitStack() as stack:
        if keras.backend.backend() == "jax":
            import jax

            stack.enter_context(jax.enable_x64(True))
        keras.config.set_floatx("float64")
        keras.config.set_dtype_policy("float64")
        yield


@pytest.fixture
def untraced(request, monkeypatch):
    """Keras on TensorFlow computes its steps without tracing them first.

    Tracing a step takes as long as computing ten. For tests of numbers alone;
    that models and steps can be traced is shown by those without this fixture,
    and by those of the marker `traced` in a file that has it.
    """
    traced = request.node.get_closest_marker("traced")
    if keras.backend.backend() == "tensorflow" and not traced:
        always = property(lambda model: True, lambda model, value: None)
        monkeypatch.setattr(keras.Model, "run_eagerly", always)


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


@pytest.fixture(scope="session")
def original_zoo(tmp_path_factory):
    return make_zoo(tmp_path_factory.mktemp("zoo"))


@pytest.fixture
def zoo(original_zoo, tmp_path):
    """A folder with one preset, `small`, and its manifest."""
    return pathlib.Path(shutil.copytree(original_zoo, tmp_path / "zoo"))


@pytest.fixture
def server(zoo):
    with serve(zoo) as server:
        yield server


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache of presets; a second attempt follows at once."""
    monkeypatch.setenv("KERAS_REMUL_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("KERAS_REMUL_ZOO_URL", raising=False)
    monkeypatch.delenv("KERAS_REMUL_OFFLINE", raising=False)
    monkeypatch.setattr(web, "RETRIES", 1)
    monkeypatch.setattr(web, "PAUSE", 0)
    monkeypatch.setattr(web, "CHUNK", 2**8)  # the files are small
    return tmp_path / "cache"
