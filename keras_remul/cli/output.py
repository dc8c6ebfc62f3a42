"""What commands print: text as it is, and tables.

Rich interprets `[b]` and `:name:` as markup, and paths and errors may hold
both. So all commands print through this module.
"""

from rich.console import Console


def say(text):
    """Prints text as it is; only the terminal breaks lines."""
    _console().print(text, soft_wrap=True)


def show(table):
    """Prints a `rich.table.Table` whose cells and titles are as given."""
    _console().print(table)


def _console():
    return Console(markup=False, emoji=False, highlight=False)
