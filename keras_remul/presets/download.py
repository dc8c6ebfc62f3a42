"""Files from a web server into the cache: whole and with their hash, or not.

Pooch downloads beside the place of a file, compares the hash, and moves it
there; so the cache never holds half a file, and processes that download the
same do not harm each other. A download that was cut goes on with the first
file that is not there.
"""

import os
import pathlib
import tempfile

import pooch
import requests
from tqdm import tqdm

from keras_remul.presets import files

# Seconds without a byte before a server is given up.
TIMEOUT = 30
RETRIES = 2
# For files whose size nobody has told.
_LARGEST_JSON = 16 * 2**20


def cache_folder():
    """The folder of downloads: `KERAS_REMUL_CACHE`, or that of the system."""
    return pathlib.Path(
        os.environ.get("KERAS_REMUL_CACHE") or pooch.os_cache("keras_remul")
    )


def offline():
    """Whether the environment variable KERAS_REMUL_OFFLINE forbids network."""
    return os.environ.get("KERAS_REMUL_OFFLINE", "").lower() not in (
        "",
        "0",
        "false",
    )


def fetch_json(url, known_hash=None):
    """The JSON object at an address, its hash checked where it is known.

    Returns:
        The object, and the bytes that it was read from.

    Raises:
        ValueError: it is not such an object, or has another hash.
        OSError: it could not be downloaded.
    """
    _check_online(url)
    with tempfile.TemporaryDirectory() as scratch:
        base, _, name = url.rpartition("/")
        _fetch(base, {name: known_hash}, {name: None}, pathlib.Path(scratch))
        file = pathlib.Path(scratch) / name
        return files.read_json(file), file.read_bytes()


def fetch_files(base_url, listing, folder):
    """Completes a folder of the cache.

    Args:
        base_url: address of the folder with the files.
        listing: dict from names to `sha256` and `size`, already checked.
        folder: where the files go. Those that are there with the right hash
            stay; others are replaced.

    Raises:
        ValueError: the server gave other bytes than listed.
        OSError: the files could not be downloaded or written.
    """
    missing = {
        name: facts
        for name, facts in listing.items()
        if not is_complete(folder, {name: facts})
    }
    if not missing:
        return
    _check_online(base_url)
    _fetch(
        base_url,
        {name: facts["sha256"] for name, facts in missing.items()},
        {name: facts["size"] for name, facts in missing.items()},
        folder,
    )


def is_complete(folder, listing):
    """Whether all files are in the folder with their hash."""
    return all(
        (folder / name).is_file()
        and files.sha256(folder / name) == facts["sha256"]
        for name, facts in listing.items()
    )


def _check_online(url):
    if offline():
        raise ConnectionError(
            f"KERAS_REMUL_OFFLINE is set, and {url} is not in the cache "
            f"{cache_folder()}. Unset it, or download it beforehand."
        )


def _fetch(base_url, hashes, sizes, folder):
    pooch.get_logger().setLevel("WARNING")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(
            f"The cache {folder} cannot be written: {error}. Set "
            "KERAS_REMUL_CACHE to a folder that can."
        ) from error
    source = pooch.create(
        path=folder,
        base_url=base_url.rstrip("/") + "/",
        registry={
            name: value and f"sha256:{value}" for name, value in hashes.items()
        },
        retry_if_failed=RETRIES,
    )
    total = sum(size or 0 for size in sizes.values())
    with tqdm(
        total=total or None,
        desc=folder.name,
        unit="B",
        unit_scale=True,
        disable=None if total else True,  # None: only on a terminal
    ) as progress:
        for name, size in sizes.items():
            try:
                source.fetch(name, downloader=_Stream(size, progress))
            except requests.exceptions.RequestException as error:
                raise ConnectionError(
                    f"{base_url}/{name} could not be downloaded, in "
                    f"{1 + RETRIES} attempts: {error}"
                ) from error


class _Stream:
    """Pooch's downloader, with an end to what a server may send."""

    def __init__(self, size, progress):
        self.size = size
        self.progress = progress

    def __call__(self, url, output_file, pooch):
        received, largest = 0, self.size or _LARGEST_JSON
        with (
            requests.get(url, stream=True, timeout=TIMEOUT) as response,
            open(output_file, "wb") as file,
        ):
            if 400 <= response.status_code < 500:
                # To ask again would not help.
                raise FileNotFoundError(
                    f"{url} is not there: the server answers "
                    f"{response.status_code} {response.reason}"
                )
            response.raise_for_status()
            for chunk in response.iter_content(2**16):
                received += len(chunk)
                if received > largest:
                    raise ValueError(
                        f"{url} is larger than the {largest} bytes expected."
                    )
                file.write(chunk)
                self.progress.update(len(chunk))
        if self.size is not None and received != self.size:
            raise ValueError(
                f"{url} has {received} bytes; {self.size} were expected."
            )
