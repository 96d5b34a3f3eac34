"""The terminal of a run: rich's console, and Ray's log lines above its last line."""

import logging
from typing import Any

from rich.console import Console, RenderableType
from rich.table import Table


class Terminal(Console):
    """Leaves the cursor as it is: one that is hidden stays so when the process is killed."""

    def show_cursor(self, show: bool = True) -> bool:
        return False


def log_to(stream: Any) -> None:
    """Let Ray's log lines go where sys.stderr leads now: above the last line, or straight."""
    for handler in logging.getLogger("ray").handlers:
        if isinstance(handler, logging.StreamHandler) and not isinstance(
            handler, logging.FileHandler
        ):
            handler.setStream(stream)


def columns(*rows: tuple[str, *tuple[RenderableType, ...]]) -> Table:
    """The time passed, and what is beside it; what is too long is folded there."""
    table = Table.grid(padding=(0, 2, 0, 0))
    for passed, *others in rows:
        table.add_row(f"{passed:>7}", *others)
    return table
