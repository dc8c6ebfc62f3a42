"""What `keras-remul doctor` tries with Keras, in a process of its own.

A framework that is broken may end the process that imports it; the doctor has
to live on.
"""

import json

import keras
import numpy as np

from keras_remul import models
from keras_remul.backend import devices
from keras_remul.presets import resolve
from keras_remul.presets.folder import verify_preset
from keras_remul.utils.addresses import redact


def one_step():
    """A model of the library makes one training step on this backend."""
    x = {"positions": np.ones((2, 3, 3), "float32")}
    model = models.Transformer(num_layers=1, hidden_dim=8, num_heads=2)
    model.compile("sgd", loss="mse")
    loss = model.train_on_batch(x, x["positions"])
    if not np.isfinite(loss):
        raise ValueError(f"the loss of one step is {loss}")


def verify_presets():
    """The presets of the package give their stored outputs."""
    for name in resolve.list_presets():
        if (resolve.bundled() / name).is_dir():
            verify_preset(name)


CHECKS = {
    "one training step": one_step,
    "the presets of the package": verify_presets,
}


def report():
    """Dict with facts, and what is wrong for each check, None if nothing is."""
    wrong = {}
    for name, check in CHECKS.items():
        try:
            check()
            wrong[name] = None
        except Exception as error:  # whatever it is, it is to be told
            wrong[name] = f"{type(error).__name__}: {redact(error)}"
    facts = {
        "backend in use": keras.backend.backend(),
        "devices": ", ".join(devices.names()),
        "precision": keras.config.floatx(),
    }
    return {"facts": facts, "wrong": wrong}


if __name__ == "__main__":
    print(json.dumps(report()))
