"""Reads the settings from flags, environment and .env, and knows where each value came from."""

import dataclasses
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, get_args

from dotenv import dotenv_values
from pydantic import ValidationError
from pydantic_settings import CliSettingsSource, SettingsError

from .errors import Refusal, nearest, without_password
from .project import Project
from .setting_types import as_text
from .settings import RunSettings

RESUME_WORDS = [[word] for word in get_args(RunSettings.model_fields["resume"].annotation)]
FLAG, ENVIRONMENT, DOTENV, DEFAULT = "flag", "environment", ".env", "default"


@dataclasses.dataclass
class Configuration:
    """A project, and the settings of one command of it.

    origins: where each value came from, by its field: "flag", "environment", ".env", "default"
    overridden: the fields whose flag wins over a variable that is set too
    """

    project: Project
    settings: RunSettings
    origins: dict[str, str] = dataclasses.field(default_factory=dict)
    overridden: frozenset[str] = frozenset()

    @property
    def flags(self) -> set[str]:
        """The fields that were given as flags."""
        return {field for field, origin in self.origins.items() if origin == FLAG}

    def again(self, command: str, *flags: str) -> str:
        """A command about this experiment, as one types it."""
        name = str(self.settings.name)
        words = [command, *(["--name", name] if command == "run" else [name]), *flags]
        for field in sorted(self.overridden - {"name", "resume", "into", "storage_path"}):
            if command in {"run", "extend"}:  # a variable would win over what the run had by flag
                words += as_flags(field, getattr(self.settings, field))
        return self.project.command(*words, *storage_flags(self.settings))


def flag(name: str) -> str:
    """The command-line flag of a setting's name."""
    return "--" + name.replace("_", "-")


def as_flags(field: str, value: Any) -> list[str]:
    """A setting's value, as one would type it."""
    if isinstance(value, bool):
        return [flag(field if value else f"no_{field}")]
    return [flag(field), as_text(value)]


def storage_flags(settings: RunSettings) -> list[str]:
    """The flag that leads to the storage, unless it is the default in this folder."""
    path = without_password(settings.storage_path)
    default = str(Path(settings.default("storage_path")).resolve())
    return [] if path == default else ["--storage-path", path]


def load(project: Project, argv: Sequence[str] = (), prog: str = "run") -> Configuration:
    """Read all settings. Raises Refusal with every finding, one line each."""
    kind, argv = project.settings, list(argv)
    if "--resume" in argv and argv[argv.index("--resume") + 1 :][:1] not in RESUME_WORDS:
        argv.insert(argv.index("--resume") + 1, "true")
    _shorten_switches(kind, argv)
    try:
        flags = CliSettingsSource[Any](
            kind,
            cli_parse_args=argv,
            cli_prog_name=prog,
            cli_kebab_case=True,
            cli_implicit_flags=True,
            cli_exit_on_error=False,
            cli_hide_none_type=True,
        )
    except SettingsError as error:
        raise Refusal(_explain_flag(kind, str(error))) from None
    given = {FLAG: flags(), ENVIRONMENT: dict(os.environ), DOTENV: _read_dotenv()}
    findings = [*_unknown(kind, given[ENVIRONMENT]), *_unknown(kind, given[DOTENV], " in .env")]
    origins = dict.fromkeys(kind.model_fields, DEFAULT)
    overridden: set[str] = set()
    for field in kind.model_fields:
        for origin in (ENVIRONMENT, DOTENV):
            found = [n for n in map(kind.variable, kind.names(field)) if given[origin].get(n)]
            if len({given[origin][name] for name in found}) > 1:
                findings.append(f"{' and '.join(found)} are one setting: give one value")
            if found:
                origins[field] = origin
                break
        if field in given[FLAG]:
            if origins[field] != DEFAULT:
                overridden.add(field)
            origins[field] = FLAG
    settings = None
    try:
        settings = kind(_cli_settings_source=flags)  # type: ignore[call-arg]
    except ValidationError as error:
        findings += [_explain(kind, problem, given, origins) for problem in error.errors()]
    if settings is None or findings:
        raise Refusal(*dict.fromkeys(findings))
    return Configuration(project, settings, origins, frozenset(overridden))


def _names(kind: type[RunSettings]) -> list[str]:
    return [name for field in kind.model_fields for name in kind.names(field)]


def _shorten_switches(kind: type[RunSettings], argv: list[str]) -> None:
    """Make `--no-reuse-actors` of `--reuse-actors false`, as one would write its variable."""
    fields = kind.model_fields.items()
    switches = [
        flag(name)
        for field, info in fields
        if info.annotation is bool
        for name in kind.names(field)
    ]
    for number, word in enumerate(argv):
        if word in switches and argv[number + 1 : number + 2] in (["true"], ["false"]):
            value = argv.pop(number + 1)
            argv[number] = word if value == "true" else f"--no-{word.removeprefix('--')}"


def _read_dotenv() -> dict[str, str | None]:
    try:
        return dict(dotenv_values(".env")) if Path(".env").is_file() else {}
    except (OSError, UnicodeDecodeError) as error:
        raise Refusal(f".env can't be read: {error}") from None


def _unknown(kind: type[RunSettings], variables: dict[str, Any], where: str = "") -> Iterator[str]:
    """Name the variables with our prefix that no setting knows: a typing error, most likely."""
    known = [kind.variable(name) for name in _names(kind)]
    for name in variables:
        if name.upper().startswith(kind.variable("")) and name not in known:
            yield f"unknown setting {name}{where}; {nearest(name.upper(), known)}"


def _explain_flag(kind: type[RunSettings], message: str) -> str:
    """Make one line of what argparse says."""
    message = message.removeprefix("error parsing CLI: ")
    if not message.startswith("unrecognized arguments"):
        return message
    unknown = message.removeprefix("unrecognized arguments: ").split()[0]
    if not unknown.startswith("-"):
        return f"unexpected argument {unknown!r}"
    known = [flag(name) for name in _names(kind)]
    return f"unknown flag {unknown}; {nearest(unknown.split('=')[0], known)}"


def _explain(
    kind: type[RunSettings],
    problem: Any,
    given: dict[str, dict[str, Any]],
    origins: dict[str, str],
) -> str:
    """Make one line of what pydantic says: the variable, its value, what is accepted."""
    message = problem["msg"].removeprefix("Value error, ")
    if not problem["loc"]:
        return str(message)
    field = next(field for field in kind.model_fields if problem["loc"][0] in kind.names(field))
    origin = origins[field]
    name, value = flag(field), given.get(origin, {}).get(field)
    if origin == DEFAULT:
        name, value = f"DEFAULTS of {kind.__name__}: {field}", kind.default(field)
    if origin in (ENVIRONMENT, DOTENV):
        name = next(n for n in map(kind.variable, kind.names(field)) if given[origin].get(n))
        value = given[origin][name]
    where = " in .env" if origin == DOTENV else ""
    value = without_password(str(value))
    return f"{name}={value!r}{where}: {message[0].lower()}{message[1:]}"
