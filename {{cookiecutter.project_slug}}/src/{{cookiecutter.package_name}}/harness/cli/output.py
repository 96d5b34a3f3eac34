"""Standard streams that never end a command: readers that are gone, closed streams, encodings."""

import contextlib
import errno
import io
import os
import sys
from collections.abc import Iterator
from typing import Any, TextIO, cast

GONE = (errno.EPIPE, errno.EIO)  # the reader of a pipe is gone; a terminal is


class LastingOutput:
    """Passes text on to a stream, and drops what can't be written.

    A long run must not end because `less` or an SSH session did, or because the disk of its log is
    full.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with self._errors_dropped():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with self._errors_dropped():
            self._stream.flush()

    @contextlib.contextmanager
    def _errors_dropped(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno in GONE:
                to_nowhere(self._stream)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def to_nowhere(stream: TextIO) -> None:
    """Discard what a stream has not written yet, and all that follows."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def usable_streams() -> None:
    """Open the streams that `>&-` has closed; replace characters that an encoding doesn't have.

    Otherwise the next file that is opened gets the number of a closed stream, and Ray's processes
    write to it.
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
    """Let print drop what can't be written, during a run. Other commands say what failed."""
    lasting = LastingOutput(sys.stdout)
    with contextlib.redirect_stdout(cast(TextIO, lasting)):
        try:
            yield
        finally:
            lasting.flush()
