"""Presets on the hubs of Hugging Face and Kaggle, through their own clients."""

import importlib
import pathlib

from keras_remul.presets import download, files

# Hubs add files of their own to a folder; these are a preset's.
_PATTERNS = ["*.json", "*.h5", "*.npz", "*.md", "*.png"]


def _client(module, extra):
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(
            f"Presets at {extra}:// need the package {module}: "
            f'pip install "keras-remul[{extra}]"'
        ) from error


def split_revision(address):
    """`owner/name@revision` as two parts; the revision may be missing."""
    repository, _, revision = address.partition("@")
    if repository.count("/") != 1 or "" in repository.split("/"):
        raise ValueError(
            "Expected hf://owner/name or hf://owner/name@revision. Received: "
            f"hf://{address}"
        )
    return repository, revision or None


def from_hugging_face(address):
    """The folder of `owner/name@revision`, from its cache or the hub."""
    repository, revision = split_revision(address)
    hub = _client("huggingface_hub", "hf")
    try:
        folder = hub.snapshot_download(
            repository,
            revision=revision,
            allow_patterns=_PATTERNS,
            local_files_only=download.offline(),
        )
    except (hub.errors.HfHubHTTPError, hub.errors.LocalEntryNotFoundError) as e:
        raise OSError(f"hf://{address} could not be downloaded: {e}") from e
    return _checked(folder, f"hf://{address}")


def from_kaggle(address):
    """The folder of `owner/model/framework/variation[/version]`."""
    if address.count("/") not in (3, 4):
        raise ValueError(
            "Expected kaggle://owner/model/framework/variation, with "
            f"/version or without. Received: kaggle://{address}"
        )
    hub = _client("kagglehub", "kaggle")
    if download.offline():
        raise ConnectionError(
            "KERAS_REMUL_OFFLINE is set, and Kaggle's client has no offline "
            "mode. Give the folder of the preset in its cache instead of "
            f"kaggle://{address}."
        )
    try:
        folder = hub.model_download(address)
    except (hub.exceptions.KaggleApiHTTPError, OSError) as error:
        raise OSError(
            f"kaggle://{address} could not be downloaded: {error}"
        ) from error
    return _checked(folder, f"kaggle://{address}")


def _checked(folder, address):
    folder = pathlib.Path(folder)
    if not files.is_preset(folder):
        raise ValueError(f"{address} is not a preset: no {files.METADATA}.")
    return folder


def upload(folder, address):
    """Copies a preset folder to a hub; see `upload_preset`."""
    scheme, _, rest = address.partition("://")
    if scheme == "hf":
        repository, revision = split_revision(rest)
        hub = _client("huggingface_hub", "hf")
        hub.create_repo(repository, exist_ok=True)
        hub.upload_folder(
            repo_id=repository,
            folder_path=folder,
            revision=revision,
            allow_patterns=_PATTERNS,
            commit_message="keras_remul preset",
        )
    elif scheme == "kaggle":
        _client("kagglehub", "kaggle").model_upload(rest, str(folder))
    else:
        raise ValueError(
            "Presets are uploaded to hf://owner/name or "
            "kaggle://owner/model/framework/variation. Received: "
            f"{address!r}"
        )
