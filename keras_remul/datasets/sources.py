"""Downloads of the files that data sets are made from.

`sources.tsv` says what stands at an address: bytes and hash, and who publishes
them. Nothing is read over http, which anyone on the way may change. Where no
hash is published, what came is written down with the data set, see `sha256`.
"""

import contextlib
import dataclasses
import functools
import hashlib
import pathlib
import re
import time

from tqdm.auto import tqdm

from keras_remul.utils import atomic, web
from keras_remul.utils.plain_files import open_plain

SLOWEST = 50_000  # bytes in a second before a server is given up
PATIENCE = 60  # seconds on top of that
_HASH = re.compile("(sha256):([0-9a-f]{64})|(md5):([0-9a-f]{32})")


@dataclasses.dataclass(frozen=True)
class Source:
    """What stands at an address.

    Args:
        size: in bytes, or None where nobody has published it.
        algorithm: of the hash, or None where there is none.
        digest: the hash, in hexadecimal digits, or None.
    """

    size: int | None = None
    algorithm: str | None = None
    digest: str | None = None


@functools.cache
def table():
    """`{address: Source}` of `sources.tsv`."""
    path = pathlib.Path(__file__).with_name("sources.tsv")
    found = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            continue
        url, size, digest = line.split("\t")
        known = _HASH.fullmatch(digest)
        if url in found or not url.startswith("https://") or not known:
            raise ValueError(f"{path} has a faulty line: {line!r}")
        algorithm, _, digest = digest.partition(":")
        found[url] = Source(int(size), algorithm, digest)
    return found


def fetch(url, folder, largest, verbose=1):
    """Path of the file at an address, which is downloaded where it must be.

    It is put there in one step, once its size and hash are those in
    `sources.tsv`; they are compared again where it is there already.

    Args:
        url: https, or http on this machine.
        folder: of the downloads; made where absent.
        largest: bytes that are taken where no size is published.
        verbose: 0 for no progress bar. Defaults to 1.

    Returns:
        A `pathlib.Path`.

    Raises:
        ValueError: for another address; where other bytes came, or more or
            fewer.
        FileNotFoundError: the server has no such file.
        PermissionError: it refuses access, or leads to an address without
            encryption.
        TimeoutError: the server is too slow.
        ConnectionError: the transfer failed, or the server is busy.
        OSError: the file cannot be written.
    """
    if not web.secure(url):
        raise ValueError(
            f"{web.redact(url)} is not read: anyone on the way may change what "
            "comes without encryption. Give an address that starts with "
            "https://, or download the file by hand."
        )
    source = table().get(url, Source())
    name = re.sub("[^A-Za-z0-9._-]", "_", url.rstrip("/").rpartition("/")[2])
    key = hashlib.sha256(url.encode()).hexdigest()[:16]
    path = pathlib.Path(folder) / "keras_remul" / key / name
    if path.is_file() and _is(path, source):
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    limit = largest if source.size is None else source.size
    try:
        with tqdm(
            total=source.size,
            desc=name,
            unit="B",
            unit_scale=True,
            disable=not verbose,
        ) as bar:
            web.receive(
                url,
                source.size,
                lambda: _sink(url, path, source, bar),
                time.monotonic() + PATIENCE + limit / SLOWEST,
                largest,
            )
    except ValueError as error:
        raise ValueError(
            f"{error} Nothing of it was kept. Try again later, or download the "
            "file by hand, from a place that you trust, into the folder of "
            "manual downloads."
        ) from error
    return path


def _is(path, source):
    """Whether a file that is there already is what is published."""
    if source.digest is None:
        return True
    with open_plain(path) as stream:
        found = hashlib.file_digest(stream, source.algorithm).hexdigest()
    return found == source.digest


@contextlib.contextmanager
def _sink(url, path, source, bar):
    """Takes the bytes of one attempt; compares them, then they are there."""
    digest = hashlib.new(source.algorithm or "sha256", usedforsecurity=False)
    bar.reset()
    with atomic.replacing(path) as file:

        def write(chunk):
            file.write(chunk)
            digest.update(chunk)
            bar.update(len(chunk))

        yield write
        if source.digest not in (None, digest.hexdigest()):
            raise ValueError(
                f"{web.redact(url)} has the {source.algorithm} "
                f"{digest.hexdigest()}; {source.digest} is published."
            )
