"""Refusal: bad input, in one line. Helpers that word its messages, and the exit codes."""

import difflib
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

__all__ = ["Refusal"]

DONE, TRIAL_FAILED, REFUSED = 0, 1, 2  # exit codes


class Refusal(Exception):
    """Bad input: one finding per line. A command prints them and ends with exit code 2.

    A finding names what was given, its value, and what is accepted.
    """

    def __init__(self, *findings: str) -> None:
        super().__init__("\n".join(findings))
        self.findings = findings


@contextmanager
def refused(given: str) -> Iterator[None]:
    """Turn an OSError of a storage or a file into a Refusal.

    given: the setting that names it, with its value
    """
    try:
        yield
    except OSError as error:
        raise Refusal(f"{given}: {reason(error)}") from None


def reason(error: BaseException) -> str:
    """The message of an error: its first line, without passwords."""
    # pyarrow writes details of the request before the reason.
    lines = str(error).rpartition("Detail: ")[2].splitlines()
    return without_password(next(iter(lines), type(error).__name__))


def nearest(name: str, known: Iterable[str], otherwise: str = "`config` lists all") -> str:
    """A hint for a wrong name: the most similar known one, or else `otherwise`."""
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]}?" if near else otherwise


def without_password(text: str) -> str:
    """A text without the credentials in its URIs."""
    return re.sub(r"://[^/\s]*@", "://***@", text)
