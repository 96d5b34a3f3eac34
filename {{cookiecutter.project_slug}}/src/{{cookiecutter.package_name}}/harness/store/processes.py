"""The process that holds an experiment: what names it, and whether it still lives."""

import os
import platform
import uuid
from pathlib import Path

import psutil
from pydantic import BaseModel, Field


class Holder(BaseModel):
    """What a lock says of the process that holds it."""

    id: str = Field(pattern="^[0-9a-f]{32}$")
    host: str
    kernel: str
    pid: int
    began: float

    @classmethod
    def this_process(cls) -> "Holder":
        return cls(
            id=uuid.uuid4().hex,
            host=platform.node(),
            kernel=this_kernel(),
            pid=os.getpid(),
            began=_began(psutil.Process()),
        )

    def lives(self) -> bool:
        """Whether the process, which is one of this machine, lives. A suspended one does.

        One that was killed stays as a zombie until its parent looks.
        """
        if not psutil.pid_exists(self.pid):
            return False
        try:
            process = psutil.Process(self.pid)
            return process.status() != psutil.STATUS_ZOMBIE and (
                abs(_began(process) - self.began) < 2  # the boot is known to the second
            )
        except psutil.ZombieProcess:
            return False
        except psutil.Error:  # another user's, which this one may not look at
            return True


def _began(process: psutil.Process) -> float:
    """When a process began. On Linux in seconds after the boot, which setting a clock leaves."""
    return process.create_time() - (psutil.boot_time() if psutil.LINUX else 0)


def this_kernel() -> str:
    """What numbers the processes: this boot of this machine, or a container on it."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("utf-8").strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:  # no Linux
        return platform.node()
