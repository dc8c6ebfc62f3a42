"""From the name or the address of a preset to a folder with its files.

In this order: a local folder; a preset of the package; the cache; a download.
"""

import difflib
import hashlib
import json
import os
import pathlib
import urllib.parse
import urllib.request

from keras_remul.presets import download, files, hubs

MANIFEST = "manifest.json"
ZOO_URL = "KERAS_REMUL_ZOO_URL"


def resolve(name_or_path, zoo=None):
    """The folder of a preset, complete; see `from_preset`."""
    text = os.fspath(name_or_path)
    if "://" in text:
        return _at_address(text)
    if zoo is None:
        for folder in (pathlib.Path(text), bundled() / text):
            if files.is_preset(folder):
                return folder
        zoo = default_zoo()
    presets = read_manifest(zoo, wanted=text) if zoo else {}
    if text not in presets:
        _unknown(text, zoo, presets)
    return _listed(text, presets[text]["files"], zoo)


def list_presets(zoo=None):
    """The names of presets.

    Args:
        zoo: address of a zoo. Defaults to the presets of the package and
            those of the environment variable `KERAS_REMUL_ZOO_URL`.

    Returns:
        A sorted list of names.

    Raises:
        ValueError, OSError: the zoo cannot be read.
    """
    names = set()
    if zoo is None:
        names |= {
            file.parent.name for file in bundled().glob(f"*/{files.METADATA}")
        }
        zoo = default_zoo()
    if zoo:
        names |= set(read_manifest(zoo))
    return sorted(names)


def download_preset(name_or_path, zoo=None):
    """Brings a preset into the cache, where it is not there yet.

    Args:
        name_or_path, zoo: see `from_preset`.

    Returns:
        Its folder, a `pathlib.Path`, all of whose hashes were checked.

    Raises:
        ValueError, OSError: see `from_preset`.
    """
    folder = resolve(name_or_path, zoo)
    files.check_files(folder)
    return folder


def default_zoo():
    """Address of the zoo to download from, or None."""
    return os.environ.get(ZOO_URL) or None


def bundled():
    """In an installed wheel inside the package, in a checkout at its top."""
    package = pathlib.Path(__file__).parents[1]
    installed = package / "_zoo"
    return installed if installed.is_dir() else package.parent / "zoo"


def read_manifest(zoo, wanted=None):
    """The presets of a zoo: name -> files and a summary.

    A copy stays in the cache. It is asked first for a preset that is
    `wanted`, and alone where there is no network.

    Raises:
        ValueError: the manifest is not one.
        OSError: it could not be downloaded.
    """
    local = _local(zoo)
    if local is not None:
        return _check_manifest(files.read_json(local / MANIFEST), zoo)
    _check_scheme(zoo)
    copy = download.cache_folder() / "manifests" / f"{_digest(zoo)}.json"
    if copy.is_file():
        presets = _check_manifest(files.read_json(copy), copy)
        if wanted in presets or (wanted is None and download.offline()):
            return presets
    content, raw = download.fetch_json(f"{zoo.rstrip('/')}/{MANIFEST}")
    presets = _check_manifest(content, zoo)
    try:
        copy.parent.mkdir(parents=True, exist_ok=True)
        temporary = copy.with_suffix(f".{os.getpid()}")
        temporary.write_bytes(raw)
        os.replace(temporary, copy)
    except OSError:
        pass  # a cache that cannot be written only costs time
    return presets


def _check_manifest(content, where):
    presets = content.get("presets")
    if not isinstance(presets, dict):
        raise ValueError(f"{where}/{MANIFEST} holds no presets.")
    for name, entry in presets.items():
        files.check_name(name, f"{where}/{MANIFEST}")
        if not isinstance(entry, dict):
            raise ValueError(f"{where}/{MANIFEST} says nothing of {name}.")
        files.check_listing(entry.get("files"), f"{where}/{MANIFEST}")
    return presets


def _listed(name, listing, zoo):
    """The folder of a preset whose files are listed with their hashes."""
    local = _local(zoo)
    if local is None:
        digest = _digest(json.dumps(listing, sort_keys=True))
        folder = download.cache_folder() / "presets" / f"{name}-{digest}"
        download.fetch_files(f"{zoo.rstrip('/')}/{name}", listing, folder)
        return folder
    if not download.is_complete(local / name, listing):
        raise ValueError(
            f"The files of {local / name} are not those of {MANIFEST}."
        )
    return local / name


def _at_address(address):
    scheme, _, rest = address.partition("://")
    if scheme == "hf":
        return hubs.from_hugging_face(rest)
    if scheme == "kaggle":
        return hubs.from_kaggle(rest)
    local = _local(address)
    if local is not None:
        if not files.is_preset(local):
            raise ValueError(f"{address} holds no {files.METADATA}.")
        return local
    _check_scheme(address)
    base, _, fragment = address.partition("#")
    base = base.rstrip("/")
    known = fragment.removeprefix("sha256=") or None
    name = urllib.parse.urlsplit(base).path.rpartition("/")[2]
    files.check_name(name, address)
    # The metadata list all other files; they are the root of the trust, and
    # `#sha256=` pins them.
    copy = download.cache_folder() / "addresses" / _digest(address)
    cached = copy / files.METADATA
    if cached.is_file() and (
        files.sha256(cached) == known or download.offline()
    ):
        facts, raw = files.read_json(cached), cached.read_bytes()
    else:
        facts, raw = download.fetch_json(f"{base}/{files.METADATA}", known)
    files.check_listing(facts.get("files"), f"{base}/{files.METADATA}")
    listing = {
        **facts["files"],
        files.METADATA: {
            "sha256": hashlib.sha256(raw).hexdigest(),
            "size": len(raw),
        },
    }
    download.fetch_files(base, listing, copy)
    return copy


def _local(address):
    """The folder of a file:// address or a path, or None for another."""
    if address.startswith("file://"):
        path = urllib.parse.urlsplit(address).path
        return pathlib.Path(urllib.request.url2pathname(path))
    return None if "://" in address else pathlib.Path(address)


def _check_scheme(address):
    if not address.startswith(("https://", "http://")):
        raise ValueError(
            f"{address} is no address of presets. Known are https://, "
            "http://, file://, hf://owner/name@revision and "
            "kaggle://owner/model/framework/variation."
        )


def _digest(text):
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _unknown(name, zoo, presets):
    names = sorted(set(presets) | set(list_presets(zoo)))
    near = difflib.get_close_matches(name, names, n=3)
    raise ValueError(
        f"No preset {name!r}: there is no such folder with a "
        f"{files.METADATA}, and no such name among the {len(names)} presets "
        f"of {zoo or 'the package'}. "
        + (f"Nearest names: {near}. " if near else "")
        + ("" if zoo else f"For another zoo set {ZOO_URL} or give `zoo`.")
    )
