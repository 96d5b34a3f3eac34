"""The seal of a checkpoint: which files were saved, so that none is restored that is damaged."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ray import cloudpickle

from .generators import Generators

SEAL = "seal.json"
STATE = "state.pkl"  # what a `save_checkpoint` returned that returns a dict


class DamagedCheckpoint(OSError):
    """A checkpoint that is not what was saved."""


def checked(load_checkpoint: Callable[[Any], Any], generators: Generators, folder: str) -> None:
    """Call a `load_checkpoint` with the folder, or the dict, of a checkpoint that is whole."""
    try:
        sealed = json.loads(Path(folder, SEAL).read_text())["files"]
    except FileNotFoundError:
        raise DamagedCheckpoint("it has no seal: not all of it was saved") from None
    except (OSError, ValueError, KeyError, TypeError):
        raise DamagedCheckpoint("its seal is damaged") from None
    if sealed != described(Path(folder)):
        raise DamagedCheckpoint("its files are not those that were saved")
    state = Path(folder, STATE)
    load_checkpoint(cloudpickle.loads(state.read_bytes()) if state.exists() else folder)
    generators.load(Path(folder))


def described(folder: Path) -> dict[str, list[Any]]:
    """The size and the digest of each file in a checkpoint's folder."""
    found: dict[str, list[Any]] = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != SEAL and not path.name.startswith("."):
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            found[path.relative_to(folder).as_posix()] = [path.stat().st_size, digest]
    return found


def has_all_files(seal: bytes | None, sizes: dict[str, int]) -> bool:
    """Whether the files that a seal names are there, by the size of each file."""
    try:
        sealed = json.loads(seal or b"")["files"]
        return all(sizes.get(file) == size for file, (size, _) in sealed.items())
    except (ValueError, KeyError, TypeError, AttributeError):
        return False
