"""Finds the folder of a preset from its name or address.

It is looked for in this order: a local folder; the presets in the package; the
cache; a download. The package lists the hashes of all published presets, and
holds the files of a few.
"""

from __future__ import annotations

import contextlib
import difflib
import functools
import hashlib
import json
import os
import pathlib
import re
import urllib.parse
import urllib.request
from typing import Any

from keras_remul.presets import download, files, hubs
from keras_remul.utils.addresses import join, redact
from keras_remul.utils.plain_files import parse_json, read_json
from keras_remul.utils.typing import StrPath

MANIFEST = "manifest.json"
ZOO_URL = "KERAS_REMUL_ZOO_URL"


def resolve(name_or_path, zoo=None):
    """The folder of a preset, for `files.opened` and `files.check_files`.

    Args:
        name_or_path, zoo: see `from_preset`.

    Returns:
        Its folder, complete, and the sha256 that its metadata must have, or
        None if that is not known.

    Raises:
        ValueError, OSError: see `from_preset`.
    """
    text = _text(name_or_path, "name_or_path")
    if "://" in text:
        return _at_address(text)
    own_zoo = zoo is not None
    if not own_zoo:
        for folder in (_path(text), bundled() / text):
            if files.is_preset(folder):
                return folder, None
        zoo = default_zoo()
        if text in index():
            return _listed(text, index()[text]["files"], zoo)
    with _naming(text):
        presets = read_manifest(zoo, wanted=text) if zoo else {}
    if text not in presets:
        _unknown(text, zoo, presets, own_zoo)
    listing = presets[text]["files"]
    try:
        return _listed(text, listing, zoo)
    except (ValueError, FileNotFoundError):
        # The copy of the manifest may be of before the zoo was changed.
        presets = read_manifest(zoo)
        if text not in presets:
            _unknown(text, zoo, presets, own_zoo)
        if presets[text]["files"] == listing:
            raise
    return _listed(text, presets[text]["files"], zoo)


def list_presets(zoo: str | None = None) -> list[str]:
    """The names of presets.

    Args:
        zoo: address of a zoo. Defaults to the published presets, of which the
            package holds a few and the hashes of all, and those of the
            environment variable `KERAS_REMUL_ZOO_URL`.

    Returns:
        A sorted list of names.

    Raises:
        ValueError, OSError: the zoo cannot be read.
    """
    names = set()
    if zoo is None:
        names |= {*bundled_names(), *index()}
        zoo = default_zoo()
    if zoo:
        names |= set(read_manifest(zoo))
    return sorted(names)


def download_preset(
    name_or_path: StrPath, zoo: str | None = None
) -> pathlib.Path:
    """Downloads a preset into the cache, unless it is there.

    Args:
        name_or_path, zoo: see `from_preset`.

    Returns:
        Its folder, a `pathlib.Path`, all of whose hashes were checked.

    Raises:
        ValueError, OSError: see `from_preset`.
    """
    folder, pin = resolve(name_or_path, zoo)
    files.check_files(folder, pin)
    return folder


def default_zoo():
    """Address of the zoo to download from, or None."""
    return os.environ.get(ZOO_URL) or None


def bundled():
    """The zoo: inside an installed package, or at the top of a checkout."""
    package = pathlib.Path(__file__).parents[1]
    installed = package / "_zoo"
    return installed if installed.is_dir() else package.parent / "zoo"


def bundled_names():
    """The names of the presets whose files are here, a set."""
    return {file.parent.name for file in bundled().glob(f"*/{files.METADATA}")}


def index():
    """The published presets, as the package lists them; see `read_manifest`."""
    file = bundled() / MANIFEST
    return _index(file, file.stat().st_mtime_ns) if file.is_file() else {}


@functools.lru_cache(maxsize=1)
def _index(file, _changed):
    return _check_manifest(read_json(file), file)


