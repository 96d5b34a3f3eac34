"""Ctrl-C, and the signals by which a cluster ends a job: save, say how to resume, then end."""

import os
import signal
import sys
from typing import Any

from ray.tune import Callback

from ..ray_environment import BLOCKED, ENDING
from ..tune.ray_internals import end_daemons_at_once


def exit_code(number: int) -> int:
    """128 + the signal, as shells have it; after SIGUSR1 0, as Ray has it."""
    return 0 if signal.Signals(number).name == "SIGUSR1" else 128 + number


class Interrupted(BaseException):
    """A signal arrived before the first trial: there is nothing to save."""

    def __init__(self, number: int) -> None:
        self.number = number


class SignalCallback(Callback):
    """Lets the other signals do what Ray does for SIGINT: save the state and return.

    `received` is the number of the first signal, or None. A scheduler signals the whole process
    group, and Ray's daemons are in it. What is blocked while they start stays blocked in them, and
    they live on while the state is saved; Ray itself does so with SIGINT alone.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._early: int | None = None
        for number in ENDING:
            if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup sets it
                signal.signal(number, self._too_early)

    def _too_early(self, number: int, frame: Any) -> None:
        self._early = number
        raise Interrupted(number)

    def block(self) -> None:
        """Called before Ray starts. A signal that comes meanwhile waits for `setup`."""
        signal.pthread_sigmask(signal.SIG_BLOCK, BLOCKED)

    def unblock(self) -> None:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, BLOCKED)

    def setup(self, *_: Any, **info: Any) -> None:
        """Called when Ray has set its handlers, of SIGINT, SIGUSR1, and an exit for SIGTERM."""
        if self._early is not None:  # what was raised while Ray started may have been lost in it
            raise Interrupted(self._early)
        self._ray = signal.getsignal(signal.SIGINT)
        self._catch()
        self.unblock()

    def finish(self) -> None:
        """Called when Ray is done: the outcome is still to be written down."""
        self._ray = None
        self._catch()
        end_daemons_at_once()

    def _catch(self) -> None:
        for number in ENDING:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._save)

    def _save(self, number: int, frame: Any) -> None:
        if self.received is not None:
            if sys.stdout.isatty():  # harness/run/progress.py may have a line there
                os.write(sys.stdout.fileno(), b"\n")
            os._exit(exit_code(number))
        self.received = number
        print(f"\n{signal.Signals(number).name}: saving; a second one ends at once", flush=True)
        if callable(self._ray):
            self._ray(number, frame)
        signal.signal(signal.SIGINT, self._save)  # Ray has put the first handler back
