"""What commands print: text as it is, and tables, also as JSON and CSV.

Rich interprets `[b]` and `:name:` as markup, and paths and errors may hold
both. So all commands print through this module.
"""

import csv
import json
import os
import sys

from keras_remul.utils import atomic

# Characters of a line where no terminal is to be filled.
_WIDE = 10_000


def add_formats(parser):
    """Adds the options of a command that prints one table."""
    group = parser.add_mutually_exclusive_group()
    for name in ("json", "csv"):
        group.add_argument(
            f"--{name}",
            dest="printed_as",
            action="store_const",
            const=name,
            help=f"print the table as {name.upper()}, with all digits",
        )


def say(text, arguments=None):
    """Prints text as it is; only the terminal breaks lines.

    Args:
        text: the text.
        arguments: those of the command. Where its table is printed as JSON or
            CSV, the text goes to the standard error.
    """
    aside = getattr(arguments, "printed_as", None) is not None
    _console(sys.stderr if aside else sys.stdout).print(text, soft_wrap=True)


def show(arguments, columns, rows, title=None, caption=None, header=True):
    """Prints a table, in the format that the command was asked for.

    Args:
        arguments: those of the command, see `add_formats`.
        columns: dict from keys of the rows to the heads of the columns, or to
            pairs of a head and how its numbers are written, such as `".4g"`.
        rows: list of dicts: numbers, text, lists of these, None for nothing.
        title, caption: text above and below, not in JSON and CSV. Optional.
        header: whether the heads of the columns are shown. Defaults to True.
    """
    printed_as = getattr(arguments, "printed_as", None)
    rows = [{key: row.get(key) for key in columns} for row in rows]
    if printed_as == "json":
        print(json.dumps(atomic.finite(rows), indent=1, ensure_ascii=False))
    elif printed_as == "csv":
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(columns)
        for row in rows:
            writer.writerow([_text(value) for value in row.values()])
    else:
        _show_table(columns, rows, title, caption, header)


def _show_table(columns, rows, title, caption, header):
    from rich.table import Table

    table = Table(title=title, caption=caption, show_header=header)
    heads, styles = [], []
    for column in columns.values():
        head, style = (column, "") if isinstance(column, str) else column
        table.add_column(head, overflow="fold")  # no name is cut short
        heads.append(head)
        styles.append(style)
    texts = [[*map(_text, row.values(), styles)] for row in rows]
    console = _console(sys.stdout)
    if header and _least_width([heads, *texts]) > console.width:
        _show_list(heads, texts, title, caption)
        return
    for text in texts:
        table.add_row(*text)
    console.print(table)


def _least_width(rows):
    """Characters of the lines of a table in which no word is broken."""
    longest = [
        max(map(_longest_word, column)) for column in zip(*rows, strict=True)
    ]
    return sum(longest) + 3 * len(longest) + 1


def _longest_word(text):
    return max(map(len, text.split()), default=0)


def _show_list(heads, rows, title, caption):
    """A table on a narrow terminal: each row as a paragraph."""
    if title:
        say(title)
    for name, *texts in rows:
        say(name)
        for head, text in zip(heads[1:], texts, strict=True):
            if text:
                say(f"  {head}: {text}")
    if caption:
        say(caption)


def _text(value, style=""):
    """A cell of a table."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_text, value))
    if isinstance(value, str):
        return value
    return format(value, style)


def _console(stream):
    from rich.console import Console

    filled = stream.isatty() or "COLUMNS" in os.environ
    return Console(
        file=stream,
        width=None if filled else _WIDE,
        markup=False,
        emoji=False,
        highlight=False,
    )
