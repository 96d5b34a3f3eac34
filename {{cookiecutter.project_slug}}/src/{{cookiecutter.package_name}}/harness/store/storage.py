"""The storage path and the folders in it: on a disk, a shared one, or in a bucket."""

import contextlib
import posixpath
import shutil
import threading
import uuid
from pathlib import Path
from typing import Any, Self

from pyarrow import fs

from .whole_files import UNFINISHED, WholeFiles, unfinished, unreported

SECONDS_TO_ANSWER = 20.0


class Folder:
    """A folder of a storage, which may not exist yet. A file in it is whole, or absent.

    Files are named by their path in the folder: `folder.read("trial_1", "result.json")`. Every
    method raises OSError when the storage fails.

    path: as a user writes it; root: as `filesystem` writes it; local: whether it is on a disk
    """

    def __init__(self, path: str, filesystem: Any, root: str) -> None:
        self.path, self.filesystem = path.rstrip("/"), filesystem
        self.root = root.rstrip("/") or root
        self.local = isinstance(getattr(filesystem, "handler", None), WholeFiles)

    @classmethod
    def open(cls, path: str) -> Self:
        """The folder at a path or a URI."""
        filesystem, root = with_timeout(lambda: fs.FileSystem.from_uri(path))
        if isinstance(filesystem, fs.LocalFileSystem):
            filesystem = fs.PyFileSystem(WholeFiles())
        # In a bucket an object appears when its upload is complete.
        return cls(path, filesystem, root)

    def __truediv__(self, name: str) -> "Folder":
        """A folder in this one."""
        return Folder(f"{self.path}/{name}", self.filesystem, self.at(name))

    @property
    def name(self) -> str:
        return posixpath.basename(self.root)

    def at(self, *parts: str) -> str:
        """The path of a file or a folder in this one, for `filesystem`."""
        return posixpath.join(self.root, *parts)

    def read(self, *parts: str) -> bytes | None:
        """The content of a file, or None if it does not exist."""
        where = self.at(*parts)
        if self.filesystem.get_file_info(where).type != fs.FileType.File:
            return None
        try:
            with self.filesystem.open_input_stream(where) as stream:
                return bytes(stream.read())
        except FileNotFoundError:  # deleted in the meantime
            return None

    def write(self, content: bytes, *parts: str) -> None:
        """Write a file. A reader sees the whole old one or the whole new one, also after a kill."""
        where = self.at(*parts)
        if self.local:
            self.filesystem.create_dir(posixpath.dirname(where))
        with self.filesystem.open_output_stream(where) as stream:
            stream.write(content)

    def create(self, content: bytes, *parts: str) -> bool:
        """Write a file unless it exists. Returns whether it was written.

        In a bucket, two processes that do so at the same moment both write it; the last one stays.
        """
        where = Path(self.at(*parts))
        if not self.local:
            if self.read(*parts) is not None:
                return False
            self.write(content, *parts)
            return True
        where.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(unfinished(str(where)))
        try:
            partial.write_bytes(content)
            try:
                where.hardlink_to(partial)  # the name appears with the whole content
            except FileExistsError:
                raise
            except OSError:  # a file system without links
                with where.open("xb") as file:
                    file.write(content)
        except FileExistsError:
            return False
        finally:
            partial.unlink(missing_ok=True)
        return True

    def delete(self, *parts: str) -> None:
        """Delete a file, or a folder with all that is in it, if it exists."""
        where = self.at(*parts)
        kind = self.filesystem.get_file_info(where).type
        with contextlib.suppress(FileNotFoundError):  # deleted in the meantime
            if kind == fs.FileType.File:
                self.filesystem.delete_file(where)
            elif kind == fs.FileType.Directory:
                self.filesystem.delete_dir(where)

    def copy(self, entry: str, into: "Folder") -> None:
        """Copy a file or a folder of this folder into another one of the same storage."""
        source, target = self.at(entry), into.at(entry)
        if self.filesystem.get_file_info(source).is_file:
            into.write(self.read(entry) or b"", entry)
            return
        if self.local:  # copy_files doesn't create it
            self.filesystem.create_dir(target)
        fs.copy_files(source, target, self.filesystem, self.filesystem)
        check_arrived(self.filesystem, target, _sizes(self.filesystem, source))

    def upload(self, folder: Path, *parts: str) -> None:
        """Copy the content of a folder of this machine into a folder that exists here."""
        disk, target = fs.LocalFileSystem(), self.at(*parts)
        fs.copy_files(str(folder), target, disk, self.filesystem)
        check_arrived(self.filesystem, target, _sizes(disk, str(folder)))

    def download(self, folder: Path, *parts: str) -> None:
        """Copy the content of a folder here to this machine. Raises FileNotFoundError."""
        fs.copy_files(self.at(*parts), str(folder), self.filesystem, fs.LocalFileSystem())

    def files(self, *parts: str) -> dict[str, Any]:
        """The files and folders in a folder, by name; empty if there is no such folder."""
        selector = fs.FileSelector(self.at(*parts), allow_not_found=True)
        return {info.base_name: info for info in self.filesystem.get_file_info(selector)}

    def all_files(self, *parts: str) -> dict[str, Any]:
        """All finished files in a folder and below it, by their path in it."""
        found = _walk(self.filesystem, self.at(*parts)).items()
        return {path: it for path, it in found if it.is_file and not UNFINISHED.search(path)}

    def delete_unfinished(self) -> None:
        """Delete what a killed run was still writing or deleting, here and below."""
        for path, info in _walk(self.filesystem, self.root).items() if self.local else ():
            if UNFINISHED.fullmatch(info.base_name):
                self.delete(path)

    def probe(self) -> None:
        """Write, read and delete a file. Raises OSError when one of the three fails."""
        with_timeout(self._probe)

    def _probe(self) -> None:
        name = f".probe-{uuid.uuid4().hex}"
        where = f"{self._nearest_folder()}/{name}" if self.local else self.at(name)
        with self.filesystem.open_output_stream(where) as stream:
            stream.write(name.encode())
        try:
            with self.filesystem.open_input_stream(where) as stream:
                if stream.read() != name.encode():
                    raise OSError("what was written does not read back")
        finally:
            self.filesystem.delete_file(where)

    def free_bytes(self) -> int | None:
        """Free space of a local disk; None for a bucket."""
        return shutil.disk_usage(self._nearest_folder()).free if self.local else None

    def _nearest_folder(self) -> Path:
        """This folder, or the nearest existing one above it."""
        return next(path for path in [Path(self.root), *Path(self.root).parents] if path.exists())


