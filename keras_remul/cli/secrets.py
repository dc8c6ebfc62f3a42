"""Hides passwords in arguments: addresses may hold them.

A whole argument is one address, even with spaces in it, while in a text the end
of an address is not known. So more is hidden here than by `addresses.redact`.
"""

import argparse
import difflib
import pathlib
import re

from keras_remul.utils.addresses import redact

# A path object of an address has one slash of two left; other addresses are
# typed with less than they need.
_ADDRESS = re.compile(
    r"((?<=[a-z]{2}):/{1,2}|(?<=http):|(?<=https):|(?<![^\s'\"])//)(.*)",
    re.DOTALL | re.IGNORECASE,
)
_QUERY = re.compile(r"\?[^#]+")
# The hash of a preset is no secret, and is to be compared by eye.
_FRAGMENT = re.compile(r"#(?!sha256=[0-9a-fA-F]{64}(?![^\s'\"])).+", re.DOTALL)


class Parser(argparse.ArgumentParser):
    """A parser, and parsers of commands, whose errors show no password.

    For a choice that does not exist they name the nearest one.
    """

    def _check_value(self, action, value):
        try:
            super()._check_value(action, value)
        except argparse.ArgumentError as error:
            known = action.choices or ()
            for near in difflib.get_close_matches(value, known, n=1):
                error.message += f". Did you mean {near!r}?"
            raise

    def error(self, message):
        super().error(hidden(message))


def hidden(text):
    """The text without user, password, query and fragment of an address.

    Args:
        text: an argument, or a message that ends with some.
    """
    found = _ADDRESS.search(text)
    if not found:
        return text
    before, (mark, address) = text[: found.start()], found.groups()
    if before.lower().endswith("hf"):
        # The @ of hf://owner/name@revision ends no user.
        address = hidden(re.sub(r"^[^/@]+@", "***@", address))
    elif "@" in address:
        user, _, address = address.rpartition("@")
        if re.search("[?#]", user):  # perhaps it is no user that ends there
            return f"{before}{mark}***"
        address = f"***@{address}"
    address = _FRAGMENT.sub("#***", _QUERY.sub("?***", address))
    return f"{before}{mark}{address}"


def hide(arguments, text):
    """A text about parsed arguments, without their secrets.

    Args:
        arguments: an `argparse.Namespace`.
        text: for example of an error that quotes some of them.
    """
    for value in vars(arguments).values():
        for word in value if isinstance(value, list) else [value]:
            if isinstance(word, str) and hidden(word) != word:
                for form, shown in _forms(word):
                    text = text.replace(form, shown)
                    text = text.replace(redact(form), shown)
    return redact(text)


def _forms(word):
    """Pairs: how an error may quote an argument, and what is shown instead."""
    path, shown = str(pathlib.Path(word)), hidden(word)
    # The hash of a preset comes after a #, the part of a data set after a /.
    start = word.partition("#")[0], shown.partition("#")[0]
    name = word.partition("/")[0]
    return (word, shown), (path, hidden(path)), start, (name, hidden(name))
