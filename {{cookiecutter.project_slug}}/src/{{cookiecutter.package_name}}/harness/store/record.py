"""experiment.json: what was run, with all that is needed to run it again."""

import contextlib
import json
import os
import platform
import shlex
import sys
from collections.abc import Collection
from datetime import UTC, datetime
from typing import Any, Self

from pydantic import ValidationError

from ..configuration import DEFAULT, Configuration, as_flags
from ..errors import Refusal, nearest, reason, refused, without_password
from ..project import Project
from ..setting_types import as_text
from ..settings import RunSettings
from . import saved_trials
from .code_state import code_state, packages
from .lock import is_running
from .record_schema import Content
from .saved_trials import SavedTrial
from .storage import Folder

FILE = "experiment.json"
DIFF = "uncommitted.diff"
HALF = "half-a-copy"  # exists while `extend --into` copies
# Settings of a command, not of the experiment: where it is kept, and how it was started.
OF_THE_COMMAND = {"name", "resume", "into", "storage_path", "export_path", "export_replace"}


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def experiments(storage: Folder) -> list[str]:
    """The names of the experiments that a storage path holds."""
    folders = (name for name, info in storage.files().items() if not info.is_file)
    shown = (name for name in folders if not name.startswith("."))  # the others: being deleted
    return sorted(name for name in shown if FILE in storage.files(name))


def open_storage(settings: RunSettings) -> Folder:
    """The folder STORAGE_PATH. Raises Refusal when the storage doesn't answer."""
    with refused(settings.given("storage_path")):
        return Folder.open(settings.storage_path)


class Record:
    """An experiment's record: experiment.json, beside Ray's state in the experiment's folder."""

    def __init__(self, folder: Folder, content: dict[str, Any]) -> None:
        self.folder, self.name, self.content = folder, folder.name, content

    @classmethod
    def load(cls, folder: Folder) -> Self | None:
        """The record in a folder, or None.

        Raises Refusal when the file is damaged, OSError when the storage fails.
        """
        text = folder.read(FILE)
        if text is None:
            return None
        try:
            Content.model_validate_json(text)
        except ValidationError as error:
            where = f"{folder.name}/{FILE} is damaged"
            raise Refusal(f"{where}: {_first(error)}") from None
        return cls(folder, json.loads(text))

    @classmethod
    def find(cls, settings: RunSettings) -> Self:
        """The record of the experiment NAME. Raises Refusal when it can't be read."""
        storage, name = open_storage(settings), str(settings.name)
        with refused(settings.given("storage_path")):
            record = cls.load(storage / name)
            if record is None:
                near = nearest(name, experiments(storage), "`list` shows all")
                raise Refusal(f"{settings.given('name')}: no such experiment; {near}")
        return record

    @classmethod
    def new(
        cls,
        folder: Folder,
        package: str,
        space: dict[str, str],
        points: list[dict[str, Any]],
        data: dict[str, Any],
    ) -> Self:
        """Make the record of a new experiment; `data` is what `dataset.describe` returned."""
        content = {
            "name": folder.name,
            "package": package,
            "parent": None,
            "created": now(),
            "search_space": space,
            "points": points,
            "data": data,
            "runs": [],
        }
        return cls(folder, content)

    @property
    def tuned(self) -> list[str]:
        """The names of the hyperparameters."""
        return saved_trials.tuned(self.content["search_space"])

    @property
    def last_run(self) -> dict[str, Any]:
        return dict(self.content["runs"][-1])

    def outcome(self) -> str:
        """How the last run ended: done, trials failed, interrupted by …, killed; or running."""
        outcome = str(self.last_run["outcome"])
        return "killed" if outcome == "running" and not is_running(self.folder) else outcome

    def trials(self) -> list[SavedTrial]:
        """The saved trials, in the order in which they were sampled. Raises Refusal."""
        try:
            return saved_trials.load(self.folder, self.tuned)
        except (OSError, ValueError) as error:
            raise Refusal(f"{self.name}: {reason(error)}") from None

    def foreign(self, project: Project) -> str | None:
        """Why a project can't resume the experiment, or None: Ray's state names its modules."""
        package = self.content["package"]
        if package == project.package:
            return None
        return f"is an experiment of the package {package}, and this one is {project.package}"

    def save(self) -> None:
        text = json.dumps(self.content, indent=2, sort_keys=False)
        self.folder.write(text.encode(), FILE)

    def start_run(self, configuration: Configuration) -> None:
        """Record a run, before its first trial, with all that it depends on."""
        code, diff = code_state(configuration.project.folder)
        if diff:
            code["diff"] = f"{len(self.content['runs']) + 1}-{DIFF}"
            self.folder.write(diff.encode(), code["diff"])
        self.content["settings"] = {
            field: {"value": value, "origin": configuration.origins[field]}
            for field, value in configuration.settings.model_dump(mode="json").items()
        }
        path = without_password(configuration.settings.storage_path)
        self.content["settings"]["storage_path"]["value"] = path
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

    def setting(self, field: str, otherwise: Any = None) -> Any:
        """A setting in experiment.json; `otherwise` for one that is newer than the file."""
        return self.content["settings"].get(field, {"value": otherwise})["value"]

    def restored(self, configuration: Configuration) -> Configuration:
        """The settings to resume with: recorded, unless they are given now. Raises Refusal."""
        given = {field for field, origin in configuration.origins.items() if origin != DEFAULT}
        values = self._values(configuration.settings, given)
        try:
            settings = type(configuration.settings)(**values)
        except ValidationError as error:
            raise Refusal(f"{self.name}/{FILE}: {_first(error)}") from None
        was = f"the experiment {self.name}"
        origins = {
            field: was if field in self._stored() - given else origin
            for field, origin in configuration.origins.items()
        }
        return Configuration(configuration.project, settings, origins, configuration.overridden)

    def settings(self, now: RunSettings, given: Collection[str]) -> RunSettings:
        """The settings to look at the experiment with: recorded, unless they are `given` now."""
        values = self._values(now, given)
        try:
            return type(now)(**values)
        except ValidationError as error:  # the project has changed; invalid ones do no harm here
            wrong = {str(problem["loc"][0]) for problem in error.errors() if problem["loc"]}
        with contextlib.suppress(ValidationError):  # a rule for several settings
            rest = {field: value for field, value in values.items() if field not in wrong}
            now = type(now)(**rest)
        return now.model_copy(update={field: values[field] for field in wrong})

    def _stored(self) -> set[str]:
        return {*self.content["settings"]} - OF_THE_COMMAND

    def _values(self, now: RunSettings, given: Collection[str]) -> dict[str, Any]:
        kept = (type(now).model_fields.keys() & self._stored()) - {*given}
        return {**now.model_dump(), **{field: self.setting(field) for field in kept}}

    def command(self, settings: type[RunSettings]) -> str:
        """The `run` command that repeats the experiment from the start; it lacks the new name."""
        words = []
        for field in self.content["settings"]:
            if field not in settings.model_fields or field in OF_THE_COMMAND:
                continue
            if as_text(self.setting(field)) != as_text(settings.default(field)):
                words += as_flags(field, self.setting(field))
        return shlex.join(["run", *words])


def _first(error: ValidationError) -> str:
    """The first mistake that pydantic found, and where."""
    first = error.errors(include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"{where}: {first['msg']}" if where else first["msg"]
