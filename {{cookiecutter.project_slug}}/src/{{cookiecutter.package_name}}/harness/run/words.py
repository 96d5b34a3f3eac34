"""Numbers and times as text."""

from typing import Any


def counted(number: int, what: str) -> str:
    """A number of things: "1 trial", "2 trials"."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def clock(seconds: float) -> str:
    """Time passed, as 0:30 or 8:00:00."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def span(seconds: float) -> str:
    """An approximate time: 30 s, 8 min, 1.5 h."""
    if seconds < 100:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def short(value: Any) -> str:
    """A value as text; a float with four digits."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
