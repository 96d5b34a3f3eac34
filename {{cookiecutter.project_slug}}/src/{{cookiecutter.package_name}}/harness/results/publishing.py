"""The folder of an export, and how an earlier export in it is replaced."""

import hashlib
import json
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ..errors import Refusal, refused, without_password
from ..settings import RunSettings
from ..store.record import Record
from ..store.storage import Folder

FOLDER = "best"  # in the experiment's
FILE = "export.json"


@dataclass(frozen=True)
class ModelFile:
    """A file that `_export_model` wrote."""

    name: str
    content: bytes

    @cached_property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    @property
    def stored(self) -> str:
        """Its name in the folder: the older export stays until export.json names the new one."""
        name = Path(self.name)
        return f"{name.stem}-{self.sha256[:12]}{name.suffix}"


class Target:
    """EXPORT_PATH, or the folder `best` of the experiment.

    replaces: the earlier export in it, in words; None without one

    Raises Refusal when the folder can't be written, or must not be replaced.
    """

    def __init__(self, settings: RunSettings, record: Record) -> None:
        path, self._old = settings.export_path, set[str]()
        self.replaces: str | None = None
        given = settings.given("export_path") if path else without_password(record.folder.path)
        self._writing = f"{given}: can't be written"
        with refused(self._writing):
            self.folder = Folder.open(path) if path else record.folder / FOLDER
            if path:
                self.folder.probe()
            text = self.folder.read(FILE)
        if text is None:
            return
        experiment = self._read(text)
        if path and experiment != record.name and not settings.export_replace:
            raise Refusal(
                f"{given}: holds {self.replaces}; --export-replace replaces it, or give another"
                " folder"
            )

    def _read(self, text: bytes) -> str:
        """Read export.json of an earlier export. Returns the name of its experiment."""
        try:
            facts = json.loads(text)
            self._old = {file["file"] for file in facts["files"].values()}
            if any(Path(name).name != name for name in self._old):  # they will be deleted
                raise ValueError
            trial = f"trial {facts['trial']} after iteration {facts.get('iteration')}"
            self.replaces = f"the export of {facts['experiment']}, {trial}"
            return str(facts["experiment"])
        except (ValueError, KeyError, TypeError, AttributeError):
            raise Refusal(
                f"{self.at(FILE)} was not written by `export`: move it, or give --export-path"
            ) from None

    def at(self, file: str) -> str:
        """The path of a file of the export, without a password."""
        return f"{without_password(self.folder.path)}/{file}"

    def publish(self, files: dict[str, ModelFile], facts: dict[str, Any]) -> None:
        """Write the files, then export.json; then delete the files of the earlier export."""
        new = {file.stored for file in files.values()}
        try:
            with refused(self._writing):
                for file in files.values():
                    self.folder.write(file.content, file.stored)
                self.folder.write(json.dumps(facts, indent=2).encode(), FILE)
        except BaseException:  # a full disk, Ctrl-C
            self._delete(new - self._old)
            raise
        self._delete(self._old - new)

    def _delete(self, names: set[str]) -> None:
        for name in names:
            with suppress(OSError):
                self.folder.delete(name)
