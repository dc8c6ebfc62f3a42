"""A zoo of one small preset, for the tests of downloads."""

import json

import keras
import numpy as np

from keras_remul import save_to_preset
from keras_remul.presets import files

NAME = "small"
WEIGHTS = f"/{NAME}/model.weights.h5"


def make_zoo(folder):
    """Writes the preset and its manifest."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    x = np.ones((2, 3), "float32")
    save_to_preset(model, folder / NAME, x=x)
    write_manifest(folder)
    return folder


def write_manifest(zoo, **changes):
    """Lists what is there, and what `changes` say in place of it."""
    listing = {**files.describe(zoo / NAME), **changes}
    content = {"format": 1, "presets": {NAME: {"files": listing}}}
    (zoo / "manifest.json").write_text(json.dumps(content))


def kept(cache):
    """The files of presets in the cache."""
    return sorted(file.name for file in cache.glob("presets/*/*"))


def parts(cache):
    """Files that are being written."""
    return sorted(cache.glob("**/.*"))
