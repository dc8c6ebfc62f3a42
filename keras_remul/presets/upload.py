"""Uploads presets to hubs."""

import pathlib
import shutil
import tempfile

from keras_remul.presets import download, files, hubs
from keras_remul.presets.folder import verify_preset
from keras_remul.presets.resolve import resolve
from keras_remul.utils.addresses import redact


def upload_preset(path, address):
    """Uploads a preset to a hub, after it has been verified.

    The files that its metadata.json lists are copied, and the copy is verified
    and uploaded; other files in the folder are not.

    Args:
        path: its folder, or a name from `list_presets`.
        address: `hf://owner/name`, with `@branch` or without, or
            `kaggle://owner/model/framework/variation`. You need an account
            there, and must have logged in with the hub's own tool.

    Raises:
        ValueError: the preset does not pass `verify_preset`, or the address
            is not of a hub.
        OSError: the hub cannot be reached, or refuses.
        ImportError: the hub's client is not installed.

    Example:

    >>> upload_preset("my_preset", "hf://me/my_preset")
    """
    hubs.check_target(address)
    if download.offline():
        raise ConnectionError(
            "KERAS_REMUL_OFFLINE is set; unset it to upload to "
            f"{redact(address)}."
        )
    folder, pin = resolve(path)
    with tempfile.TemporaryDirectory() as scratch:
        copy = pathlib.Path(scratch) / folder.name
        copy.mkdir()
        for name in (files.METADATA, *files.check_files(folder, pin)["files"]):
            shutil.copyfile(folder / name, copy / name)
        verify_preset(copy)
        hubs.upload(copy, address)
