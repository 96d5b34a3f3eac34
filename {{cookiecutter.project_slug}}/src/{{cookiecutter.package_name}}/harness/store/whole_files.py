"""A local file system in which each file is whole, or absent.

Ray's saved states, and its workers, import the class `WholeFiles` from this module: keep both
names.
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
# A resume needs these: they are flushed to the disk (some milliseconds) to survive a power cut.
DURABLE = re.compile(r"/checkpoint_\d+/|/[^/]*state[^/]*$|/experiment\.json$")

# By path: the last error of closing a file, which pyarrow loses; for `check_arrived`.
unreported: dict[str, Exception] = {}


class WholeFiles(fs.FileSystemHandler):  # type: ignore[misc]  # pyarrow carries no types
    """A local file system in which a file appears, or is replaced, when all of it is written.

    A folder is renamed before its files are deleted, one by one.

    Ray overwrites results, states and checkpoints in the storage path: it empties a file, then
    writes it, and a kill in between would leave it empty.
    """

    disk: Any = fs.LocalFileSystem()
    get_file_info = get_file_info_selector = staticmethod(disk.get_file_info)
    delete_file = staticmethod(disk.delete_file)
    move = staticmethod(disk.move)
    open_input_stream = staticmethod(disk.open_input_stream)
    open_input_file = staticmethod(disk.open_input_file)
    normalize_path = staticmethod(disk.normalize_path)

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

    def create_dir(self, path: str, recursive: bool) -> None:
        self.disk.create_dir(path, recursive=recursive)

    def delete_dir(self, path: str) -> None:
        hidden = unfinished(path)
        Path(path).rename(hidden)
        self.disk.delete_dir(hidden)

    def delete_dir_contents(self, path: str, missing_dir_ok: bool = False) -> None:
        self.disk.delete_dir_contents(path, missing_dir_ok=missing_dir_ok)

    def delete_root_dir_contents(self) -> None:
        raise NotImplementedError("nobody deletes all files of a machine")


def unfinished(path: str) -> str:
    """A new name that UNFINISHED matches, in the same folder."""
    folder, name = posixpath.split(path.rstrip("/"))
    return f"{folder}/.{name}.{uuid.uuid4().hex}.part"


class _WholeFile(io.FileIO):
    """A file that gets its name when it is closed, unless a write failed."""

    def __init__(self, path: str) -> None:
        self._path, self._partial = path, unfinished(path)
        super().__init__(self._partial, "w")

    def write(self, content: Any) -> int:
        try:
            rest = memoryview(content)
            while rest:
                rest = rest[super().write(rest) :]
        except BaseException:
            self.discard()
            raise
        return len(content)

    def close(self) -> None:
        if self.closed:
            return
        try:
            if DURABLE.search(self._path):
                os.fsync(self.fileno())
            super().close()
            Path(self._partial).replace(self._path)
        except Exception as error:
            unreported[self._path] = error
            self.discard()
            raise

    def discard(self) -> None:
        """Close the file without giving it its name: an older file of that name stays."""
        with contextlib.suppress(OSError):
            super().close()
        with contextlib.suppress(OSError):
            Path(self._partial).unlink()

    def __exit__(self, kind: Any, *_: Any) -> None:
        (self.close if kind is None else self.discard)()

    def __del__(self) -> None:
        """A file that was not closed was not written to its end."""
        if not self.closed:
            self.discard()