def read_manifest(zoo, wanted=None):
    """The presets of a zoo: name -> files and a summary.

    A copy is kept in the cache. It is tried first for a `wanted` preset, and is
    the only source without network.

    Raises:
        ValueError: the manifest is not valid, or `zoo` is not the address of
            one.
        OSError: it could not be downloaded.
    """
    zoo = _text(zoo, "zoo")
    start, mark, _ = zoo.partition("#")
    if mark and "://" in zoo:
        raise ValueError(
            f"{redact(start)}#... has a '#', which pins nothing in the address "
            "of a zoo. Leave it out, or pin the address of a preset."
        )
    local = local_folder(zoo)
    if local is not None:
        file = local / MANIFEST
        if not file.is_file():
            raise ValueError(f"{local} is not a zoo: it holds no {MANIFEST}.")
        return _check_manifest(read_json(file), file)
    _check_url(zoo, "a zoo is an https:// or http:// address, or a folder")
    url = join(zoo, MANIFEST)
    copy = _kept_manifest(url)
    if copy is not None and (wanted in copy or download.offline()):
        return copy
    raw = download.fetch(url)
    presets = _check_manifest(parse_json(raw, redact(url)), url)
    download.keep(url, raw)
    return presets


def _kept_manifest(url):
    raw = download.kept(url)
    if raw is None:
        return None
    try:
        return _check_manifest(parse_json(raw, redact(url)), url)
    except ValueError:  # of another version of this package
        return None


def _check_manifest(content, where):
    where = redact(where)
    presets = content.get("presets")
    if not isinstance(presets, dict):
        raise ValueError(f"{where} holds no presets.")
    for name, entry in presets.items():
        files.check_name(name, where)
        if not isinstance(entry, dict):
            raise ValueError(f"{where} says nothing of {name}.")
        listing: Any = entry.get("files")
        files.check_listing(listing, where)
        if files.METADATA not in listing:
            raise ValueError(
                f"{where} does not list the {files.METADATA} of {name}."
            )
    return presets


def _listed(name, listing, zoo):
    """The folder of a preset whose files are listed with their hashes.

    Without a zoo it is found in the cache only.
    """
    pin = listing[files.METADATA]["sha256"]
    local = None if zoo is None else local_folder(zoo)
    if local is None:
        digest = download.digest(json.dumps(listing, sort_keys=True))
        folder = download.cache_folder() / "presets" / f"{name}-{digest}"
        _complete(name, listing, zoo, folder)
        return folder, pin
    if not download.is_complete(local / name, listing):
        raise ValueError(
            f"The files of {local / name} are not those of {MANIFEST}."
        )
    return local / name, pin


def _complete(name, listing, zoo, folder):
    """Downloads what is missing in a folder of the cache."""
    if zoo is None:
        if not download.is_complete(folder, listing):
            raise ValueError(
                f"Preset {name!r} is not among the {len(bundled_names())} in "
                f"the package, nor in the cache {download.cache_folder()}, and "
                f"no zoo is known to download it from: set {ZOO_URL}, or give "
                "`zoo`."
            )
        return
    with _naming(name):
        download.fetch_files(join(zoo, name), listing, folder)


@contextlib.contextmanager
def _naming(name):
    """Adds to errors of the network which preset is missing, and where."""
    try:
        yield
    except (ConnectionError, TimeoutError) as error:
        said = " ".join(str(error).split())
        raise type(error)(
            f"Preset {redact(name)!r} was not found in the cache "
            f"{download.cache_folder()}: {said}"
        ) from None


def _at_address(address):
    address, pin = _split_pin(address)
    scheme, _, rest = address.partition("://")
    local = local_folder(address)
    if scheme == "hf":
        folder = hubs.from_hugging_face(rest, pinned=pin is not None)
    elif scheme == "kaggle":
        folder = hubs.from_kaggle(rest, pinned=pin is not None)
    elif local is not None:
        folder = local
        if not files.is_preset(local):
            raise ValueError(f"{address} holds no {files.METADATA}.")
    else:
        return _on_the_web(address, pin)
    if pin is not None and files.sha256(folder / files.METADATA) != pin:
        raise ValueError(
            f"{redact(address)} is not the preset that #sha256={pin} pins: "
            f"its {files.METADATA} has another hash."
        )
    return folder, pin


