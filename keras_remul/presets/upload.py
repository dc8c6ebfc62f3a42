"""Uploads presets to hubs and to shared folders."""

from __future__ import annotations

import contextlib
import os
import pathlib
import shutil
import tempfile
from typing import Any

from keras_remul.presets import download, files, hubs
from keras_remul.presets.folder import verify_preset
from keras_remul.presets.resolve import local_folder, resolve
from keras_remul.utils import atomic
from keras_remul.utils.addresses import redact
from keras_remul.utils.typing import StrPath


def upload_preset(path: StrPath, address: str) -> None:
    """Uploads a preset to a hub or a shared folder, after it was verified.

    The files that its metadata.json lists are copied, and the copy is verified
    and uploaded; other files in the folder are not. In a folder, the preset is
    complete or not there.

    Args:
        path: its folder, or a name from `list_presets`.
        address: `hf://owner/name`, with `@branch` or without, or
            `kaggle://owner/model/framework/variation`: you need an account
            there, and must have logged in with the hub's own tool. Or
            `file:///path/name`, which must not exist.

    Raises:
        ValueError: the preset does not pass `verify_preset`; the address is
            neither of a hub nor of a folder; or there is something already in
            its place.
        OSError: the hub cannot be reached, or refuses; the folder cannot be
            written.
        ImportError: the hub's client is not installed.

    Example:

    >>> upload_preset("my_preset", "hf://me/my_preset")
    >>> upload_preset("my_preset", "file:///shared/zoo/my_preset")
    """
    target = _target(address)
    folder, pin = resolve(path)
    with _scratch(target) as scratch:
        copy = scratch / (folder if target is None else target).name
        copy.mkdir()
        for name in (files.METADATA, *files.check_files(folder, pin)["files"]):
            with open(folder / name, "rb") as source:
                with open(copy / name, "wb") as stream:
                    shutil.copyfileobj(source, stream)
                    stream.flush()
                    os.fsync(stream.fileno())
        verify_preset(copy)
        if target is None:
            hubs.upload(copy, address)
            return
        _check_nothing_at(target)
        os.rename(copy, target)


def _target(address):
    """The folder at an address, which must not exist; None for hubs."""
    if not str(address).startswith("file://"):
        hubs.check_target(str(address))
        if download.offline():
            raise ConnectionError(
                "KERAS_REMUL_OFFLINE is set; unset it to upload to "
                f"{redact(address)}."
            )
        return None
    if "#" in address:
        raise ValueError(
            "Expected a file:// address without '#', which stands before a "
            f"hash; in a name it is %23. Received: {redact(address)}"
        )
    target: Any = local_folder(address)  # it is one
    files.check_name(target.name, redact(address))
    _check_nothing_at(target)
    return target


def _check_nothing_at(target):
    if os.path.lexists(target):
        raise ValueError(
            f"{target} exists, and is not overwritten. Give another name, or "
            "move it away."
        )


@contextlib.contextmanager
def _scratch(target):
    """A folder for the copy, on the disk of the target."""
    with contextlib.ExitStack() as stack:
        where = None
        if target is not None:
            atomic.make_folder(target.parent)
            stack.enter_context(atomic.naming(target))
            where = target.parent
        scratch = tempfile.TemporaryDirectory(dir=where, prefix=".upload-")
        yield pathlib.Path(stack.enter_context(scratch))
