"""The methods of models that have to do with presets."""

import keras

from keras_remul import web
from keras_remul.presets.folder import from_preset, save_to_preset


class PresetMethods:
    """Adds `from_preset` and `save_to_preset` to a Keras model."""

    @classmethod
    def from_preset(cls, name_or_path, zoo=None, packages=()):
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
                f"Preset {web.redact(name_or_path)!r} is a {found}, not a "
                f"{cls.__name__}. Use {found}.from_preset or "
                "keras_remul.from_preset."
            )
        return model

    def save_to_preset(self, path, **kwargs):
        """Writes a preset; see `keras_remul.save_to_preset`."""
        save_to_preset(self, path, **kwargs)
