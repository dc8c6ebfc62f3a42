"""Downloads from a web server, limited in size and time.

Credentials in an address are sent only to that server; messages show `redact`
of the address.
"""

import http
import re
import socket
import threading
import time
import urllib.parse

import requests
import urllib3

from keras_remul.utils.addresses import redact, secure

# Seconds in which a server has to accept a connection.
CONNECT = 2
# Seconds without a byte before a server is given up.
TIMEOUT = 30
RETRIES = 2
# Seconds before the second attempt, twice that before the third.
PAUSE = 1
# Largest file whose size nobody has told, in bytes.
LARGEST_UNTOLD = 16 * 2**20
# Bytes that are handed on at once; of a cut transfer so many may be lost.
CHUNK = 2**16


def receive(url, size, open_sink, deadline, largest=LARGEST_UNTOLD):
    """Downloads from an address into a sink, in a few attempts.

    Args:
        url: https:// or http://.
        size: in bytes, or None if it is not known; then at most `largest`.
        open_sink: makes, for each attempt, a context manager whose value
            takes bytes. Its ValueError on leaving means a bad transfer. If the
            value has an attribute `received`, so many bytes are there already;
            only the others are asked for, and `restart()` is called where the
            server sends all of them. Then the size must be known.
        deadline: value of `time.monotonic()` after which to give up.
        largest: limit in bytes if the size is not known. Defaults to 16 MiB.

    Raises:
        ValueError: the downloaded bytes have another hash or size.
        FileNotFoundError: the server has no such file.
        PermissionError: it refuses access, or leads from https to http.
        TimeoutError: the deadline has passed.
        ConnectionError: the server cannot be reached (UnreachedError), the
            transfer failed, or the server is busy.
    """
    for attempt in range(1, RETRIES + 2):
        try:
            with open_sink() as write:
                return _in_time(url, size, largest, write, deadline)
        except UnreachedError:
            raise  # another attempt would find nobody either
        except (ValueError, ConnectionError) as error:
            wait = getattr(error, "wait", PAUSE * attempt)
            if attempt <= RETRIES and wait <= TIMEOUT:
                time.sleep(wait)
                continue
            if isinstance(error, ValueError):
                raise
            raise ConnectionError(
                f"{redact(url)} could not be downloaded, in {attempt} "
                f"attempt{'s' * (attempt > 1)}: {error}"
            ) from None


def _in_time(url, size, largest, write, deadline):
    given_up = threading.Event()

    def work():
        _transfer(url, size, largest, write, given_up)

    try:
        in_time(work, url, deadline)
    finally:
        given_up.set()


def in_time(work, address, deadline):
    """Calls a function that downloads from a server, with a time limit.

    Time-outs of sockets count from the last byte; a server that sends one byte
    every 29 seconds would never time out. So the function runs in another
    thread, which is abandoned after the deadline.

    Args:
        work: function without arguments.
        address: address of the server, for the error.
        deadline: value of `time.monotonic()` after which to give up.

    Returns:
        What the function returns.

    Raises:
        TimeoutError: the deadline has passed. And what the function raises.
    """
    outcome = []

    def run():
        try:
            outcome.append((work(), None))
        except BaseException as error:
            outcome.append((None, error))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(max(0, deadline - time.monotonic()))
    if not outcome:
        raise TimeoutError(
            f"{redact(address)} was given up: the server is too slow. Try "
            "again later, or another mirror."
        )
    result, error = outcome[0]
    if error is not None:
        raise error
    return result


class _Session(requests.Session):
    """Does not follow redirects from https, or this machine, to http."""

    def get_redirect_target(self, resp):
        target = super().get_redirect_target(resp)
        if target is not None and secure(resp.url):
            there = urllib.parse.urljoin(resp.url, target)
            local = resp.url.startswith("http://") and secure(there)
            if not local and not there.startswith("https://"):
                resp.close()
                raise PermissionError(
                    f"{redact(resp.url)} leads to {redact(there)}, which is "
                    "not encrypted; it is not followed. Use another address."
                )
        return target


