"""What commands print: text as it is, and tables.

Rich takes `[b]` and `:name:` for markup, and paths and errors may hold both.
So no command prints but through here.
"""

from rich.console import Console


def say(text):
    """Prints text as it is; lines are broken by the terminal alone."""
    _console().print(text, soft_wrap=True)


def show(table):
    """Prints a `rich.table.Table` whose cells and titles are as given."""
    _console().print(table)


def _console():
    return Console(markup=False, emoji=False, highlight=False)
