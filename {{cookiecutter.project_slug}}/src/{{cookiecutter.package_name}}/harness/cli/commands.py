"""The commands. `run` is the one that matters; the others look at experiments, or extend them."""

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
from ..errors import Refusal, nearest
from ..project import Project
from ..setting_types import as_text
from .output import lasting_output, to_nowhere, usable_streams

DONE, TRIAL_FAILED, REFUSED = 0, 1, 2


def run(configuration: Configuration) -> int:
    """tune; --resume --name NAME resumes an experiment"""
    _refuse(*work_tree.unresolved(configuration.project.folder))
    from ..ray_environment import quiet_ray

    settings = configuration.settings
    quiet_ray(settings.verbose, local_storage="://" not in settings.storage_path)
    if settings.name is None:
        package = configuration.project.package
        settings.name = f"{package}-{datetime.now().astimezone():%Y%m%d-%H%M%S}"
    if settings.verbose and sys.stdout.isatty():  # the import of Ray takes seconds
        print("Checking …", end="\r", flush=True)
    from ..run import run_experiment

    with lasting_output():
        return run_experiment(configuration)


def _refuse(*findings: str) -> None:
    if findings:
        raise Refusal(*findings)


def extend(configuration: Configuration) -> int:
    """NAME: resume with more --num-samples, --max-iterations…; --into COPY leaves NAME as it is"""
    return run(configuration)


def check(configuration: Configuration) -> int:
    """check all that could stop a run, without starting one"""
    package = configuration.project.folder
    _refuse(*work_tree.unresolved(package), *work_tree.edits())
    from ..ray_environment import quiet_ray

    quiet_ray(configuration.settings.verbose)
    from ..run import prepare

    version = work_tree.template_version(package)
    template = [f"version {version} of the template"] if version else []
    notes = "; ".join([*prepare(configuration).notes, *template])
    print(f"Ready to run: {notes}." if notes else "Ready to run.")
    gc.freeze()  # nor does the end of the process look for garbage: that costs another tenth
    return DONE


def list_experiments(configuration: Configuration) -> int:
    """the experiments of STORAGE_PATH"""
    from .listing import print_list

    print_list(configuration.settings)
    return DONE


def show(configuration: Configuration) -> int:
    """NAME: what was run, when, from which code, and the command that repeats it"""
    from .listing import print_experiment

    print_experiment(configuration)
    return DONE


def report(configuration: Configuration, *others: Configuration) -> int:
    """NAME: write it as one HTML file, and its tables; NAME OTHER …: compare experiments"""
    from ..results.report import write_comparison, write_report

    if others:
        write_comparison([configuration, *others])
    else:
        write_report(configuration)
    return DONE


def trials(configuration: Configuration) -> int:
    """NAME: a table of its trials, the best first; also while it runs"""
    from .trials import print_trials

    print_trials(configuration)
    return DONE


def export(configuration: Configuration) -> int:
    """NAME: the model of its best checkpoint, into its folder or --export-path"""
    from ..ray_environment import quiet_ray

    quiet_ray(configuration.settings.verbose)
    from ..results.export import export

    export(configuration)
    return DONE


def config(configuration: Configuration) -> int:
    """print every setting: its value, where it came from, its variable"""
    from rich.console import Console
    from rich.table import Table

    table, settings = Table(box=None, pad_edge=False), configuration.settings
    for column in ("variable", "value", "from"):
        table.add_column(column, overflow="fold")
    for field in settings.fields():
        value, origin = as_text(getattr(settings, field)), configuration.origins[field]
        table.add_row(settings.variable(field), value, origin)
    Console().print(table)
    return DONE


def docs(configuration: Configuration) -> int:
    """write .env.example and the README's table of settings again"""
    from .documents import write

    for path in write(configuration.project, Path.cwd()):
        print(f"wrote {path.name}")
    return DONE


def sync(configuration: Configuration) -> int:
    """NAME: send MLflow what it has missed"""
    from ..ray_environment import quiet_ray

    quiet_ray(configuration.settings.verbose)
    importlib.import_module("..trackers.mlflow", __package__).sync(configuration)
    return DONE


class Command(NamedTuple):
    call: Callable[..., int]
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
    """What there is to type."""
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
    gc.set_threshold(50_000)  # imports make what stays; looking for garbage in it costs a tenth
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
            elif "--name" not in flags and not {"-h", "--help"} & set(flags):
                raise Refusal(f"{name} needs the NAME of an experiment; `list` shows them")
        if name == "extend":
            flags += ["--resume", "extend"]
        others: list[str] = []
        while COMMANDS[name].takes_more and flags[2:] and not flags[2].startswith("-"):
            others.append(flags.pop(2))
        lines = [flags, *(["--name", other, *flags[2:]] for other in others)]
        prog = project.command(name)
        code = COMMANDS[name].call(*(load(project, line, prog) for line in lines))
        sys.stdout.flush()
        return code
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
    """At the end of the process, if Ray was started: a run that is refused ends no later."""
    if "ray" in sys.modules and sys.modules["ray"].is_initialized():
        from ..tune.ray_internals import end_daemons_at_once

        end_daemons_at_once()
