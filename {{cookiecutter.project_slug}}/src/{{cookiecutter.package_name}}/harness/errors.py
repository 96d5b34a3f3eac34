"""What is refused, in one line, and the words for it."""

import difflib
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

__all__ = ["Refusal"]


class Refusal(Exception):
    """What is wrong, one line a finding. A command prints them and ends with exit code 2.

    A line names what was given, its value, and what is accepted.
    """

    def __init__(self, *findings: str) -> None:
        super().__init__("\n".join(findings))
        self.findings = findings


@contextmanager
def refused(given: str, otherwise: str = "") -> Iterator[None]:
    """Make a Refusal of what a storage, or a file, raises (OSError).

    given: the setting that names it, with its value; otherwise: what may be done instead
    """
    try:
        yield
    except OSError as error:
        raise Refusal(f"{given}: {reason(error)}{otherwise}") from None


def reason(error: BaseException) -> str:
    """What an error says is wrong: one line, without a password."""
    # pyarrow puts where it was found before the reason.
    lines = str(error).rpartition("Detail: ")[2].splitlines()
    return without_password(next(iter(lines), type(error).__name__))


def nearest(name: str, known: Iterable[str], otherwise: str = "`config` lists all") -> str:
    """What the writer of a wrong name may have meant."""
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]}?" if near else otherwise


def without_password(text: str) -> str:
    """A text without the credentials that a URI in it may carry."""
    return re.sub(r"://[^/\s]*@", "://***@", text)
