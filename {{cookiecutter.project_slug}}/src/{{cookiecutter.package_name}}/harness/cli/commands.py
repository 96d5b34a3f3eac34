"""The commands. Each docstring is a line of the help; what imports Ray is imported when needed."""

import errno
import gc
import importlib
import signal
import sys
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from .. import trackers, work_tree
from ..configuration import Configuration, load
from ..errors import DONE, REFUSED, TRIAL_FAILED, Refusal, nearest
from ..project import Project
from ..ray_environment import quiet_ray
from ..setting_types import as_text
from .output import lasting_output, to_nowhere, usable_streams


def run(configuration: Configuration) -> int:
    """tune; --resume --name NAME resumes an experiment"""
    if findings := work_tree.unresolved(configuration.project.folder):
        raise Refusal(*findings)
    settings = configuration.settings
    if settings.name is None:
        package = configuration.project.package
        settings.name = f"{package}-{datetime.now().astimezone():%Y%m%d-%H%M%S}"
    if settings.verbose and sys.stdout.isatty():  # the import of Ray takes seconds
        print("Checking …", end="\r", flush=True)
    from ..run import run_experiment

    with lasting_output():
        return run_experiment(configuration)


def extend(configuration: Configuration) -> int:
    """NAME: resume with more --num-samples, --max-iterations…; --into COPY leaves NAME as it is"""
    return run(configuration)


def check(configuration: Configuration) -> None:
    """check all that could stop a run, without starting one"""
    package = configuration.project.folder
    if findings := [*work_tree.unresolved(package), *work_tree.edits()]:
        raise Refusal(*findings)
    from ..run import prepare

    version = work_tree.template_version(package)
    template = [f"version {version} of the template"] if version else []
    notes = "; ".join([*prepare(configuration).notes, *template])
    print(f"Ready to run: {notes}." if notes else "Ready to run.")
    gc.freeze()  # the end of the process doesn't look for garbage either: that costs a tenth


def list_experiments(configuration: Configuration) -> None:
    """the experiments of STORAGE_PATH"""
    from .listing import print_list

    print_list(configuration.settings)


def show(configuration: Configuration) -> None:
    """NAME: what was run, when, from which code, and the command that repeats it"""
    from .listing import print_experiment

    print_experiment(configuration)


def report(configuration: Configuration, *others: Configuration) -> None:
    """NAME: write it as one HTML file, and its tables; NAME OTHER …: compare experiments"""
    from ..results.report import write_comparison, write_report

    if others:
        write_comparison([configuration, *others])
    else:
        write_report(configuration)


def trials(configuration: Configuration) -> None:
    """NAME: a table of its trials, the best first; also while it runs"""
    from .trials import print_trials

    print_trials(configuration)


def export(configuration: Configuration) -> None:
    """NAME: the model of its best checkpoint, into its folder or --export-path"""
    from ..results.export import export

    export(configuration)


def config(configuration: Configuration) -> None:
    """print every setting: its value, where it came from, its variable"""
    from .tables import print_table

    settings, origins = configuration.settings, configuration.origins
    rows = [
        (settings.variable(field), as_text(getattr(settings, field)), origins[field])
        for field in settings.fields()
    ]
    print_table(("variable", "value", "from"), rows)


def docs(configuration: Configuration) -> None:
    """write .env.example and the README's table of settings again"""
    from .documents import write

    for path in write(configuration.project, Path.cwd()):
        print(f"wrote {path.name}")


def sync(configuration: Configuration) -> None:
    """NAME: send MLflow what it has missed"""
    importlib.import_module("..trackers.mlflow", __package__).sync(configuration)


class Command(NamedTuple):
    call: Callable[..., int | None]  # returns the exit code; None is 0
    takes_name: bool = False
    takes_more: bool = False  # names after the first


COMMANDS = {
    "run": Command(run),
    "extend": Command(extend, takes_name=True),
    "check": Command(check),
    "list": Command(list_experiments),
    "show": Command(show, takes_name=True),
    "report": Command(report, takes_name=True, takes_more=True),
    "trials": Command(trials, takes_name=True),
    "export": Command(export, takes_name=True),
    "config": Command(config),
    "docs": Command(docs),
}
if trackers.name() == "mlflow":
    COMMANDS["sync"] = Command(sync, takes_name=True)


def usage(project: Project) -> str:
    """The help."""
    program = project.command()
    lines = "\n".join(f"  {name:7} {command.call.__doc__}" for name, command in COMMANDS.items())
    return f"usage: {program} COMMAND [--flags]\n\n{lines}\n\n{program} run --help: the flags"


def main(project: Project, argv: Sequence[str] | None = None) -> int:
    """Run one command of a project.

    Parameters
    ----------
    project : Project
    argv : sequence of str, optional
        The command, and its flags. Default: what was typed.

    Returns
    -------
    int
        The exit code: 0 done, 1 a trial failed, 2 refused, 128 + the signal that ended it.
    """
    gc.set_threshold(50_000)  # looking for garbage in what imports leave costs a tenth of the time
    usable_streams()
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] in {"-h", "--help", "help"}:
        print(usage(project))
        return DONE if words else REFUSED
    name, *flags = words
    try:
        if name not in COMMANDS:
            known = f"known are {', '.join(COMMANDS)}"
            raise Refusal(f"unknown command {name!r}; {nearest(name, COMMANDS, known)}")
        if COMMANDS[name].takes_name:
            if flags and not flags[0].startswith("-"):
                flags.insert(0, "--name")
            elif not {"--name", "-h", "--help"} & {word.partition("=")[0] for word in flags}:
                raise Refusal(f"{name} needs the NAME of an experiment; `list` shows them")
        if name == "extend":
            flags += ["--resume", "extend"]
        others: list[str] = []
        while COMMANDS[name].takes_more and flags[2:] and not flags[2].startswith("-"):
            others.append(flags.pop(2))
        lines = [flags, *(["--name", other, *flags[2:]] for other in others)]
        prog = project.command(name)
        configurations = [load(project, line, prog) for line in lines]
        settings = configurations[0].settings
        quiet_ray(settings.verbose, local_storage="://" not in settings.storage_path)
        code = COMMANDS[name].call(*configurations)
        sys.stdout.flush()
        return code or DONE
    except Refusal as refusal:
        for finding in refusal.findings:
            print(f"error: {finding}", file=sys.stderr)
        return REFUSED
    except BrokenPipeError:  # `head` has seen enough
        to_nowhere(sys.stdout)
        return 128 + signal.SIGPIPE
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        to_nowhere(sys.stdout)
        print(f"error: {error}", file=sys.stderr)
        return TRIAL_FAILED
    except KeyboardInterrupt:
        return 130
    finally:
        _end_ray_at_once()


def _end_ray_at_once() -> None:
    """Let Ray end without its waits, if it was started: also after a refusal."""
    if "ray" in sys.modules and sys.modules["ray"].is_initialized():
        from ..tune.ray_internals import end_daemons_at_once

        end_daemons_at_once()
