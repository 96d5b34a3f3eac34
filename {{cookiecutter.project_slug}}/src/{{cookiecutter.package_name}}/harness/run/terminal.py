"""The terminal of a run: rich's console, with Ray's log lines above the progress line."""

import logging
from typing import Any

from rich.console import Console, RenderableType
from rich.table import Table


class Terminal(Console):
    """Never hides the cursor: after a kill it would stay hidden."""

    def show_cursor(self, show: bool = True) -> bool:
        return False


def log_to(stream: Any) -> None:
    """Send Ray's log lines to a stream: rich's, above the progress line, or stderr itself."""
    for handler in logging.getLogger("ray").handlers:
        if isinstance(handler, logging.StreamHandler) and not isinstance(
            handler, logging.FileHandler
        ):
            handler.setStream(stream)


def columns(*rows: tuple[str, *tuple[RenderableType, ...]]) -> Table:
    """A table without lines; the first column is the time passed."""
    table = Table.grid(padding=(0, 2, 0, 0))
    for passed, *others in rows:
        table.add_row(f"{passed:>7}", *others)
    return table
