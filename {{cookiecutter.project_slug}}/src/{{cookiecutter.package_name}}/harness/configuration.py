"""Reads the settings from flags, environment and .env, and knows where each value came from."""

import dataclasses
import os
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any, get_args

from dotenv import dotenv_values
from pydantic import ValidationError
from pydantic_settings import CliSettingsSource, SettingsError

from .errors import Refusal, nearest, without_password
from .project import Project
from .setting_types import as_text
from .settings import RunSettings

Source = tuple[str, str, Any]  # where a value is from, the name it has there, the value
RESUME_WORDS = [[word] for word in get_args(RunSettings.model_fields["resume"].annotation)]
FLAG, ENVIRONMENT, DOTENV, DEFAULT = "flag", "environment", ".env", "default"


@dataclasses.dataclass
class Configuration:
    """A project, and the settings of one of its commands.

    origins: where each field's value came from: "flag", "environment", ".env", "default"
    overridden: the fields that were given as a flag and as a variable
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
            # Without its flag, a variable would replace the value that this run has.
            if command in {"run", "extend"} and flag(field) not in flags:
                words += as_flags(field, getattr(self.settings, field))
        return self.project.command(*words, *storage_flags(self.settings))


def flag(name: str) -> str:
    """The command-line flag of a setting's name."""
    return "--" + name.replace("_", "-")


def as_flags(field: str, value: Any) -> list[str]:
    """A setting as one would type it: its flag and its value."""
    if isinstance(value, bool):
        return [flag(field if value else f"no_{field}")]
    return [flag(field), as_text(value)]


def storage_flags(settings: RunSettings) -> list[str]:
    """The flag `--storage-path`, unless it is the default in this folder."""
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
    sources = {field: _sources(kind, field, given) for field in kind.model_fields}
    for found, origin in product(sources.values(), (ENVIRONMENT, DOTENV)):
        values = {name: value for its, name, value in found if its == origin}
        if len({*values.values()}) > 1:
            findings.append(f"{' and '.join(values)} are one setting: give one value")
    settings = None
    try:
        settings = kind(_cli_settings_source=flags)  # type: ignore[call-arg]
    except ValidationError as error:
        findings += [_explain(kind, problem, sources) for problem in error.errors()]
    if settings is None or findings:
        raise Refusal(*dict.fromkeys(findings))
    origins = {field: found[0][0] for field, found in sources.items()}
    overridden = {f for f, found in sources.items() if origins[f] == FLAG and len(found) > 2}
    return Configuration(project, settings, origins, frozenset(overridden))


def _sources(kind: type[RunSettings], field: str, given: dict[str, Any]) -> list[Source]:
    """Where a setting has a value: the first one counts, the last is the default."""
    flags = [(FLAG, flag(field), given[FLAG][field])] if field in given[FLAG] else []
    variables = [
        (origin, name, value)
        for origin in (ENVIRONMENT, DOTENV)
        for name in map(kind.variable, kind.names(field))
        if (value := given[origin].get(name))
    ]
    default = (DEFAULT, f"DEFAULTS of {kind.__name__}: {field}", kind.default(field))
    return [*flags, *variables, default]


def _names(kind: type[RunSettings]) -> list[str]:
    return [name for field in kind.model_fields for name in kind.names(field)]


def _shorten_switches(kind: type[RunSettings], argv: list[str]) -> None:
    """Accept `--reuse-actors false`, written like the variable, for `--no-reuse-actors`."""
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
    """Report the variables with our prefix that are no setting: most likely a typing error."""
    known = [kind.variable(name) for name in _names(kind)]
    for name in variables:
        if name.upper().startswith(kind.variable("")) and name not in known:
            yield f"unknown setting {name}{where}; {nearest(name.upper(), known)}"


def _explain_flag(kind: type[RunSettings], message: str) -> str:
    """Turn a message of argparse into one line."""
    message = message.removeprefix("error parsing CLI: ")
    if not message.startswith("unrecognized arguments"):
        return message
    unknown = message.removeprefix("unrecognized arguments: ").split()[0]
    if not unknown.startswith("-"):
        return f"unexpected argument {unknown!r}"
    known = [flag(name) for name in _names(kind)]
    return f"unknown flag {unknown}; {nearest(unknown.split('=')[0], known)}"


def _explain(kind: type[RunSettings], problem: Any, sources: dict[str, list[Source]]) -> str:
    """Turn an error of pydantic into one line: the variable, its value, what is accepted."""
    message = problem["msg"].removeprefix("Value error, ")
    if not problem["loc"]:
        return str(message)
    field = next(field for field in kind.model_fields if problem["loc"][0] in kind.names(field))
    origin, name, value = sources[field][0]
    where = " in .env" if origin == DOTENV else ""
    value = without_password(str(value))
    return f"{name}={value!r}{where}: {message[0].lower()}{message[1:]}"
