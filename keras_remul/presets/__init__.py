"""Presets: models saved as folders that can be verified."""

from keras_remul.presets.folder import (
    from_preset,
    read_metadata,
    save_to_preset,
    verify_preset,
)
from keras_remul.presets.methods import add_to_models
from keras_remul.presets.resolve import download_preset, list_presets
from keras_remul.presets.upload import upload_preset

__all__ = [
    "download_preset",
    "from_preset",
    "list_presets",
    "read_metadata",
    "save_to_preset",
    "upload_preset",
    "verify_preset",
]

add_to_models()
