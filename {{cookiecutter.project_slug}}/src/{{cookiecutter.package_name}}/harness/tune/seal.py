"""The seal of a checkpoint lists its files, so that a damaged checkpoint is not restored."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ray import cloudpickle

from .generators import Generators

SEAL = "seal.json"
STATE = "state.pkl"  # the dict that `save_checkpoint` returned, if it did
Files = dict[str, tuple[int, str]]


class DamagedCheckpoint(OSError):
    """A checkpoint whose files are not those that were saved."""


def load_whole(load_checkpoint: Callable[[Any], Any], generators: Generators, folder: str) -> None:
    """Call `load_checkpoint` with a checkpoint's folder, or its dict. Raises DamagedCheckpoint."""
    if read_seal(Path(folder))[0] != file_digests(Path(folder)):
        raise DamagedCheckpoint("its files are not those that were saved")
    state = Path(folder, STATE)
    load_checkpoint(cloudpickle.loads(state.read_bytes()) if state.exists() else folder)
    generators.load(Path(folder))


def read_seal(seal: Path | bytes | None) -> tuple[Files, dict[str, Any]]:
    """The files of a checkpoint, and its result, by its folder or by its seal's content.

    Raises DamagedCheckpoint when there is no seal, or it can't be read.
    """
    if isinstance(seal, Path):
        seal = (seal / SEAL).read_bytes() if (seal / SEAL).exists() else None
    if seal is None:
        raise DamagedCheckpoint("it has no seal: not all of it was saved")
    try:
        content = json.loads(seal)
        files = {file: (int(size), digest) for file, (size, digest) in content["files"].items()}
        return files, dict(content["result"])
    except (ValueError, KeyError, TypeError, AttributeError):
        raise DamagedCheckpoint("its seal is damaged") from None


def file_digests(folder: Path) -> Files:
    """The size and the digest of each file in a checkpoint's folder."""
    found: Files = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != SEAL and not path.name.startswith("."):
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            found[path.relative_to(folder).as_posix()] = (path.stat().st_size, digest)
    return found


def has_all_files(seal: bytes | None, sizes: dict[str, int]) -> bool:
    """Whether all files of a seal exist with their sizes; sizes: of the files that exist."""
    try:
        return all(sizes.get(file) == size for file, (size, _) in read_seal(seal)[0].items())
    except DamagedCheckpoint:
        return False
