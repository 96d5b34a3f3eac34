"""One run at a time in an experiment's folder, also when two are started on two machines.

The lock is a file in the experiment's folder that names its holder: a process, and the kernel that
it runs on. A run that finds a lock checks whether its holder is alive:

- On the same machine it looks for the process, by its id and its start time since the boot: a
  reused id, a zombie or a changed clock can't deceive it. A living process keeps its lock, however
  long it is silent.
- On another machine it can't look. Every holder touches its lock each SECONDS_BETWEEN_BEATS, in a
  thread, so that a long step or an export does not delay it. A lock that is not touched while a run
  watches it for SECONDS_UNTIL_DEAD is dead. (Only `is_running`, which can't wait, goes by clocks.)

A run takes over a dead lock by creating a file named after the dead holder's id, which only one
can do. These files form a chain. The last one names the holder, which replaces the chain by one
file.

Not `flock`: many shared folders ignore it, and a bucket has none, so all of this would still be
needed.
"""

import contextlib
import hashlib
import os
import signal
import threading
import time
from collections.abc import Iterator

from pydantic import ValidationError

from ..errors import Refusal, reason
from .processes import Holder, this_kernel
from .storage import SECONDS_TO_ANSWER, Folder

FILE = "run.lock"
SECONDS_BETWEEN_BEATS = 10.0
SECONDS_UNTIL_DEAD = 60.0
SECONDS_TO_LOOK_AGAIN = 1.0


class LockLost(BaseException):
    """Another run has taken the experiment while this one was suspended.

    Not an Exception: Ray treats an exception of a callback as a failure of the trial.
    """


def is_lock(entry: str) -> bool:
    """Whether an entry of an experiment's folder belongs to its lock."""
    return entry.startswith((FILE, f".{FILE}"))


class ExperimentLock:
    """This run's lock of its experiment. A thread touches it until `release`."""

    def __init__(self, folder: Folder) -> None:
        self.folder = folder
        self.holder = Holder.this_process()
        self._content = self.holder.model_dump_json().encode()
        self._lost = False
        self._seen = 0.0  # when the lock was last seen to be this run's
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="experiment lock", daemon=True)

    def acquire(self) -> None:
        """Take the lock. Raises Refusal when another run has it, OSError when the storage fails."""
        tried: str | None = None
        while True:
            free, holder = _last(self.folder)
            if self._is(holder):
                break
            # A file of ours that is not the last: others have made one file of the chain.
            if tried is not None and self.folder.read(tried) == self._content:
                self.folder.delete(tried)
            if holder is not None and _lives(self.folder, holder, watch=True):
                raise Refusal(
                    f"{self.folder.name!r} is being run now, by process {holder.pid} on"
                    f" {holder.host}: wait for it, or give another name"
                )
            self.folder.create(self._content, free)
            tried = free
            if not self.folder.local:  # in a bucket, the last of two that create it stays
                time.sleep(SECONDS_TO_LOOK_AGAIN)
        if tried != FILE:
            self.folder.write(self._content, FILE)
        for entry in self.folder.files():
            if entry.startswith(f"{FILE}."):
                self.folder.delete(entry)
        self._seen = time.time()
        # The thread gets no signals: the main thread blocks some of them for a while.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        self._thread.start()
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    def _is(self, holder: Holder | None) -> bool:
        return holder is not None and holder.id == self.holder.id

    def release(self) -> None:
        """Give the lock back, unless another run has taken it."""
        self._ended.set()
        if self._thread.ident is not None:
            self._thread.join(SECONDS_TO_ANSWER)
        if self._thread.is_alive() or self.holder.pid != os.getpid():
            return  # the storage does not answer; or this is a fork, which has no lock
        if self._holds():
            self.folder.delete(FILE)

    def _holds(self) -> bool:
        now = time.time()  # before looking: this process may be suspended at any moment
        self._lost = self._lost or not self._is(_last(self.folder)[1])
        if not self._lost:
            self._seen = now
        return not self._lost

    def _beat(self) -> None:
        while not self._ended.wait(SECONDS_BETWEEN_BEATS):
            with contextlib.suppress(Exception):  # the end of the run reports a failing storage
                if not self._holds():
                    return
                if self.folder.local:  # not written: another run may have taken it just now
                    os.utime(self.folder.at(FILE))
                else:
                    self.folder.write(self._content, FILE)

    def keep(self) -> None:
        """Raise LockLost when the experiment is no longer this run's."""
        if not self._holds():
            raise LockLost(
                f"{self.folder.name!r} was taken by another run while this one was suspended:"
                " this one ends, and leaves it as it is; `list` shows how that ends"
            )

    def renew(self) -> None:
        """Call `keep` if the last look is some seconds old: cheap enough for each result.

        If this process was suspended for long enough to lose the lock, its last look is older.
        """
        if self._lost or abs(time.time() - self._seen) > SECONDS_BETWEEN_BEATS:
            with contextlib.suppress(OSError):
                self.keep()


def _last(folder: Folder) -> tuple[str, Holder | None]:
    """The file that the next holder has to create, and the present holder."""
    files, holder = [FILE], None
    while (content := folder.read(files[-1])) is not None:
        try:
            holder = Holder.model_validate_json(content)
        except ValidationError:  # written by an older version, or empty after a power cut
            unique = hashlib.sha256(content + files[-1].encode()).hexdigest()[:32]
            holder = Holder(id=unique, host="an unknown host", kernel="", pid=0, began=0)
        files.append(f"{FILE}.{holder.id}")
        if files[-1] in files[:-1]:
            raise OSError(f"{folder.name}/{FILE} leads to itself")
    return files[-1], holder


def _lives(folder: Folder, holder: Holder, *, watch: bool) -> bool:
    """Whether the holder of a lock is alive.

    watch: if it is on another machine, watch its lock instead of comparing clocks
    """
    if holder.kernel == this_kernel():
        return holder.lives()
    before, since = _touched(folder), time.monotonic()
    if not watch:
        return time.time() - before / 1e9 < SECONDS_UNTIL_DEAD
    print(
        f"{folder.name!r} was being run by process {holder.pid} on {holder.host}: watching for"
        f" {SECONDS_UNTIL_DEAD:.0f} s whether it still is …",
        flush=True,
    )
    while time.monotonic() - since < SECONDS_UNTIL_DEAD:
        time.sleep(min(SECONDS_TO_LOOK_AGAIN, SECONDS_BETWEEN_BEATS))
        if (now := _touched(folder)) != before:
            return now != 0  # 0: the lock was deleted
    return False


def _touched(folder: Folder) -> int:
    """When the lock was last touched, in nanoseconds of the storage's clock; 0 without a lock."""
    folder.read(FILE)  # NFS asks its server only when a file is opened
    return int(folder.filesystem.get_file_info(folder.at(FILE)).mtime_ns or 0)


def is_running(folder: Folder) -> bool:
    """Whether the experiment is running now."""
    holder = _last(folder)[1]
    return holder is not None and _lives(folder, holder, watch=False)


@contextlib.contextmanager
def locked(folder: Folder) -> Iterator[ExperimentLock]:
    """Lock the experiment for this run. Raises Refusal when another run holds the lock."""
    lock = ExperimentLock(folder)
    try:
        try:
            lock.acquire()
        except OSError as error:
            why = f"{folder.name!r}: its {FILE} can't be written ({reason(error)})"
            raise Refusal(why) from None
        yield lock
    finally:
        with contextlib.suppress(OSError):
            lock.release()
