"""Downloads of the files that data sets are made from.

`sources.tsv` lists the size, the hash and the publisher of each file. Nothing
is read over http, which can be changed on the way. If no hash is published, the
sha256 of the downloaded file is stored with the data set, see `sha256`.
"""

import contextlib
import dataclasses
import functools
import hashlib
import pathlib
import re
import time

from tqdm.auto import tqdm

from keras_remul.utils import addresses, atomic, web
from keras_remul.utils.plain_files import open_plain

SLOWEST = 50_000  # bytes in a second before a server is given up
PATIENCE = 60  # seconds on top of that
_HASH = re.compile("(sha256):([0-9a-f]{64})|(md5):([0-9a-f]{32})")


@dataclasses.dataclass(frozen=True)
class Source:
    """The file at an address.

    Args:
        size: in bytes, or None where nobody has published it.
        algorithm: of the hash, or None if there is no hash.
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
    """Path of the file at an address, which is downloaded if necessary.

    It is stored in one step, after its size and hash have been compared with
    `sources.tsv`. If the file is there already, it is compared again.

    Args:
        url: https, or http on this machine.
        folder: folder of the downloads; created if it does not exist.
        largest: limit in bytes if no size is published.
        verbose: 0 for no progress bar. Defaults to 1.

    Returns:
        A `pathlib.Path`.

    Raises:
        ValueError: for another address, or if the downloaded bytes have another
            hash or size.
        FileNotFoundError: the server has no such file.
        PermissionError: it refuses access, or leads to an address without
            encryption.
        TimeoutError: the server is too slow.
        ConnectionError: the transfer failed, or the server is busy.
        OSError: the file cannot be written.
    """
    if not addresses.secure(url):
        raise ValueError(
            f"{addresses.redact(url)} is not read: data without encryption may "
            "be changed on the way. Give an address that starts with "
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
            f"{error} Nothing was kept. Try again later, or download the "
            "file by hand, from a place that you trust, into the folder of "
            "manual downloads."
        ) from error
    return path


def _is(path, source):
    """Whether an existing file is the published one."""
    if source.digest is None:
        return True
    with open_plain(path) as stream:
        found = hashlib.file_digest(stream, source.algorithm).hexdigest()
    return found == source.digest


@contextlib.contextmanager
def _sink(url, path, source, bar):
    """Writes the bytes of one attempt; stores the file if they are right."""
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
                f"{addresses.redact(url)} has the {source.algorithm} "
                f"{digest.hexdigest()}; {source.digest} is published."
            )
