"""Stands in for skops.io in projects whose processes are killed: it takes a second to import.

Each driver and each worker imports it once. The tests of exports, of the frameworks and those of a
generated project have the real one.
"""

import io
import pickle
import zipfile
from pathlib import Path
from typing import Any


def dumps(model: Any) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("model", pickle.dumps(model))
    return target.getvalue()


def loads(saved: bytes, trusted: list[str] | None = None) -> Any:
    with zipfile.ZipFile(io.BytesIO(saved)) as archive:
        return pickle.loads(archive.read("model"))


def dump(model: Any, file: Path) -> None:
    file.write_bytes(dumps(model))


def load(file: Path, trusted: list[str] | None = None) -> Any:
    return loads(Path(file).read_bytes())
