"""The process that holds an experiment's lock: what identifies it, and whether it is alive."""

import os
import platform
import uuid
from pathlib import Path
from typing import Self

import psutil
from pydantic import BaseModel, Field


class Holder(BaseModel):
    """The process that holds a lock, as the lock's file names it."""

    id: str = Field(pattern="^[0-9a-f]{32}$")
    host: str
    kernel: str
    pid: int
    began: float

    @classmethod
    def this_process(cls) -> Self:
        return cls(
            id=uuid.uuid4().hex,
            host=platform.node(),
            kernel=this_kernel(),
            pid=os.getpid(),
            began=_began(psutil.Process()),
        )

    def lives(self) -> bool:
        """Whether the process, which is on this machine, is alive, or suspended.

        A zombie is not: a killed process stays as one until its parent waits for it.
        """
        try:
            process = psutil.Process(self.pid)
            return process.status() != psutil.STATUS_ZOMBIE and (
                abs(_began(process) - self.began) < 2  # boot_time() is in whole seconds
            )
        except psutil.NoSuchProcess:  # or it has just become a zombie
            return False
        except psutil.Error:  # another user's process, which is hidden from this one
            return True


def _began(process: psutil.Process) -> float:
    """When a process began; on Linux in seconds since the boot, whatever clock is changed."""
    return process.create_time() - (psutil.boot_time() if psutil.LINUX else 0)


def this_kernel() -> str:
    """What gives out process ids: this machine since its boot, or a container on it."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("utf-8").strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:  # not Linux
        return platform.node()
