"""Lines, words and numbers of Acclaim files."""

import math
import re

from keras_remul.utils import plain_files

LARGEST = 2**28  # bytes of a file; those of the data base have a few MB
# Python's float() also takes 1_0, nan, inf and the digits of other scripts.
_NUMBER = re.compile(
    r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?", re.ASCII
)


def lines_of(path):
    """Yields (number of the line, its words), without comments.

    Lines end as on any system; any byte is a character (latin-1).

    Args:
        path: path of the file.

    Raises:
        ValueError: it is not a file, or is larger than `LARGEST`.
    """
    text = plain_files.read_plain(path, LARGEST).decode("latin-1")
    # Not str.splitlines: it ends lines at the byte 0x85 of a comment too.
    for i, line in enumerate(re.split("\r\n|\r|\n", text), start=1):
        words = line.split("#")[0].split()
        if words:
            yield i, words


def number(word, where):
    """Reads a finite number in decimal digits.

    Args:
        word: string.
        where: its meaning and its file, for the error.

    Raises:
        ValueError: it is not such a number.
    """
    value = float(word) if _NUMBER.fullmatch(word) else math.nan
    if not math.isfinite(value):
        raise ValueError(
            f"Bad number for {where}: {word!r}. Expected decimal digits, as "
            "in -1.5e-3. Correct the file, or get it again."
        )
    return value


def three(words, where):
    """Three numbers, see `number`."""
    if len(words) != 3:
        raise ValueError(f"Expected three numbers for {where}: {words}")
    return [number(word, where) for word in words]


def axis_order(word, where):
    """`"xyz"` or another of the six orders, from a word such as `"XYZ"`.

    Raises:
        ValueError: the word is not such an order.
    """
    if sorted(word.lower()) != ["x", "y", "z"]:
        raise ValueError(
            f"Expected an order of rotations such as XYZ for {where}. "
            f"Received: {word!r}"
        )
    return word.lower()


def sections(path):
    """`{":bonedata": [words of each line], ...}` of an ASF file.

    Raises:
        ValueError: a section comes twice.
    """
    found, lines = {}, []
    for i, words in lines_of(path):
        if words[0].startswith(":"):
            name = words[0].lower()
            if name in found:
                raise ValueError(
                    f"Section {name!r} comes twice, again in line {i} of "
                    f"{path}. Keep one of them."
                )
            lines = found[name] = []
            words = words[1:]
        if words:
            lines.append(words)
    return found


def keyed(lines, where, repeated=()):
    """`{keyword: words}` of lines that start with different keywords.

    Args:
        lines: list of lists of words.
        where: what they describe, and the file, for the error.
        repeated: first characters of lines to skip, which may repeat.

    Raises:
        ValueError: a keyword comes twice.
    """
    found = {}
    for words in lines:
        key = words[0].lower()
        if key.startswith(repeated):
            continue
        if key in found:
            raise ValueError(
                f"{key!r} comes twice for {where}. Keep one of them."
            )
        found[key] = words[1:]
    return found


def blocks(lines, path):
    """The lines of each begin ... end of `:bonedata`.

    Raises:
        ValueError: one begins in another, or does not end.
    """
    block, result = None, []
    for words in lines:
        if words[0].lower() == "begin":
            if block is not None:
                raise ValueError(
                    f"A bone begins before the last one ends in {path}; the "
                    "file may be damaged. Get it again."
                )
            block = []
        elif words[0].lower() == "end" and block is not None:
            result.append(block)
            block = None
        elif block is not None:
            block.append(words)
    if block is not None:
        raise ValueError(
            f"The last bone has no end in {path}; the file may be cut short. "
            "Get it again."
        )
    return result
