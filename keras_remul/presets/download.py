"""The cache of downloads: only complete files with the right hash.

A file is written under a temporary name, its size and hash are checked, and
then it is renamed. So the cache never holds partial files, and processes that
download the same preset do not disturb each other. An interrupted download
continues with the first missing file. A wrong file is downloaded again.
"""

import contextlib
import hashlib
import os
import pathlib
import shutil
import time

import platformdirs
from tqdm import tqdm

from keras_remul.presets import files
from keras_remul.utils import atomic, web
from keras_remul.utils.addresses import anonymous, join, redact

CACHE = "KERAS_REMUL_CACHE"
# Of one preset: bytes, and number of files.
LARGEST = 2**36
MOST_FILES = 1000
# A download may take this many seconds, and one more for so many bytes.
PATIENCE = 120
SLOWEST = 10_000
# Seconds after which a file that is being written has been abandoned.
_ABANDONED = 24 * 3600


def cache_folder():
    """The folder of downloads: `KERAS_REMUL_CACHE`, or that of the system.

    Raises:
        ValueError: `KERAS_REMUL_CACHE` begins with a `~` of an unknown user.
    """
    chosen = os.environ.get(CACHE)
    if not chosen:
        return pathlib.Path(platformdirs.user_cache_dir("keras_remul"))
    try:
        return pathlib.Path(chosen).expanduser()
    except RuntimeError:
        raise ValueError(
            f"{CACHE} is {chosen!r}, and there is no such home folder."
        ) from None


def offline():
    """Whether the environment variable KERAS_REMUL_OFFLINE forbids network."""
    return os.environ.get("KERAS_REMUL_OFFLINE", "").lower() not in (
        "",
        "0",
        "false",
    )


def check_online(address, remedy="download it beforehand"):
    """Raises ConnectionError where KERAS_REMUL_OFFLINE forbids network."""
    if offline():
        raise ConnectionError(
            f"KERAS_REMUL_OFFLINE is set, and {redact(address)} is not in "
            f"the cache {cache_folder()}, or was damaged there. Unset it, or "
            f"{remedy}."
        )


def fetch(url, known_hash=None):
    """The bytes at an address; the hash is checked if it is known.

    Raises:
        ValueError: they have another hash, or are too many for a list of files.
        OSError: they could not be downloaded.
    """
    check_online(url)
    received = bytearray()

    @contextlib.contextmanager
    def sink():
        received.clear()
        yield received.extend
        if known_hash is not None:
            _check_hash(url, hashlib.sha256(received), known_hash)

    web.receive(url, None, sink, deadline())
    return bytes(received)


def deadline(listing=None):
    """The deadline for files, or for one of unknown size; see `web.receive`."""
    total = sum(facts["size"] for facts in (listing or {}).values())
    return time.monotonic() + PATIENCE + total / SLOWEST


def fetch_files(base_url, listing, folder):
    """Completes a folder of the cache.

    Args:
        base_url: address of the folder with the files.
        listing: dict from names to `sha256` and `size`, already checked.
        folder: folder of the files. Files with the right hash are kept; others
            are replaced.

    Raises:
        ValueError: the server sent other bytes than listed, or more than a
            preset may have.
        OSError: the files could not be downloaded or written.
    """
    missing = {
        name: facts
        for name, facts in listing.items()
        if not is_complete(folder, {name: facts})
    }
    if not missing:
        return
    check_online(base_url)
    check_total(base_url, listing)
    total = sum(facts["size"] for facts in missing.values())
    with _writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
    if free < total:
        raise OSError(
            f"{redact(base_url)} takes {total:,} bytes; {free:,} are free "
            f"in the cache {folder}. Free some, or set {CACHE} to another "
            "folder."
        )
    _remove_abandoned(folder)
    until = deadline(missing)
    with tqdm(
        total=total,
        desc=folder.name,
        unit="B",
        unit_scale=True,
        disable=None,  # shown on a terminal only
    ) as progress:
        for name, facts in missing.items():
            url = join(base_url, name)
            sink = _into(url, folder / name, facts["sha256"], progress)
            web.receive(url, facts["size"], sink, until)


def check_total(address, listing):
    """Raises ValueError if a listing exceeds the limits of a preset."""
    total = sum(facts["size"] for facts in listing.values())
    if total > LARGEST or len(listing) > MOST_FILES:
        raise ValueError(
            f"{redact(address)} lists {len(listing)} files of {total:,} "
            f"bytes. A preset has at most {MOST_FILES} files and {LARGEST:,} "
            "bytes; download such files by hand, and give their folder."
        )


def is_complete(folder, listing):
    """Whether all files are in the folder with their size and hash."""
    try:
        for name, facts in listing.items():
            files.check_file(folder, name, facts)
    except (ValueError, OSError):
        return False
    return True


def keep(key, raw):
    """Keeps bytes in the cache; ignores errors, which only cost time."""
    file = _note(key)
    with contextlib.suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        with _replacing(file) as stream:
            stream.write(hashlib.sha256(raw).hexdigest().encode() + b"\n" + raw)


def kept(key):
    """The bytes last kept under a key; None if missing or damaged."""
    file = _note(key)
    try:
        if not file.is_file():
            return None
        if file.stat().st_size > web.LARGEST_UNTOLD + 65:
            return None
        digest, _, raw = file.read_bytes().partition(b"\n")
    except OSError:
        return None
    known = hashlib.sha256(raw).hexdigest().encode()
    return raw if digest == known else None


def digest(text):
    """Name in the cache for an address; the same for all logins."""
    text = anonymous(text)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _note(key):
    return cache_folder() / "notes" / digest(key)


def _check_hash(url, found, known):
    if found.hexdigest() != known:
        raise ValueError(
            f"{redact(url)} has the sha256 {found.hexdigest()}, which "
            f"does not match the known hash {known}. It was changed there, or "
            "on the way."
        )


def _into(url, file, known_hash, progress):
    """A function that makes the sinks of `web.receive` for one file."""

    @contextlib.contextmanager
    def sink():
        found, begin = hashlib.sha256(), progress.n

        def write(chunk):
            with _writing(file):
                stream.write(chunk)
            found.update(chunk)
            progress.update(len(chunk))

        try:
            with _replacing(file) as stream:
                yield write
                _check_hash(url, found, known_hash)
        except BaseException:
            progress.n = begin
            raise

    return sink


@contextlib.contextmanager
def _replacing(file):
    """`atomic.replacing`, with errors that mention the cache."""
    with contextlib.ExitStack() as stack:
        with _writing(file):
            stream = stack.enter_context(atomic.replacing(file))
        yield stream
        with _writing(file):
            stack.close()


@contextlib.contextmanager
def _writing(path):
    """Adds to errors of the disk what to do."""
    try:
        yield
    except OSError as error:
        raise OSError(
            f"{path} in the cache cannot be written: {error.strerror}. Free "
            f"space, move away what is there, or set {CACHE} to another "
            "folder."
        ) from None


def _remove_abandoned(folder):
    """Removes temporary files of processes that were killed long ago."""
    for part in folder.glob(f".*{atomic.PART}"):
        with contextlib.suppress(OSError):
            if time.time() - part.stat().st_mtime > _ABANDONED:
                part.unlink()
