"""The parts of experiment.json that are read. Other versions of the harness may write more."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class _Part(BaseModel):
    model_config = ConfigDict(extra="allow")


class _Setting(_Part):
    value: Any
    origin: str


class _Text(_Setting):
    value: str


class _Number(_Setting):
    value: int


class _Settings(_Part):
    __pydantic_extra__: dict[str, _Setting]
    metric: _Text
    num_samples: _Number


class _Code(_Part):
    commit: str | None
    dirty: bool | None


class _Run(_Part):
    start: str
    end: str | None
    outcome: str
    command: str
    git: _Code
    python: str
    packages: dict[str, str]
    best: dict[str, Any] | None = None


class _Data(_Part):
    description: str
    arrays: str
    digest: str | None


class Content(_Part):
    package: str
    parent: str | None
    created: str
    search_space: dict[str, Any]
    points: list[dict[str, Any]] = []
    data: _Data
    settings: _Settings
    runs: list[_Run] = Field(min_length=1)