def _split_pin(address):
    """Splits an address into the part before `#`, and the hash or None."""
    address, mark, fragment = address.partition("#")
    if not mark:
        return address, None
    found = re.fullmatch(r"sha256=([0-9a-fA-F]{64})", fragment)
    if not found:
        # What stands there is not shown, for it may be a secret.
        raise ValueError(
            f"{redact(address)}#... must end in #sha256= and the 64 "
            f"hexadecimal digits of the sha256 of its {files.METADATA}."
        )
    return address, found[1].lower()


def _on_the_web(address, pin):
    _check_url(
        address,
        "presets are at https://, http://, file://, hf://owner/name@revision "
        "and kaggle://owner/model/framework/variation",
    )
    base, _, name = (
        urllib.parse.urlsplit(address).path.rstrip("/").rpartition("/")
    )
    files.check_name(name, redact(address))
    # The metadata list all other files; they are the root of the trust, and
    # `#sha256=` pins them.
    url = join(address, files.METADATA)
    key = url if pin is None else f"{url}#sha256={pin}"
    raw = download.kept(key)
    unpinned = pin is None and download.offline()
    if raw is None or not (unpinned or _sha256(raw) == pin):
        raw = download.fetch(url, pin)
    facts = parse_json(raw, redact(url))
    files.check_listing(facts.get("files"), redact(url))
    download.keep(key, raw)
    listing = {
        **facts["files"],
        files.METADATA: {
            "sha256": _sha256(raw),
            "size": len(raw),
        },
    }
    parts = urllib.parse.urlsplit(address)
    parent = urllib.parse.urlunsplit(parts._replace(path=base))
    return _listed(name, listing, parent)


def _sha256(raw):
    return hashlib.sha256(raw).hexdigest()


def _text(value, argument):
    if isinstance(value, (str, os.PathLike)):
        value = os.fspath(value)
    if not isinstance(value, str) or not value:
        raise ValueError(
            f"Argument `{argument}` must be a name, a path or an address. "
            f"Received: {value!r}"
        )
    return value


def _path(text):
    try:
        return pathlib.Path(text).expanduser()
    except RuntimeError:  # the ~ of nobody
        return pathlib.Path(text)


def local_folder(address):
    """The folder of a file:// address or a path; None for other addresses."""
    if not address.startswith("file://"):
        return None if "://" in address else _path(address)
    parts = urllib.parse.urlsplit(address)
    if parts.netloc not in ("", "localhost") or parts.query:
        raise ValueError(
            f"{redact(address)} is not the address of a local folder. Write "
            "file:// and the whole path, which begins with a slash: "
            "file:///path; a '?' in it is %3F."
        )
    return pathlib.Path(urllib.request.url2pathname(parts.path))


def _check_url(address, known):
    try:
        parts = urllib.parse.urlsplit(address)
        good = (
            parts.scheme in ("https", "http")
            and parts.hostname
            and parts.port != 0  # raises ValueError where it is no number
            and not re.search(r"\s", address)
        )
    except ValueError:
        good = False
    if not good:
        # Not what stands after spaces: it might be a part of a password.
        shown = redact("".join(address.split()))
        raise ValueError(f"{shown} is not a valid address: {known}.")


def _unknown(name, zoo, presets, own_zoo):
    here = set() if own_zoo else {*bundled_names(), *index()}
    names = sorted({*presets} | here)
    near = difflib.get_close_matches(name, names, n=3)
    raise ValueError(
        f"No preset {redact(name)!r}: there is no such folder with a "
        f"{files.METADATA}, and no such name among the {len(names)} presets "
        f"of {redact(zoo) if zoo else 'the package'}. "
        + (f"Nearest names: {near}. " if near else "")
        + "".join(
            f"Saving it was interrupted; {folder} is the old one, rename it. "
            for folder in ([] if own_zoo else files.left_behind(_path(name)))
        )
        + ("" if zoo else f"For another zoo set {ZOO_URL} or give `zoo`.")
    )
