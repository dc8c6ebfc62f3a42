"""Docstrings as the API pages of the site show them.

Griffe, which reads them, knows the sections Args and Raises. Others it would
show as coloured boxes, with `>>>` as a quotation. `mkdocs.yml` names this file.
"""

import re
import textwrap

import griffe

_SECTION = re.compile(
    r"^(Call arguments|Returns|Example|Reference):\n\n?((?: {4}.*\n?|\n)+)",
    re.MULTILINE,
)
_ARGUMENT = re.compile(r"^(\w[\w, *]*): ", re.MULTILINE)
# Up to the next empty line.
_EXAMPLE = re.compile(r"^>>> .*\n?(?:^.+\n?)*", re.MULTILINE)
_FORMULA = re.compile(r"^(`[^`\n]+`)$", re.MULTILINE)


def markdown(text):
    """The Markdown of a docstring.

    Args:
        text: the docstring, without indentation.

    Returns:
        The same text: what follows `>>>` is code, formulas have lines of their
        own, and the sections that Griffe does not know have titles in bold.
    """
    text = _SECTION.sub(_section, text)
    text = re.sub(r"^(Example|Reference):$", r"**\1:**", text, flags=re.M)
    text = _FORMULA.sub(r"\1  ", text)
    return _EXAMPLE.sub(
        lambda found: f"\n```python\n{found[0].rstrip()}\n```\n", text
    )


def _section(found):
    title, body = found[1], textwrap.dedent(found[2])
    if title == "Call arguments":
        body = _ARGUMENT.sub(r"- **`\1`** – ", body)
    return f"**{title}:**\n\n{body}\n"


class Markdown(griffe.Extension):
    """Does so with all docstrings."""

    def on_object(self, *, obj, **kwargs):
        if obj.docstring:
            obj.docstring.value = markdown(obj.docstring.value)
