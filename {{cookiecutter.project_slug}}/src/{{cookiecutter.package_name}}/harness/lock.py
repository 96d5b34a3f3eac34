"""One run at a time in an experiment's folder, also when the two are on two machines."""

import contextlib
import json
import os
import platform
import time
import uuid
from collections.abc import Iterator
from typing import Any

import psutil

from .configuration import Refusal
from .storage import Storage

FILE = "run.lock"
SECONDS_BETWEEN_BEATS = 20.0
SECONDS_UNTIL_DEAD = 120.0
SECONDS_TO_LOOK_AGAIN = 1.0


class LockLost(BaseException):
    """Another run has taken the experiment, while this one was asleep for too long.

    No Exception: Ray would take one that a callback raises for a fault of the trial.
    """


class ExperimentLock:
    """This run's hold on its experiment, renewed while trials run."""

    def __init__(self, storage: Storage, name: str) -> None:
        self.storage, self.name = storage, name
        self.facts: dict[str, Any] = {
            "id": uuid.uuid4().hex,
            "host": platform.node(),
            "pid": os.getpid(),
            "beat": time.time(),
        }

    def content(self) -> bytes:
        self.facts["beat"] = time.time()
        return json.dumps(self.facts).encode()

    def renew(self) -> None:
        """Tell the others that this run is alive, unless it has just been told.

        Raises LockLost when this run was taken for dead, and another holds the experiment.
        """
        if time.time() - self.facts["beat"] > SECONDS_BETWEEN_BEATS:
            with contextlib.suppress(OSError):  # a storage that fails is told of at the end
                self.keep()
                self.storage.write(self.content(), self.name, FILE)

    def keep(self) -> None:
        """Raise LockLost when the experiment is no longer this run's."""
        if not self.holds():
            raise LockLost(
                f"{self.name!r} was taken by another run while this one was suspended: this one"
                " ends, and leaves it as it is; `list` shows how it goes on"
            )

    def holds(self) -> bool:
        """Whether the lock is still this run's."""
        return self.facts["id"].encode() in (self.storage.read(self.name, FILE) or b"")

    def release(self) -> None:
        """Let the next run have the experiment, unless it has it already."""
        if self.holds():
            self.storage.delete(self.name, FILE)


def _holder(storage: Storage, name: str) -> dict[str, Any] | None:
    """The run that holds the experiment, if it is alive."""
    try:
        facts = json.loads(storage.read(name, FILE) or b"null")
    except ValueError:  # cut off while it was written
        return None
    if facts is None or time.time() - facts["beat"] > SECONDS_UNTIL_DEAD:
        return None
    if facts["host"] == platform.node() and not _alive(facts["pid"], facts["beat"]):
        return None
    return dict(facts)


def _alive(pid: int, beat: float) -> bool:
    """Whether a process of this host is the one that wrote a lock at the time `beat`.

    One that was killed stays as a zombie until its parent looks; one that began after the beat
    has only the number of the one that wrote it.
    """
    try:
        process = psutil.Process(pid)
        started = process.create_time()  # to the second
        return process.status() != psutil.STATUS_ZOMBIE and started < beat + 1
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True


def running(storage: Storage, name: str) -> bool:
    """Whether a run is at work in the experiment now."""
    return _holder(storage, name) is not None


@contextlib.contextmanager
def locked(storage: Storage, name: str) -> Iterator[ExperimentLock]:
    """Hold the experiment for this run. Raises Refusal when another run does."""
    lock = ExperimentLock(storage, name)
    for _ in range(2):
        if storage.create(lock.content(), name, FILE):
            break
        holder = _holder(storage, name)
        if holder is not None:
            raise Refusal(
                f"{name!r} is being run now, by process {holder['pid']} on {holder['host']}:"
                " wait for it, or give another name"
            )
        storage.delete(name, FILE)  # what a killed run left
    if not storage.local:  # a bucket creates twice: of two at once, the last to write holds it
        time.sleep(SECONDS_TO_LOOK_AGAIN)
    written = json.loads(storage.read(name, FILE) or b"{}")
    if written.get("id") != lock.facts["id"]:
        raise Refusal(f"{name!r} is being run now, by a process that started at the same moment")
    try:
        yield lock
    finally:
        with contextlib.suppress(OSError):
            lock.release()
