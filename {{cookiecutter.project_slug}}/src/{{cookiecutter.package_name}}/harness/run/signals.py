"""Ctrl-C, and the signals that end a job on a cluster: save, say how to resume, then end."""

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from ray.tune import Callback

from ..ray_environment import BLOCKED, ENDING
from ..tune.ray_internals import end_daemons_at_once


def exit_code(number: int) -> int:
    """128 + the signal, as in shells; 0 after SIGUSR1, as in Ray."""
    return 0 if signal.Signals(number).name == "SIGUSR1" else 128 + number


class Interrupted(BaseException):
    """A signal arrived before the first trial: there is nothing to save."""

    def __init__(self, number: int) -> None:
        self.number = number


class SignalCallback(Callback):
    """Makes the other signals do what SIGINT does in Ray: save the state and return.

    `received` is the number of the first signal, or None. A cluster's scheduler signals the whole
    process group, with Ray's daemons. Signals that are blocked while these start stay blocked in
    them, so that they live while the state is saved. Ray does this itself only for SIGINT.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._early: int | None = None
        self._catch(self._too_early)

    def _too_early(self, number: int, frame: Any) -> None:
        self._early = number
        raise Interrupted(number)

    def block(self) -> None:
        """Called before Ray starts. A signal that arrives meanwhile waits for `setup`."""
        signal.pthread_sigmask(signal.SIG_BLOCK, BLOCKED)

    def unblock(self) -> None:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, BLOCKED)

    def setup(self, *_: Any, **info: Any) -> None:
        """Called when Ray has set its handlers of SIGINT, SIGUSR1 and SIGTERM."""
        if self._early is not None:  # Ray may have swallowed the exception while it started
            raise Interrupted(self._early)
        self._ray = signal.getsignal(signal.SIGINT)
        self._catch(self._save)
        self.unblock()

    def finish(self) -> None:
        """Called when Ray is done. The outcome is not saved yet."""
        self._ray = None
        self._catch(self._save)
        end_daemons_at_once()

    def _catch(self, handler: Callable[[int, Any], None]) -> None:
        for number in ENDING:
            if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup sets it
                signal.signal(number, handler)

    def _save(self, number: int, frame: Any) -> None:
        if self.received is not None:
            if sys.stdout.isatty():  # progress.py may have left a line there
                os.write(sys.stdout.fileno(), b"\n")
            os._exit(exit_code(number))
        self.received = number
        print(f"\n{signal.Signals(number).name}: saving; a second one ends at once", flush=True)
        if callable(self._ray):
            self._ray(number, frame)
        signal.signal(signal.SIGINT, self._save)  # Ray has put the first handler back
