"""A small disk that a test can fill, or make read-only: a tmpfs, for which one must be root."""

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest


class Disk:
    def __init__(self, folder: Path) -> None:
        self.folder, self.filler = folder, folder / "filler"

    def mount(self, options: str) -> None:
        """Mount again, `ro` or `rw`; a file that is open for writing puts it off."""
        said = ""
        for _ in range(200):
            done = mount("-o", f"remount,{options}", self.folder)
            if done.returncode == 0:
                return
            said = done.stderr
        raise AssertionError(said)

    def fill(self) -> None:
        """Take all the space that is left."""
        with contextlib.suppress(OSError), self.filler.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(65536))
        with contextlib.suppress(OSError), self.filler.open("ab", buffering=0) as file:
            while True:
                file.write(bytes(512))

    def empty(self) -> None:
        self.filler.unlink()


def mount(*words: object) -> subprocess.CompletedProcess[str]:
    command = ["mount", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)


@contextlib.contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Disk]:
    folder.mkdir(parents=True, exist_ok=True)
    try:
        done = mount("-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder)
        reason = done.stderr.strip() if done.returncode else ""
    except OSError as error:
        reason = str(error)
    if reason:
        pytest.skip(f"no small disk without the right to mount one: {reason}")
    try:
        yield Disk(folder)
    finally:
        subprocess.run(["umount", "--lazy", folder], check=False, timeout=30)
