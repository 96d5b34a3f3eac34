"""Standard output: one that outlives its reader, and takes every character."""

import contextlib
import errno
import io
import os
import sys
from collections.abc import Iterator
from typing import Any, TextIO, cast

GONE = (errno.EPIPE, errno.EIO)  # the reader of a pipe, a terminal


class LastingOutput:
    """Passes text on to a stream; when it can't be written, it is lost, and nothing else happens.

    A night's sweep must not end because `less` or an SSH session did, or the disk of its log is
    full.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except OSError as error:
            self._lost(error)
        return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError as error:
            self._lost(error)

    def _lost(self, error: OSError) -> None:
        if error.errno in GONE:
            to_nowhere(self._stream)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def to_nowhere(stream: TextIO) -> None:
    """Lose what a stream has not written yet, and all to come."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def usable_streams() -> None:
    """Open the streams that were closed by `>&-`, and let none fail of a character.

    What opened a file next would get a closed stream's number, and Ray's processes inherit it.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        stream = getattr(sys, name)
        if stream is None:
            nowhere = os.open(os.devnull, os.O_RDWR)
            if nowhere != number:
                os.dup2(nowhere, number)
                os.close(nowhere)
            os.set_inheritable(number, True)
            stream = os.fdopen(number, mode, encoding="utf-8", closefd=False)
            setattr(sys, name, stream)
        if mode == "w" and isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


@contextlib.contextmanager
def lasting_output() -> Iterator[None]:
    """Let sys.stdout be such a stream for a while: during a run. Other commands say what failed."""
    before = sys.stdout
    sys.stdout = cast(TextIO, LastingOutput(before))
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stdout = before
