"""A local file system in which each file is whole, or absent.

A saved state of Ray names the class `WholeFiles` and this module: neither may move, nor change
its name.
"""

import contextlib
import io
import os
import posixpath
import re
import shutil
import uuid
from pathlib import Path
from typing import Any

from pyarrow import PythonFile, fs

# The name of a file while it is written, and of a folder while it is deleted. A kill may leave one.
UNFINISHED = re.compile(r"(^|/)\.[^/]*\.part(/|$)")
# What a resume can't do without also outlives a power cut, which takes a disk some milliseconds.
DURABLE = re.compile(r"/checkpoint_\d+/|/[^/]*state[^/]*$|/experiment\.json$")

# By path: what giving a file its name raised last, for `check_arrived`.
unreported: dict[str, Exception] = {}


class WholeFiles(fs.FileSystemHandler):  # type: ignore[misc]  # pyarrow carries no types
    """A local file system in which a file appears, or is replaced, when all of it is written.

    A folder is gone before its files are deleted, one by one.

    Ray copies results, states and checkpoints to the storage path over what is there: it empties a
    file, then writes it, and a kill in between would leave it empty. Ray's state names this class
    and its module, and its workers import them.
    """

    def __init__(self) -> None:
        self.disk: Any = fs.LocalFileSystem()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, WholeFiles)

    def open_output_stream(self, path: str, metadata: Any) -> PythonFile:
        return PythonFile(_WholeFile(path), mode="w")

    def copy_file(self, src: str, dest: str) -> None:
        with Path(src).open("rb") as source, _WholeFile(dest) as target:
            shutil.copyfileobj(source, target)

    def open_append_stream(self, path: str, metadata: Any) -> Any:
        raise NotImplementedError("a file that is appended to is not whole")

    def get_type_name(self) -> str:
        return "local"

    def get_file_info(self, paths: list[str]) -> Any:
        return self.disk.get_file_info(paths)

    def get_file_info_selector(self, selector: fs.FileSelector) -> Any:
        return self.disk.get_file_info(selector)

    def create_dir(self, path: str, recursive: bool) -> None:
        self.disk.create_dir(path, recursive=recursive)

    def delete_dir(self, path: str) -> None:
        hidden = _unfinished(path)
        Path(path).rename(hidden)
        self.disk.delete_dir(hidden)

    def delete_dir_contents(self, path: str, missing_dir_ok: bool = False) -> None:
        self.disk.delete_dir_contents(path, missing_dir_ok=missing_dir_ok)

    def delete_root_dir_contents(self) -> None:
        raise NotImplementedError("nobody deletes all files of a machine")

    def delete_file(self, path: str) -> None:
        self.disk.delete_file(path)

    def move(self, src: str, dest: str) -> None:
        self.disk.move(src, dest)

    def open_input_stream(self, path: str) -> Any:
        return self.disk.open_input_stream(path)

    def open_input_file(self, path: str) -> Any:
        return self.disk.open_input_file(path)

    def normalize_path(self, path: str) -> str:
        return str(self.disk.normalize_path(path))


def _unfinished(path: str) -> str:
    folder, name = posixpath.split(path.rstrip("/"))
    return f"{folder}/.{name}.{uuid.uuid4().hex}.part"


class _WholeFile(io.RawIOBase):
    """A file that gets its name when it is closed, unless a write failed."""

    def __init__(self, path: str) -> None:
        self._path, self._partial = path, _unfinished(path)
        self._file: Any = None
        self._file = Path(self._partial).open("wb", buffering=0)  # noqa: SIM115

    def writable(self) -> bool:
        return True

    def write(self, content: Any) -> int:
        try:
            rest = memoryview(content)
            while rest:
                rest = rest[self._file.write(rest) :]
        except BaseException:
            self.discard()
            raise
        return len(content)

    def tell(self) -> int:
        return int(self._file.tell())

    def close(self) -> None:
        if self.closed:
            return
        super().close()
        try:
            if DURABLE.search(self._path):
                os.fsync(self._file.fileno())
            self._file.close()
            Path(self._partial).replace(self._path)
        except Exception as error:
            unreported[self._path] = error
            self.discard()
            raise

    def discard(self) -> None:
        """Leave what had the name before."""
        super().close()
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()
            with contextlib.suppress(OSError):
                Path(self._partial).unlink()

    def __exit__(self, kind: Any, *_: Any) -> None:
        (self.close if kind is None else self.discard)()

    def __del__(self) -> None:
        """Whoever did not close it did not write all of it."""
        if not self.closed:
            self.discard()
