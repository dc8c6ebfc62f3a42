"""Presets on the hubs of Hugging Face and Kaggle, through their own clients.

A branch or the newest version can change. A warning names the commit or version
that it refers to now; the cache stores it, to detect changes.
"""

import contextlib
import importlib
import os
import pathlib
import re
import warnings
from typing import Any

from keras_remul.presets import download, files
from keras_remul.utils.addresses import redact
from keras_remul.utils.plain_files import read_json
from keras_remul.utils.web import UnreachedError, check_reached, in_time

_COMMIT = re.compile(r"[0-9a-f]{40}")


def _client(module, extra):
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(
            f"Presets at {extra}:// need the package {module}: "
            f'pip install "keras-remul[{extra}]"'
        ) from error


def _reached():
    """Whether the hub of Hugging Face answers; else its client tries long."""
    try:
        check_reached(os.environ.get("HF_ENDPOINT") or "https://huggingface.co")
    except UnreachedError:
        return False
    return True


def split_revision(address):
    """`owner/name@revision` as two parts; the revision may be missing."""
    repository, _, revision = address.partition("@")
    if repository.count("/") != 1 or "" in repository.split("/"):
        raise ValueError(
            "Expected hf://owner/name or hf://owner/name@revision. Received: "
            f"{redact(f'hf://{address}')}"
        )
    return repository, revision or None


def from_hugging_face(address, pinned=False):
    """The folder of `owner/name@revision`, from its cache or the hub.

    Args:
        address: the part after hf://.
        pinned: whether the caller compares a hash. If not, and if the revision
            is not a commit, a warning names the commit.

    Raises:
        ValueError: there is no preset, or its files differ from its metadata.
        OSError: it could not be downloaded.
        ImportError: the hub's client is not installed.
    """
    repository, revision = split_revision(address)
    hub = _client("huggingface_hub", "hf")
    whole = f"hf://{address}"
    local = download.offline() or not _reached()

    def get(names, revision, again, deadline):
        def work():
            return hub.snapshot_download(
                repository,
                revision=revision,
                allow_patterns=names,
                local_files_only=local,
                force_download=again,
            )

        return pathlib.Path(in_time(work, whole, deadline))

    def sizes_at(commit):
        found = hub.HfApi().list_repo_tree(repository, revision=commit)
        return {file.path: getattr(file, "size", None) for file in found}

    def get_all(again):
        # A branch is looked up once: all files are of this commit.
        deadline = download.deadline()
        folder = get([files.METADATA], revision, again, deadline)
        listing = _listing(folder, whole)
        commit = folder.name
        if not (local or download.is_complete(folder, listing)):
            sizes = in_time(lambda: sizes_at(commit), whole, deadline)
            _check_sizes(sizes, listing, whole)
        deadline = download.deadline(listing)
        return get([files.METADATA, *listing], commit, again, deadline)

    folder = _whole(get_all, whole, local)
    if not _COMMIT.fullmatch(revision or "") and not pinned:
        _tell(whole, folder.name, f"hf://{repository}@{folder.name}")
    return folder


def from_kaggle(address, pinned=False):
    """The folder of `owner/model/framework/variation[/version]`.

    Args, Raises: see `from_hugging_face`.
    """
    parts = address.split("/")
    if len(parts) not in (4, 5):
        raise ValueError(
            "Expected kaggle://owner/model/framework/variation, with "
            f"/version or without. Received: {redact(f'kaggle://{address}')}"
        )
    download.check_online(
        f"kaggle://{address}",
        "give the folder of the preset in the cache of Kaggle's client, which "
        "has no offline mode",
    )
    hub = _client("kagglehub", "kaggle")
    whole = f"kaggle://{address}"

    def get(name, address, again, deadline):
        def work():
            return hub.model_download(address, name, force_download=again)

        return pathlib.Path(in_time(work, whole, deadline)).parent

    def get_all(again):
        # The newest version is looked up once. Files that are not listed are
        # left there.
        folder = get(files.METADATA, address, again, download.deadline())
        listing = _listing(folder, whole)
        download.check_total(whole, listing)
        version, deadline = folder.name, download.deadline(listing)
        for name in listing:
            get(name, "/".join([*parts[:4], version]), again, deadline)
        return folder

    folder = _whole(get_all, whole)
    if len(parts) == 4 and not pinned:
        _tell(whole, folder.name, f"{whole}/{folder.name}")
    return folder


def _whole(get_all, address, local=False):
    """The files from a client; downloaded again if its cache is damaged."""
    what = f"{address} could not be downloaded"
    if download.offline():
        what += ", for KERAS_REMUL_OFFLINE is set"
    elif local:
        what += ", for the hub cannot be reached, and it is not in the cache"
    try:
        with _errors_of_client(what):
            return _checked(get_all(False), address)
    except ValueError:
        if local or download.offline():
            raise
    with _errors_of_client(what):
        return _checked(get_all(True), address)


def _checked(folder, address):
    if not download.is_complete(folder, _listing(folder, address)):
        raise ValueError(
            f"{redact(address)} is damaged: the files in {folder} are not "
            f"those that its {files.METADATA} lists."
        )
    return folder


def _listing(folder, address):
    if not files.is_preset(folder):
        raise ValueError(
            f"{redact(address)} is not a preset: no {files.METADATA}."
        )
    file = folder / files.METADATA
    try:
        listing: Any = read_json(file).get("files")
        files.check_listing(listing, file)
    except ValueError as error:
        raise ValueError(f"{redact(address)} is damaged: {error}") from None
    return listing


def _check_sizes(sizes, listing, address):
    for name, facts in listing.items():
        if sizes.get(name) != facts["size"]:
            raise ValueError(
                f"{redact(address)} lists {facts['size']} bytes of {name}; "
                f"the hub holds {sizes.get(name, 'none')}."
            )
    download.check_total(address, listing)


def _tell(address, now, fixed):
    """Warns that an address can change, and stores its current target."""
    before = (download.kept(address) or b"").decode()
    download.keep(address, now.encode())
    changed = before not in ("", now)
    warnings.warn(
        f"{redact(address)} can change: it refers to {now} now"
        + (f", and referred to {before} before" if changed else "")
        + f". To load the same files always, write {fixed}",
        stacklevel=2,
    )


@contextlib.contextmanager
def _errors_of_client(what):
    """Turns errors of a hub's client into an OSError with the address."""
    try:
        yield
    except (ValueError, TimeoutError):
        raise
    except Exception as error:
        text = " ".join(redact(error).split())
        raise OSError(f"{redact(what)}: {text}") from None


def check_target(address):
    """Raises ValueError unless a preset can be uploaded to this address."""
    scheme, _, rest = address.partition("://")
    if scheme == "hf":
        split_revision(rest)
    elif scheme != "kaggle" or len(rest.split("/")) != 4:
        raise ValueError(
            "Expected hf://owner/name, "
            "kaggle://owner/model/framework/variation or file:///path/name, to "
            f"which presets are uploaded. Received: {redact(address)}"
        )


def upload(folder, address):
    """Copies a folder to a hub; see `upload_preset`."""
    scheme, _, rest = address.partition("://")
    what = f"{address} could not be written"
    if scheme == "hf":
        repository, revision = split_revision(rest)
        hub = _client("huggingface_hub", "hf")
        with _errors_of_client(what):
            hub.create_repo(repository, exist_ok=True)
            hub.upload_folder(
                repo_id=repository,
                folder_path=folder,
                revision=revision,
                commit_message="keras_remul preset",
            )
    else:
        hub = _client("kagglehub", "kaggle")
        with _errors_of_client(what):
            hub.model_upload(rest, str(folder))
