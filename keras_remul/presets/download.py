"""The cache of downloads: only complete files with the right hash.

A file is written under a temporary name, its size and hash are checked, and
then it is renamed. So no partial file of the cache is ever read. An interrupted
download continues with the first missing byte, if the server can; a wrong file
is downloaded again. Of processes that download the same preset at once, one
continues what is there, and the others begin anew, and disturb nobody.
"""

import contextlib
import hashlib
import os
import pathlib
import shutil
import time
import uuid

import platformdirs
from filelock import FileLock
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
# Seconds after which a download is no longer continued.
_ABANDONED = 7 * 24 * 3600


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
    with _writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
    _remove_abandoned(folder)
    with _turn(folder) as mine:
        parts = {
            name: _part_of(folder, name, facts, mine)
            for name, facts in missing.items()
        }
        total = sum(facts["size"] for facts in missing.values())
        needed = total - sum(map(_size, parts.values()))
        if free < needed:
            raise OSError(
                f"{redact(base_url)} takes {needed:,} bytes; {free:,} are "
                f"free in the cache {folder}. Free some, or set {CACHE} to "
                "another folder."
            )
        try:
            _fetch_parts(base_url, missing, folder, parts, total)
        finally:
            for part in () if mine else parts.values():
                part.unlink(missing_ok=True)


def _fetch_parts(base_url, missing, folder, parts, total):
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
            sink = _into(url, folder / name, parts[name], facts, progress)
            web.receive(url, facts["size"], sink, until)


@contextlib.contextmanager
def _turn(folder):
    """Whether this process alone continues what is in this folder."""
    file = cache_folder() / "locks" / folder.name
    with contextlib.ExitStack() as stack:
        try:
            file.parent.mkdir(exist_ok=True)
            stack.enter_context(FileLock(file, timeout=0))
            mine = True
        # It is another's turn, or the file system has no locks.
        except (OSError, NotImplementedError):
            mine = False
        yield mine


def _part_of(folder, name, facts, mine):
    """Where a file is written until it is complete."""
    key = facts["sha256"][:16] if mine else uuid.uuid4().hex[:8]
    return folder / f".{name}-{key}{atomic.PART}"


def _size(part):
    return part.stat().st_size if part.is_file() else 0


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


class _Part:
    """The part of a file that has arrived; see `web.receive` for its use.

    Args:
        path: where it is.
        file: where the whole file will be.
        size: of the whole file, in bytes.
        progress: the bar, which shows all bytes that are there.
    """

    def __init__(self, path, file, size, progress):
        self.path, self.file, self.progress = path, file, progress
        self.begin = progress.n
        with _writing(file):
            if path.is_symlink() or not path.is_file() or _size(path) > size:
                path.unlink(missing_ok=True)
            self.stream = open(path, "a+b")
            self.stream.seek(0)
            self.digest = hashlib.file_digest(self.stream, "sha256")
        self.received = _size(path)
        progress.update(self.received)

    def __call__(self, chunk):
        with _writing(self.file):
            self.stream.write(chunk)
            self.stream.flush()  # for who continues, should this be killed
        self.digest.update(chunk)
        self.progress.update(len(chunk))

    def restart(self):
        """Forgets what has arrived."""
        self.stream.truncate(0)
        self.digest = hashlib.sha256()
        self.progress.n = self.begin

    def leave(self, keep):
        """Closes the file.

        Args:
            keep: whether what has arrived is kept for the next time.
        """
        self.progress.n = self.begin
        with contextlib.suppress(OSError):  # a full disk, once more
            self.stream.close()
        with contextlib.suppress(OSError):
            if not keep or not _size(self.path):
                self.path.unlink(missing_ok=True)


def _into(url, file, path, facts, progress):
    """A function that makes the sinks of `web.receive` for one file."""

    @contextlib.contextmanager
    def sink():
        part = _Part(path, file, facts["size"], progress)
        try:
            yield part
            _check_hash(url, part.digest, facts["sha256"])
            with _writing(file):
                atomic.put(part.stream, path, file)
        except BaseException as error:
            # What is wrong, or finds no room, is not kept.
            part.leave(keep=not isinstance(error, (ValueError, _Unwritable)))
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


class _Unwritable(OSError):
    """The cache cannot be written."""


@contextlib.contextmanager
def _writing(path):
    """Adds to errors of the disk what to do."""
    try:
        yield
    except OSError as error:
        raise _Unwritable(
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