def _transfer(url, size, largest, write, given_up):
    most = largest if size is None else size
    received = getattr(write, "received", 0)
    if received and received == size:
        return
    headers = {"Accept-Encoding": "identity"}
    if received:
        headers["Range"] = f"bytes={received}-"
    try:
        with (
            _Session() as session,
            session.get(
                url,
                stream=True,
                timeout=(CONNECT, TIMEOUT),
                headers=headers,
            ) as response,
        ):
            if received and response.status_code == 200:
                write.restart()
                received = 0
            _check_answer(url, response, received, size)
            for chunk in response.iter_content(CHUNK):
                received += len(chunk)
                if received > most:
                    raise ValueError(
                        f"{redact(url)} is larger than the {most} bytes "
                        "expected."
                    )
                if given_up.is_set():
                    return
                write(chunk)
    except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
        if _nobody_listens(error):
            raise UnreachedError(url) from None
        # Not chained: its text and its parts name the address.
        raise ConnectionError(redact(error)) from None
    if size is not None and received != size:
        raise ValueError(
            f"{redact(url)} has {received} bytes; {size} were expected."
        )


class UnreachedError(ConnectionError):
    """Nobody listens at an address, or there is no network."""

    def __init__(self, url):
        super().__init__(
            f"{redact(url)} cannot be reached. Check the address and the "
            "network, or get the files where there is one; files that were "
            "downloaded before need none."
        )


def check_reached(url):
    """Raises UnreachedError where a server accepts no connection in time.

    Args:
        url: https:// or http://. What is reached through a proxy is not tried.
    """
    if requests.utils.get_environ_proxies(url):
        return
    parts = urllib.parse.urlsplit(url)
    port = parts.port or {"http": 80, "https": 443}[parts.scheme]

    def connect():
        socket.create_connection((parts.hostname, port), CONNECT).close()

    try:
        # The names of servers are looked up without a limit.
        in_time(connect, url, time.monotonic() + CONNECT)
    except (OSError, UnicodeError):  # TimeoutError is one
        raise UnreachedError(url) from None


def _nobody_listens(error):
    """Whether no connection was made: refused, timed out, or no such name."""
    reason = getattr(error.args[0] if error.args else None, "reason", None)
    return isinstance(error, requests.ConnectTimeout) or isinstance(
        reason, urllib3.exceptions.NewConnectionError
    )


class _Busy(ConnectionError):
    """An answer that may change after `wait` seconds."""

    def __init__(self, text, wait):
        super().__init__(text)
        self.wait = wait


def _check_answer(url, response, received, size):
    """Raises unless the bytes after the first `received` ones will come."""
    status = response.status_code
    if status == 200:
        return
    if received and status in (206, 416):
        found = response.headers.get("Content-Range", "")
        rest = rf"bytes {received}-{size - 1}/({size}|\*)"
        if status == 206 and re.fullmatch(rest, found.strip()):
            return
        raise ValueError(
            f"{redact(url)} was to be continued after {received} of {size} "
            f"bytes; the server answers {status}, {found[:80]!r}."
        )
    try:
        answer = f"the server answers {status} {http.HTTPStatus(status).phrase}"
    except ValueError:
        answer = f"the server answers {status}"
    shown = redact(url)
    if status in (404, 410):
        raise FileNotFoundError(f"{shown} is not there: {answer}.")
    if status == 401:
        raise PermissionError(
            f"{shown} needs a login: {answer}. Give the right one as "
            "https://user:password@host/ or in ~/.netrc."
        )
    if status == 403:
        raise PermissionError(
            f"{shown} may not be read with this login, or from this network: "
            f"{answer}."
        )
    later = response.headers.get("Retry-After", "").strip()
    if status in (429, 503) and later:
        # A number of seconds; a date is further off than a few attempts.
        known = re.fullmatch("[0-9]{1,9}", later)
        raise _Busy(
            f"{answer}: try again after {later[:40]!r}"
            + (" seconds" if known else ""),
            wait=int(later) if known else TIMEOUT + 1,
        )
    if status in (408, 425, 429) or status >= 500:
        raise ConnectionError(answer)
    raise OSError(f"{shown} cannot be downloaded: {answer}.")
