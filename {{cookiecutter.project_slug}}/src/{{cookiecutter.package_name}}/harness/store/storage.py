"""The storage path: a folder, a shared folder, or a bucket. A file in it is whole, or absent."""

import contextlib
import io
import os
import posixpath
import re
import shutil
import threading
import uuid
from pathlib import Path
from typing import Any

from pyarrow import PythonFile, fs

SECONDS_TO_ANSWER = 20.0
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


class Storage:
    """Files of experiments, by experiment name. Raises OSError when the storage doesn't answer."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.filesystem, self.root = answer(lambda: fs.FileSystem.from_uri(path))
        self.local = isinstance(self.filesystem, fs.LocalFileSystem)
        if self.local:  # an object of a bucket appears when its upload is complete
            self.filesystem = fs.PyFileSystem(WholeFiles())

    def at(self, *parts: str) -> str:
        """A path of the filesystem."""
        return "/".join([self.root.rstrip("/"), *parts])

    def read(self, *parts: str) -> bytes | None:
        """The content of a file, or None where there is none."""
        where = self.at(*parts)
        if self.filesystem.get_file_info(where).type != fs.FileType.File:
            return None
        try:
            with self.filesystem.open_input_stream(where) as stream:
                return bytes(stream.read())
        except FileNotFoundError:  # deleted meanwhile
            return None

    def write(self, content: bytes, *parts: str) -> None:
        """Write a file so that a reader sees the old or the new one, also after a kill."""
        where = self.at(*parts)
        if self.local:
            self.filesystem.create_dir(posixpath.dirname(where))
        with self.filesystem.open_output_stream(where) as stream:
            stream.write(content)

    def create(self, content: bytes, *parts: str) -> bool:
        """Write a file unless it is there. Returns whether it was written.

        In a bucket two who do so at the same moment both write it, and the last one stays.
        """
        where = self.at(*parts)
        if self.local:
            folder, name = Path(where).parent, Path(where).name
            folder.mkdir(parents=True, exist_ok=True)
            partial = folder / f".{name}.{uuid.uuid4().hex}.part"
            try:
                partial.write_bytes(content)
                try:
                    Path(where).hardlink_to(partial)  # whole at once
                except FileExistsError:
                    raise
                except OSError:  # a file system without links
                    with Path(where).open("xb") as file:
                        file.write(content)
            except FileExistsError:
                return False
            finally:
                partial.unlink(missing_ok=True)
            return True
        if self.read(*parts) is not None:
            return False
        self.write(content, *parts)
        return True

    def delete(self, *parts: str) -> None:
        where = self.at(*parts)
        if self.filesystem.get_file_info(where).type == fs.FileType.File:
            with contextlib.suppress(FileNotFoundError):  # deleted meanwhile
                self.filesystem.delete_file(where)

    def delete_folder(self, *parts: str) -> None:
        where = self.at(*parts)
        if self.filesystem.get_file_info(where).type == fs.FileType.Directory:
            self.filesystem.delete_dir(where)

    def copy(self, *parts: str, into: str) -> None:
        """Copy a file or a folder of an experiment into another experiment."""
        source, target = self.at(*parts), self.at(into, *parts[1:])
        if self.filesystem.get_file_info(source).is_file:
            self.write(self.read(*parts) or b"", into, *parts[1:])
            return
        if self.local:  # the copying doesn't make it
            self.filesystem.create_dir(target)
        fs.copy_files(source, target, self.filesystem, self.filesystem)
        check_arrived(self.filesystem, target, _sizes(self.filesystem, source))

    def bring(self, folder: Path, *parts: str) -> None:
        """Copy what is in a folder of this machine into a folder that is there."""
        disk, target = fs.LocalFileSystem(), self.at(*parts)
        fs.copy_files(str(folder), target, disk, self.filesystem)
        check_arrived(self.filesystem, target, _sizes(disk, str(folder)))

    def files(self, *parts: str) -> dict[str, Any]:
        """The entries of a folder by name; empty where there is no such folder."""
        selector = fs.FileSelector(self.at(*parts), allow_not_found=True)
        return {info.base_name: info for info in self.filesystem.get_file_info(selector)}

    def all_files(self, *parts: str) -> dict[str, Any]:
        """All files in a folder and below it, by their path in it, but unfinished ones."""
        found = {path: info for path, info in self._walk(*parts) if info.is_file}
        return {path: info for path, info in found.items() if not UNFINISHED.search(path)}

    def delete_unfinished(self, *parts: str) -> None:
        """Delete what a killed run was writing or deleting in a folder, or below it."""
        for path, info in self._walk(*parts) if self.local else ():
            if UNFINISHED.fullmatch(info.base_name):
                with contextlib.suppress(FileNotFoundError):  # gone with the folder that it is in
                    (self.delete if info.is_file else self.delete_folder)(*parts, path)

    def _walk(self, *parts: str) -> list[tuple[str, Any]]:
        where = self.at(*parts)
        selector = fs.FileSelector(where, allow_not_found=True, recursive=True)
        infos = self.filesystem.get_file_info(selector)
        return [(posixpath.relpath(info.path, where), info) for info in infos]

    def probe(self) -> None:
        """Write, read and delete an object. Raises OSError when one of the three fails."""
        answer(self._probe)

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
        """Space left on a local disk; None where nobody knows."""
        return shutil.disk_usage(self._nearest_folder()).free if self.local else None

    def _nearest_folder(self) -> Path:
        """The storage path, or the folder in which it would be made."""
        return next(path for path in [Path(self.root), *Path(self.root).parents] if path.exists())


def _sizes(disk: Any, folder: str) -> dict[str, int]:
    """The size of each file in a folder and below it, by its path there."""
    infos = disk.get_file_info(fs.FileSelector(folder, recursive=True))
    return {posixpath.relpath(info.path, folder): info.size for info in infos if info.is_file}


def check_arrived(disk: Any, folder: str, sizes: dict[str, int]) -> None:
    """Raise OSError unless the files that were copied into a folder are there.

    `pyarrow.fs.copy_files` loses what closing a file raises (seen in pyarrow 26.0): a full disk.
    """
    found = _sizes(disk, folder)
    for file, size in sizes.items():
        if found.get(file) != size:
            path = f"{folder}/{file}"
            raise unreported.pop(path, OSError(f"{path} has not reached the storage path"))


def replace_text(path: Path, text: str) -> None:
    """Write a file that Ray's thread may be copying: beside its folder, then into it."""
    beside = path.parent.with_name(f"{path.parent.name}.{path.name}")
    beside.write_text(text, "utf-8")
    beside.replace(path)


def answer(call: Any) -> Any:
    """Return what `call` returns, or raise OSError after SECONDS_TO_ANSWER.

    A thread, because pyarrow retries an unreachable bucket for minutes and can't be told not to.
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
