"""The types of settings: how the text of a variable or a flag becomes a value."""

import json
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator
from pydantic_settings import NoDecode

__all__ = ["DataPath", "FilePath", "Numbers", "StoragePath"]  # for the settings of a project


def as_text(value: Any) -> str:
    """A setting's value as the text of a variable."""
    if value is None:
        return ""
    if isinstance(value, list) and any(isinstance(item, dict) for item in value):
        value = value[0] if len(value) == 1 else json.dumps(value)
    if isinstance(value, bool | dict):
        return json.dumps(value)
    if isinstance(value, list | tuple):
        return ",".join(map(str, value)) or "none"
    return str(value)


def _json(value: object) -> object:
    """Read text as JSON; return anything else as it is."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except json.JSONDecodeError:
        raise ValueError('should be a JSON object, as {"name": 1}') from None


def _yes_or_no(value: object) -> object:
    """Also accept yes, no, 1 and 0."""
    text = str(value).lower()
    return {"1": "true", "yes": "true", "0": "false", "no": "false"}.get(text, text)


def _words(value: object) -> object:
    """Read text as words separated by commas; `none` is an empty list."""
    if not isinstance(value, str):
        return value
    words = [word.strip() for word in value.split(",") if word.strip()]
    return [] if words == ["none"] else words


def _log_files(value: object) -> object:
    """Read `true`, `false`, one file name, or two separated by a comma: stdout's and stderr's."""
    if not isinstance(value, str):
        return value
    if value.lower() in {"true", "false", "1", "0", "yes", "no", "on", "off"}:
        return value.lower() in {"true", "1", "yes", "on"}
    names = [name.strip() for name in value.split(",")]
    if len(names) > 2 or not all(name and Path(name).name == name for name in names):
        raise ValueError(
            "should be true, false, a file name, or two file names separated by a comma"
        )
    return names[0] if len(names) == 1 else tuple(names)


def _no_secret(value: str) -> str:
    if re.search(r"://[^/]*:[^/]*@", value):
        raise ValueError(
            "should carry no secret, because it is saved; set AWS_ACCESS_KEY_ID and"
            " AWS_SECRET_ACCESS_KEY in the environment"
        )
    return value


def _place(value: str) -> str:
    """Make a path absolute: Ray refuses relative ones."""
    return value if "://" in value else str(Path(value).expanduser().resolve())


def _file(value: Path) -> Path:
    """Make a path absolute: a resume in another working folder finds the same file."""
    return value.expanduser().absolute()


def _text_of_path(value: object) -> object:
    return str(value) if isinstance(value, Path) else value


def _file_or_uri(value: str) -> str:
    return value if "://" in value else str(_file(Path(value)))


def _not_one(count: int) -> int:
    if count == 1:
        raise ValueError("should be 0 (off), or 2 or more: it compares trials")
    return count


def _bundles(value: object) -> object:
    """Read one JSON object, or a list of them."""
    value = _json(value)
    return [value] if isinstance(value, dict) else value


def _amounts(bundles: list[dict[str, float]]) -> list[dict[str, float]]:
    if any(not amount >= 0 for bundle in bundles for amount in bundle.values()):
        raise ValueError("should name resources and amounts of 0 or more")
    if not bundles or not all(any(bundle.values()) for bundle in bundles[1:] or bundles):
        raise ValueError("should name an amount above 0; of several bundles, the first needs none")
    return bundles


Name = r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}$"
Numbers = Annotated[dict[str, float], NoDecode, BeforeValidator(_json)]
Bundles = list[dict[str, float]]
Resources = Annotated[Bundles, NoDecode, BeforeValidator(_bundles), AfterValidator(_amounts)]
Resume = Annotated[Literal["false", "true", "errored", "extend"], BeforeValidator(_yes_or_no)]
LogFiles = Annotated[bool | str | tuple[str, str], NoDecode, BeforeValidator(_log_files)]
Loggers = Annotated[list[Literal["csv", "json", "tensorboard"]], NoDecode, BeforeValidator(_words)]
Formats = Annotated[list[Literal["model"]], NoDecode, BeforeValidator(_words)]
StoragePath = Annotated[str, AfterValidator(_no_secret), AfterValidator(_place)]
FilePath = Annotated[Path, AfterValidator(_file)]
DataPath = Annotated[
    str,
    BeforeValidator(_text_of_path),
    AfterValidator(_no_secret),
    AfterValidator(_file_or_uri),
]
CountOfTrials = Annotated[int, AfterValidator(_not_one)]
