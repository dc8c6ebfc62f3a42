"""The methods of models that have to do with presets.

Models know nothing of presets, which know models: so the methods are given to
the base classes here, when the package is imported.
"""

import keras

from keras_remul.models.base import NodeModel
from keras_remul.models.wrappers.base import Wrapper
from keras_remul.presets.folder import from_preset, save_to_preset
from keras_remul.training import RemulModel
from keras_remul.utils.web import redact

MODELS = (NodeModel, Wrapper, RemulModel)


def _from_preset(cls, name_or_path, zoo=None, packages=()):
    """Loads a preset of this class; see `keras_remul.from_preset`.

    The package of this class is trusted, with `packages`.

    Raises:
        ValueError: the preset is of another class; see there for others.
    """
    own = keras.saving.get_registered_name(cls).rpartition(">")[0]
    model = from_preset(name_or_path, zoo, {own, *packages} - {""})
    if not isinstance(model, cls):
        found = type(model).__name__
        raise ValueError(
            f"Preset {redact(name_or_path)!r} is a {found}, not a "
            f"{cls.__name__}. Use {found}.from_preset or "
            "keras_remul.from_preset."
        )
    return model


def _save_to_preset(self, path, **kwargs):
    """Writes a preset; see `keras_remul.save_to_preset`."""
    save_to_preset(self, path, **kwargs)


def add_to_models():
    """Gives the base classes of models `from_preset` and `save_to_preset`."""
    for model in MODELS:
        model.from_preset = classmethod(_from_preset)
        model.save_to_preset = _save_to_preset
