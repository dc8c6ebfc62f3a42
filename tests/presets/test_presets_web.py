"""Addresses of presets: pins, credentials, redirects, and who is asked."""

import io
import pathlib
import shutil
import sys
import traceback

import pytest
import requests
import urllib3
from presets_zoo import NAME, WEIGHTS, kept, parts

from keras_remul import (
    download_preset,
    from_preset,
    list_presets,
    upload_preset,
    verify_preset,
)
from keras_remul.presets import download, files
from keras_remul.utils import addresses

pytestmark = [
    pytest.mark.usefixtures("cache"),
    pytest.mark.backend_independent,
]


def test_pins(zoo, server, monkeypatch):
    digest = files.sha256(zoo / NAME / "metadata.json")
    here, there = (zoo / NAME).as_uri(), f"{server.url}/{NAME}"
    for address in (here, there, f"{there}/"):
        for pin in (digest, digest.upper()):
            assert verify_preset(f"{address}#sha256={pin}") < 1e-6
        with pytest.raises(ValueError, match="another hash|known hash"):
            from_preset(f"{address}#sha256={'0' * 64}")
        for bad in ("", "sha256=", "sha256=00", "md5=00", digest, "sha256:00"):
            with pytest.raises(ValueError, match="must end in #sha256="):
                from_preset(f"{address}#{bad}")
    for address in (zoo.as_uri(), server.url):
        with pytest.raises(ValueError, match="pins nothing"):
            from_preset(NAME, zoo=f"{address}#sha256={digest}")
    # What is kept for the address is not what another pin asks for.
    from_preset(there)
    monkeypatch.setenv("KERAS_REMUL_OFFLINE", "1")
    from_preset(there)
    with pytest.raises(ConnectionError, match="KERAS_REMUL_OFFLINE"):
        from_preset(f"{there}#sha256={'0' * 64}")


def test_addresses_that_are_none(zoo):
    for address in ("https://", "http:///x", "https://host:port/small"):
        with pytest.raises(ValueError, match="not a valid address"):
            from_preset(address)
    path = str(zoo / NAME)
    for address in (f"file:/{path}", f"file://host{path}", f"file://{path}?x"):
        with pytest.raises(ValueError, match="file:///path"):
            from_preset(f"file://{address[6:].lstrip('/')}")
    for wrong in (3, None, "", b"small"):
        with pytest.raises(ValueError, match="`name_or_path`"):
            from_preset(wrong)
    with pytest.raises(ValueError, match="`zoo`"):
        from_preset(NAME, zoo=3)
    with pytest.raises(ValueError, match="a zoo is an https://"):
        from_preset(NAME, zoo="hf://owner/name")
    with pytest.raises(ValueError, match="is not a zoo: it holds no manifest"):
        from_preset(NAME, zoo=zoo / NAME)


@pytest.mark.parametrize("secure", [True, False])
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects(status, secure, monkeypatch):
    asked = []

    def send(self, request, **kwargs):
        asked.append(request.url)
        response = requests.Response()
        response.status_code, response.url = status, request.url
        response.request = request
        target = f"http{'s' * secure}://other/x?token=secret"
        response.headers["Location"] = target
        response.raw = urllib3.HTTPResponse(io.BytesIO(), status=status)
        if len(asked) > 1:
            response.status_code = 404
        return response

    monkeypatch.setattr(requests.adapters.HTTPAdapter, "send", send)
    expected = FileNotFoundError if secure else PermissionError
    with pytest.raises(expected) as caught:
        list_presets(zoo="https://zoo.test/")
    assert len(asked) == 1 + secure
    assert ("not encrypted" in str(caught.value)) != secure
    assert "secret" not in str(caught.value)


