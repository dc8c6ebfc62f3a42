"""Presets: a model as a folder that proves itself."""

from keras_remul.presets.folder import (
    from_preset,
    list_presets,
    save_to_preset,
    verify_preset,
)

__all__ = ["from_preset", "list_presets", "save_to_preset", "verify_preset"]
