"""Addresses of the web, which may hold credentials.

`https://user:password@host/` or `?token=...`: messages show `redact` of an
address. Nothing here asks a server.
"""

import re
import urllib.parse

# In hf://owner/name@revision it is no user that stands before the @. A path
# object of an address has one slash of two left.
_USER = re.compile(
    r"(?<=[a-zA-Z]{2})(?<!hf):/{1,2}\S*@|(?<=hf):/{1,2}[^\s/@]+@"
)
_QUERY = re.compile(r"\?[^\s#]+")
# Of an address that a server can be asked at, so that all else stays.
_PLAIN_USER = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*://)[^\s/?#]*@")


def redact(text):
    """The text without user, password and query of the addresses in it.

    Everything before the last `@` is hidden, since a password may hold a slash,
    and everything after `?`.
    """
    return _QUERY.sub("?***", _USER.sub("://***@", str(text)))


def anonymous(text):
    """The text without user and password in its addresses."""
    return _PLAIN_USER.sub(r"\1", text)


def join(url, name):
    """The address of a file in the folder at an address, query kept."""
    parts = urllib.parse.urlsplit(url)
    path = f"{parts.path.rstrip('/')}/{name}"
    return urllib.parse.urlunsplit(parts._replace(path=path))


def secure(url):
    """Whether data cannot be changed on the way: https, or this machine."""
    parts = urllib.parse.urlsplit(url)
    here = parts.hostname in ("localhost", "127.0.0.1", "::1")
    return parts.scheme == "https" or (parts.scheme == "http" and here)
