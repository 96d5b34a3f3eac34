"""Reads the settings from flags, environment and .env, and knows where each value came from."""

import difflib
import importlib.util
import json
import os
import re
import shlex
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from dotenv import dotenv_values
from pydantic import AliasChoices, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import CliSettingsSource, SettingsError

from ..settings import PREFIX, Settings

PACKAGE = __package__.partition(".")[0]
RESUME_WORDS = [[word] for word in get_args(Settings.model_fields["resume"].annotation)]
FLAG, ENVIRONMENT, DOTENV, DEFAULT = "flag", "environment", ".env", "default"


class Refusal(Exception):
    """What is wrong, one line a finding. A command prints them and ends with exit code 2.

    A line names what was given, its value, and what is accepted.
    """

    def __init__(self, *findings: str) -> None:
        super().__init__("\n".join(findings))
        self.findings = findings


@dataclass
class Configuration:
    """The settings of one command, and the origin of each by its field name.

    overridden: the fields whose flag wins over a variable that is set too
    """

    settings: Settings
    origins: dict[str, str]
    overridden: frozenset[str] = frozenset()


def names(field: str) -> list[str]:
    """The names of a setting: its own first, then the classic ones of `tune.run`."""
    alias = Settings.model_fields[field].validation_alias
    return [str(name) for name in alias.choices] if isinstance(alias, AliasChoices) else [field]


def variable(name: str) -> str:
    """The environment variable of a setting's name."""
    return PREFIX + name.upper()


def flag(name: str) -> str:
    """The command-line flag of a setting's name."""
    return "--" + name.replace("_", "-")


def as_text(value: Any) -> str:
    """A setting's value, as one would write it into a variable."""
    if value is None:
        return ""
    if isinstance(value, bool | dict):
        return json.dumps(value)
    if isinstance(value, list | tuple):
        return ",".join(map(str, value)) or "none"
    return str(value)


def as_flags(field: str, value: Any) -> list[str]:
    """A setting's value, as one would type it."""
    if isinstance(value, bool):
        return [flag(field if value else f"no_{field}")]
    return [flag(field), as_text(value)]


def default(info: FieldInfo) -> str:
    """A setting's default, as one would write it into a variable."""
    return as_text(info.get_default(call_default_factory=True))


def without_password(text: str) -> str:
    """A text without the credentials that a URI in it may carry."""
    return re.sub(r"://[^/\s]*@", "://***@", text)


def program(*words: str) -> str:
    """A command line of this program, as one types it in this folder."""
    script = Path(sys.argv[0])
    started = [str(script)] if script.name != "__main__.py" else [sys.executable, "-m", PACKAGE]
    if shutil.which(Path(started[0]).name) == started[0]:
        started[0] = Path(started[0]).name
    elif Path(started[0]).is_relative_to(Path.cwd()):
        started[0] = os.path.relpath(started[0])
    return shlex.join([*started, *words])


def part(module: str) -> Any:
    """A module of the project, as tracker.py; None where it has none."""
    name = f"{PACKAGE}.{module}"
    return importlib.import_module(name) if importlib.util.find_spec(name) else None


def load(argv: Sequence[str] = (), prog: str = "run") -> Configuration:
    """Read all settings. Raises Refusal with every finding, one line each."""
    argv = list(argv)
    if "--resume" in argv and argv[argv.index("--resume") + 1 :][:1] not in RESUME_WORDS:
        argv.insert(argv.index("--resume") + 1, "true")
    _shorten_switches(argv)
    try:
        flags = CliSettingsSource[Any](
            Settings,
            cli_parse_args=argv,
            cli_prog_name=prog,
            cli_kebab_case=True,
            cli_implicit_flags=True,
            cli_exit_on_error=False,
            cli_hide_none_type=True,
        )
    except SettingsError as error:
        raise Refusal(_explain_flag(str(error), argv)) from None
    given = {FLAG: flags(), ENVIRONMENT: dict(os.environ), DOTENV: _read_dotenv()}
    findings = [*_unknown(given[ENVIRONMENT]), *_unknown(given[DOTENV], " in .env")]
    origins = dict.fromkeys(Settings.model_fields, DEFAULT)
    overridden: set[str] = set()
    for field in Settings.model_fields:
        for origin in (ENVIRONMENT, DOTENV):
            found = [name for name in map(variable, names(field)) if given[origin].get(name)]
            if len({given[origin][name] for name in found}) > 1:
                findings.append(f"{' and '.join(found)} are one setting: give one value")
            if found:
                origins[field] = origin
                break
        if field in given[FLAG]:
            if origins[field] != DEFAULT:
                overridden.add(field)
            origins[field] = FLAG
    try:
        settings = Settings(_cli_settings_source=flags)  # type: ignore[call-arg]
    except ValidationError as error:
        findings += [_explain(problem, given, origins) for problem in error.errors()]
    if findings:
        raise Refusal(*dict.fromkeys(findings))
    return Configuration(settings, origins, frozenset(overridden))


def _shorten_switches(argv: list[str]) -> None:
    """Make `--no-reuse-actors` of `--reuse-actors false`, as one would write its variable."""
    fields = Settings.model_fields.items()
    switches = [flag(n) for field, info in fields if info.annotation is bool for n in names(field)]
    for number, word in enumerate(argv):
        if word in switches and argv[number + 1 : number + 2] in (["true"], ["false"]):
            value = argv.pop(number + 1)
            argv[number] = word if value == "true" else f"--no-{word.removeprefix('--')}"


def _read_dotenv() -> dict[str, str | None]:
    try:
        return dict(dotenv_values(".env")) if Path(".env").is_file() else {}
    except (OSError, UnicodeDecodeError) as error:
        raise Refusal(f".env can't be read: {error}") from None


def _unknown(variables: dict[str, Any], where: str = "") -> Iterator[str]:
    """Name the variables with our prefix that no setting knows: a typing error, most likely."""
    known = [variable(name) for field in Settings.model_fields for name in names(field)]
    for name in variables:
        if name.upper().startswith(PREFIX) and name not in known:
            yield f"unknown setting {name}{where}; {nearest(name.upper(), known)}"


def nearest(name: str, known: Iterable[str], otherwise: str = "`config` lists all") -> str:
    """What the writer of a wrong name may have meant."""
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]}?" if near else otherwise


def _explain_flag(message: str, argv: Sequence[str]) -> str:
    """Make one line of what argparse says."""
    message = message.removeprefix("error parsing CLI: ")
    if not message.startswith("unrecognized arguments"):
        return message
    unknown = message.removeprefix("unrecognized arguments: ").split()[0]
    if not unknown.startswith("-"):
        return f"unexpected argument {unknown!r}"
    known = [flag(name) for field in Settings.model_fields for name in names(field)]
    return f"unknown flag {unknown}; {nearest(unknown.split('=')[0], known)}"


def _explain(problem: Any, given: dict[str, dict[str, Any]], origins: dict[str, str]) -> str:
    """Make one line of what pydantic says: the variable, its value, what is accepted."""
    message = problem["msg"].removeprefix("Value error, ")
    if not problem["loc"]:
        return str(message)
    field = next(field for field in Settings.model_fields if problem["loc"][0] in names(field))
    origin = origins[field]
    value = given[origin].get(field) if origin == FLAG else None
    name = flag(field)
    if origin in (ENVIRONMENT, DOTENV):
        name = next(n for n in map(variable, names(field)) if given[origin].get(n))
        value = given[origin][name]
    where = " in .env" if origin == DOTENV else ""
    value = without_password(str(value))
    return f"{name}={value!r}{where}: {message[0].lower()}{message[1:]}"
