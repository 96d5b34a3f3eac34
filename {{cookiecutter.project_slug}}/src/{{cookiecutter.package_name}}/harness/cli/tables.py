"""Tables, as the commands print them."""

import sys
from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Column, Table

NO_END = 1_000_000  # columns: in a pipe or a file, no line is cut or wrapped


def make_console() -> Console:
    """A console that prints text as it is: `[red]` or `:smile:` in a path means nothing."""
    width = None if sys.stdout.isatty() else NO_END
    return Console(width=width, markup=False, emoji=False, highlight=False)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table. In a terminal, long cells are folded."""
    table = Table(*(Column(name, overflow="fold") for name in columns), box=None, pad_edge=False)
    for row in rows:
        table.add_row(*row)
    make_console().print(table)
