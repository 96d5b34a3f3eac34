"""Runs a command of a generated project in a terminal, and sees what its user sees."""

import contextlib
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pexpect
import pyte

from .project import PACKAGE, SECONDS, Project, kill_marked

LINES = 24


class Terminal:
    """A command in a terminal of its own, and the screen with all that has scrolled off it.

    looks: the last line of the screen, each time that it was another
    """

    def __init__(self, project: Project, *words: object, columns: int, **env: str) -> None:
        self.mark = uuid.uuid4().hex
        self.written = b""
        self.looks: list[str] = []
        self.screen: Any = pyte.HistoryScreen(columns, LINES, history=10_000, ratio=0.01)
        self._stream: Any = pyte.ByteStream(self.screen)
        self.child = pexpect.spawn(
            str(project.python),
            ["-m", PACKAGE, *map(str, words)],
            cwd=str(project.folder),
            env=project.environment(self.mark, **{"TERM": "xterm-256color", **env}),
            dimensions=(LINES, columns),
        )

    def until(self, happened: Callable[[], Any], seconds: float = SECONDS) -> Any:
        """Read along until `happened` returns something, which the end must not come before."""
        deadline = time.monotonic() + seconds
        while not (answer := happened()):
            assert self._read(), f"ended before, and showed:\n{self.text}\n{self.looks}"
            assert time.monotonic() < deadline, f"waited {seconds} s in vain:\n{self.text}"
        return answer

    def wait(self, seconds: float = SECONDS) -> int:
        """Read along to the end. Returns the exit code."""
        deadline = time.monotonic() + seconds
        while self._read():
            assert time.monotonic() < deadline, f"not done in {seconds} s:\n{self.text}"
        self.child.close()
        return -1 if self.child.exitstatus is None else int(self.child.exitstatus)

    def _read(self) -> bool:
        try:
            written: Any = self.child.read_nonblocking(65536, timeout=0.2)
        except pexpect.TIMEOUT:
            return True
        except pexpect.EOF:
            return False
        self.written += written
        self._stream.feed(written)
        if (last := next(reversed(self.lines), "")) not in self.looks[-1:]:
            self.looks.append(last)
        return True

    @property
    def lines(self) -> list[str]:
        """All lines, those that have scrolled off too."""
        above = [self._line(line) for line in self.screen.history.top]
        shown = [line.rstrip() for line in self.screen.display]
        while shown and not shown[-1]:
            shown.pop()
        return above + shown

    def _line(self, line: Any) -> str:
        return "".join(line[column].data for column in range(self.screen.columns)).rstrip()

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    def end(self) -> None:
        """Kill what is left, by its process id."""
        kill_marked(self.mark)
        self.child.close(force=True)


@contextlib.contextmanager
def terminal(project: Project, *words: object, columns: int, **env: str) -> Iterator[Terminal]:
    opened = Terminal(project, *words, columns=columns, **env)
    try:
        yield opened
    finally:
        opened.end()
