"""Presets: models saved as folders that can be verified."""

from typing import TYPE_CHECKING

from keras_remul.utils import late

if TYPE_CHECKING:
    from keras_remul.presets.folder import (
        from_preset,
        read_metadata,
        save_to_preset,
        verify_preset,
    )
    from keras_remul.presets.resolve import download_preset, list_presets
    from keras_remul.presets.upload import upload_preset

_PLACES = {
    "download_preset": "keras_remul.presets.resolve",
    "from_preset": "keras_remul.presets.folder",
    "list_presets": "keras_remul.presets.resolve",
    "read_metadata": "keras_remul.presets.folder",
    "save_to_preset": "keras_remul.presets.folder",
    "upload_preset": "keras_remul.presets.upload",
    "verify_preset": "keras_remul.presets.folder",
}
__getattr__, __dir__ = late.attach(__name__, _PLACES)

__all__ = [
    "download_preset",
    "from_preset",
    "list_presets",
    "read_metadata",
    "save_to_preset",
    "upload_preset",
    "verify_preset",
]