def _walk(disk: Any, folder: str) -> dict[str, Any]:
    """All files and folders in a folder and below it, by their path in it."""
    infos = disk.get_file_info(fs.FileSelector(folder, allow_not_found=True, recursive=True))
    return {posixpath.relpath(info.path, folder): info for info in infos}


def _sizes(disk: Any, folder: str) -> dict[str, int]:
    return {path: info.size for path, info in _walk(disk, folder).items() if info.is_file}


def check_arrived(disk: Any, folder: str, sizes: dict[str, int]) -> None:
    """Raise OSError unless all files that were copied into a folder exist, with their sizes.

    `pyarrow.fs.copy_files` loses the error of closing a file, as of a full disk (pyarrow 26.0).
    """
    found = _sizes(disk, folder)
    for file, size in sizes.items():
        if found.get(file) != size:
            path = f"{folder}/{file}"
            raise unreported.pop(path, OSError(f"{path} has not reached the storage path"))


def replace_text(path: Path, text: str) -> None:
    """Write a file next to a folder that Ray may be copying, then move it into the folder."""
    beside = path.parent.with_name(f"{path.parent.name}.{path.name}")
    beside.write_text(text, "utf-8")
    beside.replace(path)


def with_timeout(call: Any) -> Any:
    """Return what `call` returns, or raise OSError after SECONDS_TO_ANSWER.

    It runs in a thread: pyarrow retries an unreachable bucket for minutes, whatever its options.
    """
    result: list[Any] = []

    def work() -> None:
        try:
            result.append((call(), None))
        except Exception as error:  # carried to the caller, who raises it
            result.append((None, error))

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(SECONDS_TO_ANSWER)
    if not result:
        raise OSError(f"no answer in {SECONDS_TO_ANSWER:.0f} s")
    value, error = result[0]
    if error is not None:
        raise error if isinstance(error, OSError) else OSError(str(error)) from error
    return value
