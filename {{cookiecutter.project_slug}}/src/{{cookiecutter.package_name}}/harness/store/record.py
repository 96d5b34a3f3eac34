"""experiment.json: what was run, so that next month somebody can say it, and run it again."""

import json
import os
import platform
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ...settings import PREFIX, Settings
from ..configuration import PACKAGE, Configuration, Refusal, as_flags, as_text, without_password
from .saved_trials import tuned
from .storage import Storage

FILE = "experiment.json"
DIFF = "uncommitted.diff"
HALF = "half-a-copy"  # there while `extend --into` copies
# Not part of what an experiment is: where it is kept, and how it was started.
OF_THE_COMMAND = {"name", "resume", "into", "storage_path", "export_path", "export_replace"}
# Lead git to the repository whose hook started the command.
GIT_ELSEWHERE = {"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"}
# An experiment that goes on keeps these.
FIXED = (
    "metric",
    "mode",
    "seed",
    "search_alg",
    "points_to_evaluate",
    "scheduler",
    "grace_iterations",
)


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _git(*arguments: str) -> str | None:
    """What git says of the repository in which the package's source is."""
    command = ["git", "-C", str(Path(__file__).parent), *arguments]
    env = {name: value for name, value in os.environ.items() if name not in GIT_ELSEWHERE}
    try:
        done = subprocess.run(command, capture_output=True, timeout=20, check=True, env=env)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.decode(errors="replace")


def code_state() -> tuple[dict[str, Any], str]:
    """The commit of the code that runs, whether the work tree differs from it, and how.

    None for a package that was installed from a wheel: it may lie in the folder of a repository
    that does not track it.
    """
    commit, changes = _git("rev-parse", "HEAD"), _git("status", "--porcelain")
    if commit is None or changes is None or not _git("ls-files", Path(__file__).name):
        return {"commit": None, "dirty": None}, ""
    diff = _git("diff", "HEAD") or "" if changes else ""
    untracked = [line[3:] for line in changes.splitlines() if line.startswith("??")]
    return {"commit": commit.strip(), "dirty": bool(changes), "untracked": untracked}, diff


def packages() -> dict[str, str]:
    """The version of each package that is installed here."""
    return dict(sorted((found.name, found.version) for found in distributions()))


class _Part(BaseModel):
    """A part of a record: what its readers rely on. Other versions may have written more."""

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


class _Content(_Part):
    package: str = PACKAGE
    parent: str | None
    created: str
    search_space: dict[str, Any]
    points: list[dict[str, Any]] = []
    data: _Data
    settings: _Settings
    runs: list[_Run] = Field(min_length=1)


def experiments(storage: Storage) -> list[str]:
    """The names of the experiments that a storage path holds."""
    folders = (name for name, info in storage.files().items() if not info.is_file)
    shown = (name for name in folders if not name.startswith("."))  # others are being deleted
    return sorted(name for name in shown if FILE in storage.files(name))


