"""The storage path: a folder, a shared folder, or a bucket."""

import os
import shutil
import threading
import uuid
from pathlib import Path
from typing import Any

from pyarrow import fs

SECONDS_TO_ANSWER = 20.0


class Storage:
    """Files of experiments, by experiment name. Raises OSError when the storage doesn't answer."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.filesystem, self.root = answer(lambda: fs.FileSystem.from_uri(path))
        self.local = isinstance(self.filesystem, fs.LocalFileSystem)

    def at(self, *parts: str) -> str:
        """A path of the filesystem."""
        return "/".join([self.root.rstrip("/"), *parts])

    def read(self, *parts: str) -> bytes | None:
        """The content of a file, or None where there is none."""
        where = self.at(*parts)
        if self.filesystem.get_file_info(where).type != fs.FileType.File:
            return None
        with self.filesystem.open_input_stream(where) as stream:
            return bytes(stream.read())

    def write(self, content: bytes, *parts: str, durable: bool = True) -> None:
        """Write a file so that a reader sees the old or the new one, also after a kill.

        durable: also after a power cut, which takes a disk some milliseconds
        """
        where = self.at(*parts)
        if not self.local:  # an object appears when its upload is complete
            with self.filesystem.open_output_stream(where) as stream:
                stream.write(content)
            return
        Path(where).parent.mkdir(parents=True, exist_ok=True)
        partial = Path(f"{where}.{uuid.uuid4().hex}.part")
        try:
            with partial.open("wb") as file:
                file.write(content)
                if durable:
                    file.flush()
                    os.fsync(file.fileno())
            partial.replace(where)
        finally:
            partial.unlink(missing_ok=True)

    def create(self, content: bytes, *parts: str) -> bool:
        """Write a file unless it is there. Returns whether it was written."""
        where = self.at(*parts)
        if self.local:
            Path(where).parent.mkdir(parents=True, exist_ok=True)
            try:
                with Path(where).open("xb") as file:
                    file.write(content)
            except FileExistsError:
                return False
            return True
        if self.read(*parts) is not None:
            return False
        self.write(content, *parts)
        return True

    def delete(self, *parts: str) -> None:
        where = self.at(*parts)
        if self.filesystem.get_file_info(where).type == fs.FileType.File:
            self.filesystem.delete_file(where)

    def delete_folder(self, *parts: str) -> None:
        where = self.at(*parts)
        if self.filesystem.get_file_info(where).type == fs.FileType.Directory:
            self.filesystem.delete_dir(where)

    def copy(self, *parts: str, into: str) -> None:
        """Copy a file or a folder of an experiment into another experiment."""
        target = self.at(into, *parts[1:])
        if self.local and Path(self.at(*parts)).is_dir():  # which the copying doesn't make
            Path(target).mkdir(parents=True, exist_ok=True)
        fs.copy_files(
            self.at(*parts),
            target,
            source_filesystem=self.filesystem,
            destination_filesystem=self.filesystem,
        )

    def files(self, *parts: str) -> dict[str, Any]:
        """The entries of a folder by name; empty where there is no such folder."""
        selector = fs.FileSelector(self.at(*parts), allow_not_found=True)
        return {info.base_name: info for info in self.filesystem.get_file_info(selector)}

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
