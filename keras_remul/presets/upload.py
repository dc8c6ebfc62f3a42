"""Presets for others."""

from keras_remul.presets import hubs
from keras_remul.presets.folder import verify_preset
from keras_remul.presets.resolve import resolve


def upload_preset(path, address):
    """Puts a preset on a hub, after it has proved itself.

    Args:
        path: its folder, or a name from `list_presets`.
        address: `hf://owner/name`, with `@branch` or without, or
            `kaggle://owner/model/framework/variation`. You need an account
            there, and must have logged in with the hub's own tool.

    Raises:
        ValueError: the preset does not pass `verify_preset`, or the address
            is not of a hub.
        ImportError: the hub's client is not installed.

    Example:

    >>> upload_preset("my_preset", "hf://me/my_preset")
    """
    verify_preset(path)
    hubs.upload(resolve(path), address)