class Record:
    """The record of one experiment, kept beside Ray's own state."""

    def __init__(self, storage: Storage, name: str, content: dict[str, Any]) -> None:
        self.storage, self.name, self.content = storage, name, content

    @classmethod
    def load(cls, storage: Storage, name: str) -> "Record | None":
        """The record of an experiment, None where there is none.

        Raises Refusal when it is not what `save` writes, OSError when the storage fails.
        """
        text = storage.read(name, FILE)
        if text is None:
            return None
        try:
            _Content.model_validate_json(text)
        except ValidationError as error:
            first = error.errors(include_input=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            reason = f"{where}: {first['msg']}" if where else first["msg"]
            raise Refusal(f"{name}/{FILE} is damaged: {reason}") from None
        return cls(storage, name, json.loads(text))

    @classmethod
    def new(
        cls,
        storage: Storage,
        configuration: Configuration,
        space: dict[str, str],
        points: list[dict[str, Any]],
        data: dict[str, Any],
    ) -> "Record":
        """data: what `dataset.describe` says of it"""
        settings = configuration.settings
        return cls(
            storage,
            str(settings.name),
            {
                "name": settings.name,
                "package": PACKAGE,
                "parent": None,
                "created": now(),
                "search_space": space,
                "points": points,
                "data": data,
                "runs": [],
            },
        )

    @property
    def tuned(self) -> list[str]:
        """The names of the hyperparameters."""
        return tuned(self.content["search_space"])

    def foreign(self) -> str | None:
        """Why this package can't go on with the experiment: Ray's state names its modules."""
        package = self.content.get("package", PACKAGE)
        if package == PACKAGE:
            return None
        return f"is an experiment of the package {package}, and this one is {PACKAGE}"

    def save(self) -> None:
        text = json.dumps(self.content, indent=2, sort_keys=False)
        self.storage.write(text.encode(), self.name, FILE)

    def start_run(self, configuration: Configuration) -> None:
        """Write down a run before its first trial, with all that it depends on."""
        code, diff = code_state()
        run = len(self.content["runs"]) + 1
        if diff:
            code["diff"] = f"{run}-{DIFF}"
            self.storage.write(diff.encode(), self.name, code["diff"])
        self.content["settings"] = {
            field: {"value": value, "origin": configuration.origins[field]}
            for field, value in configuration.settings.model_dump(mode="json").items()
        }
        self.content["settings"]["storage_path"]["value"] = without_password(self.storage.path)
        for earlier in self.content["runs"]:
            if earlier["outcome"] == "running":
                earlier["outcome"] = "killed"
        self.content["runs"].append(
            {
                "start": now(),
                "end": None,
                "outcome": "running",
                "command": shlex.join(without_password(word) for word in sys.argv[1:]),
                "resume": configuration.settings.resume,
                "git": code,
                "host": {
                    "name": platform.node(),
                    "system": platform.platform(),
                    "cpus": os.cpu_count(),
                    "cluster": bool(os.environ.get("RAY_ADDRESS")),
                },
                "python": platform.python_version(),
                "packages": packages(),
            }
        )
        self.save()

    def end_run(self, outcome: str, **facts: Any) -> None:
        self.content["runs"][-1].update(end=now(), outcome=outcome, **facts)
        self.save()

    def restore_settings(self, configuration: Configuration) -> Configuration:
        """The settings to go on with: what is not given now is as it was."""
        stored = self.content["settings"]
        settings, origins = configuration.settings, dict(configuration.origins)
        values = settings.model_dump()
        for field, entry in stored.items():
            if field in values and field not in OF_THE_COMMAND and origins[field] == "default":
                values[field] = entry["value"]
                origins[field] = f"the experiment {self.name}"
        try:
            restored = Settings(**values)
        except ValidationError as error:
            first = error.errors()[0]
            raise Refusal(
                f"{self.name}/{FILE}: {'.'.join(map(str, first['loc'])) or 'settings'}:"
                f" {first['msg']}"
            ) from None
        return Configuration(restored, origins, configuration.overridden)

    def command(self) -> str:
        """The `run` command that repeats the experiment from the start, under a name to choose."""
        words = []
        for field, entry in self.content["settings"].items():
            info = Settings.model_fields.get(field)
            value = entry["value"]
            if info is None or field in OF_THE_COMMAND:
                continue
            if as_text(value) != as_text(info.get_default(call_default_factory=True)):
                words += as_flags(field, value)
        return shlex.join(["run", *words])

    def differences(self, settings: Settings, space: dict[str, str]) -> list[str]:
        """What makes this another experiment than the one recorded, one line each."""
        was, found = self.content, []
        for key in sorted({*was["search_space"], *space}):
            old, new = was["search_space"].get(key), space.get(key)
            if old != new:
                found.append(f"search space: {key} was {old or 'not there'}, is {new or 'gone'}")
        for field in FIXED:
            new = getattr(settings, field)
            old = was["settings"].get(field, {"value": new})["value"]  # there may be new settings
            if old != new:
                found.append(f"{PREFIX}{field.upper()}: was {old!r}, is {new!r}")
        return found

    def limits_changed(self, settings: Settings) -> list[str]:
        """The limits that are not what they were, one line each: what `extend` is for."""
        now = settings.model_dump(mode="json")
        was = {field: entry["value"] for field, entry in self.content["settings"].items()}
        return [
            f"{PREFIX}{field.upper()}: was {as_text(was[field])!r}, is {as_text(now[field])!r}"
            for field in (*STOPPING, "num_samples")
            if was.get(field, now[field]) != now[field]
        ]


STOPPING = (
    "max_iterations",
    "stop",
    "metric_goal",
    "plateau_results",
    "plateau_trials",
    "plateau_std",
    "time_budget_s",
)