def test_home_folders(server, zoo, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("KERAS_REMUL_CACHE", "~/of mine")
    folder = download_preset(NAME, zoo=server.url)
    assert folder.is_relative_to(tmp_path / "of mine")
    assert verify_preset(f"~/zoo/{NAME}") < 1e-6
    assert verify_preset(NAME, zoo="~/zoo") < 1e-6
    monkeypatch.setenv("KERAS_REMUL_CACHE", "~nobody_of_that_name/x")
    with pytest.raises(ValueError, match="KERAS_REMUL_CACHE.*home folder"):
        from_preset(NAME, zoo=server.url)


def test_credentials_reach_the_server(server, monkeypatch):
    url = server.url.replace("://", "://me:top-secret@")
    assert verify_preset(NAME, zoo=f"{url}?token=top-secret") < 1e-6
    assert verify_preset(f"{url}/{NAME}?token=top-secret") < 1e-6
    assert {path.partition("?")[2] for path in server.asked} == {
        "token=top-secret"
    }
    assert f"{WEIGHTS}?token=top-secret" in server.asked
    # What is kept is the same for all who may read it.
    monkeypatch.setenv("KERAS_REMUL_OFFLINE", "1")
    other = url.replace("me:top-secret", "you:other")
    from_preset(NAME, zoo=f"{other}?token=top-secret")


FAULTS = ["cut", "other_bytes", "shorter", "endless", "error", "missing"]
FAULTS += [(status, {}) for status in (204, 401, 403, 418, 429)]
FAULTS += [(302, {"Location": "http://me:top-secret@127.0.0.1:1/"})]


def test_credentials_are_in_no_error(server, zoo, cache, monkeypatch, capfd):
    url = server.url.replace("://", "://me:top-secret@") + "/?token=top-secret"
    one = url.replace("/?", f"/{NAME}?")

    def fails(*arguments, **named):
        with pytest.raises((ValueError, OSError)) as caught:
            from_preset(*arguments, **named)
        text = "".join(traceback.format_exception(caught.value))
        assert "top-secret" not in text
        assert "://" in text
        return text

    for path in (WEIGHTS, f"/{NAME}/metadata.json", "/manifest.json"):
        for fault in FAULTS:
            server.faults = {path: [fault] * 30}
            if fault in ("shorter", "other_bytes") and path != WEIGHTS:
                continue  # of an address, nobody knows the size or the hash
            if path != "/manifest.json":
                fails(one)
            if path != f"/{NAME}/metadata.json":
                shutil.rmtree(cache, ignore_errors=True)
                fails(NAME, zoo=url)
    server.faults = {}
    assert "***" in fails("smal", zoo=url)
    fails(f"{one}#top-secret")
    fails(f"{one}#sha256={'0' * 64}")
    fails(NAME, zoo=f"{url}#sha256=top-secret")
    fails(pathlib.Path("https://me:top-secret@127.0.0.1/small"))
    fails("https://me:top-secret@127.0.0.1:x/small")
    fails("https://me:top secret-top-secret@127.0.0.1/small")
    fails("https://me:a/top-secret@127.0.0.1/small")
    fails("ftp://me:top-secret@127.0.0.1/small?token=top-secret")
    fails("http://me:top-secret@127.0.0.1:1/small?token=top-secret")
    fails("file://me:top-secret@127.0.0.1/small")
    fails("hf://me:top-secret@127.0.0.1")
    fails("hf://me:top-secret@127.0.0.1/name?token=top-secret")
    fails("kaggle://127.0.0.1?token=top-secret")
    (zoo / "manifest.json").write_text("none")
    shutil.rmtree(cache)
    fails(NAME, zoo=url)
    monkeypatch.setenv("KERAS_REMUL_OFFLINE", "1")
    fails(NAME, zoo=url)
    fails(one)
    assert "top-secret" not in "".join(capfd.readouterr())


@pytest.mark.parametrize("separator", ["'", '"', ")", "&b="])
def test_a_query_is_hidden_to_its_end(separator):
    shown = addresses.redact(f"https://host/a?token=ab{separator}SECRET#part")
    assert shown == "https://host/a?***#part"


def test_places_in_the_cache_differ_but_for_users():
    zoos = [f"https://cdn.example/gh/{who}/zoo@v1/a" for who in ("a", "b")]
    assert len({download.digest(zoo) for zoo in zoos}) == 2
    one, two = (f"https://{user}@host/zoo@v1" for user in ("me:x", "you:y"))
    assert download.digest(one) == download.digest(two)
    assert download.digest(one) != download.digest("https://host/zoo@v2")


def test_cards_keep_addresses_but_for_users():
    text = "https://cdn.example/gh/a/zoo@v1 and ftp://me:x@y@host/b@c"
    expected = "https://cdn.example/gh/a/zoo@v1 and ftp://host/b@c"
    assert addresses.anonymous(text) == expected


def test_redact_leaves_the_rest():
    text = "hf://owner/name@v1 and /home/me@host/x, really? (https://host/x#a)"
    assert addresses.redact(text) == text


@pytest.mark.parametrize("fault", ["drip", "drip_headers"])
def test_servers_that_are_too_slow(fault, server, cache, monkeypatch):
    monkeypatch.setattr(download, "PATIENCE", 0.4)
    monkeypatch.setattr(download, "SLOWEST", 1e9)
    server.faults[WEIGHTS] = [fault]
    with pytest.raises(TimeoutError, match="model.weights.h5.*too slow"):
        from_preset(NAME, zoo=server.url)
    assert len(parts(cache)) == (fault == "drip")  # to be continued
    assert "model.weights.h5" not in kept(cache)


CONNECTIONS = []


@pytest.fixture(scope="module")
def audited():
    def hook(event, arguments):
        if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto"):
            CONNECTIONS.append((event, *arguments[1:2]))

    sys.addaudithook(hook)


def test_offline_connects_to_nothing(audited, server, zoo, monkeypatch):
    list_presets(zoo=server.url)
    assert CONNECTIONS  # they are seen
    monkeypatch.setenv("KERAS_REMUL_OFFLINE", "1")
    CONNECTIONS.clear()
    for action in (
        lambda: from_preset(NAME, zoo=server.url),
        lambda: from_preset("unknown", zoo=server.url),
        lambda: from_preset(f"{server.url}/{NAME}"),
        lambda: from_preset("hf://owner/name"),
        lambda: from_preset("kaggle://owner/model/keras/base"),
        lambda: upload_preset(zoo / NAME, "hf://owner/name"),
        lambda: upload_preset(zoo / NAME, "kaggle://owner/model/keras/base"),
        lambda: list_presets(zoo=f"{server.url}/other"),
    ):
        with pytest.raises((ValueError, OSError)):
            action()
    assert CONNECTIONS == []
