"""The command `cookiecutter-ray-tune`: this template as a package; it needs no address.

It takes the answers as flags, asks for the others, and hands all of them to Cookiecutter or Copier:
prompts, rules and errors are the same for both.
"""

import json
import runpy
import shutil
import sys
import tempfile
from contextlib import chdir
from functools import partial
from importlib.metadata import metadata
from pathlib import Path
from typing import Any

import click
import yaml

NAME = "cookiecutter-ray-tune"
HERE = Path(__file__).parent
TREE = "{{cookiecutter.project_slug}}"
# All that the engines read; in a checkout and in the installed package it is beside this file.
PARTS = ("cookiecutter.json", "copier.yml", "answer_guard.py", "hooks", TREE)
TEXTS = [(HERE / name).read_text("utf-8") for name in ("copier.yml", "cookiecutter.json")]
RULES = runpy.run_path(str(HERE / "answer_guard.py"))["Rules"](*TEXTS)
SETTINGS: dict[str, Any] = json.loads(TEXTS[1])
QUESTIONS = {name: default for name, default in SETTINGS.items() if name[0] != "_"}
METADATA = metadata(NAME)
VERSION = METADATA["Version"]
URLS = dict(url.split(", ", 1) for url in METADATA.get_all("Project-URL") or [])


def flag(name: str) -> click.Option:
    """Return the flag that answers a question."""
    default = QUESTIONS[name]
    choices = click.Choice(default) if isinstance(default, list) else None
    return click.Option(
        [f"--{name.replace('_', '-')}"], type=choices, help=SETTINGS["__prompts__"][name]
    )


FLAGS = {name: flag(name) for name in QUESTIONS}


def answered(given: dict[str, str | None], defaults: bool, folder: Path) -> dict[str, str]:
    """Return an answer to each question: the given one, the default, or what is typed."""

    def check(name: str, answer: str) -> str:
        answer = FLAGS[name].type.convert(answer, FLAGS[name], None)
        if rule := RULES.objection(name, answer):
            raise click.BadParameter(f"must be {rule}", param=FLAGS[name])
        if name == "project_slug" and (folder / answer).exists():
            raise click.BadParameter(f"{folder / answer} exists already", param=FLAGS[name])
        return answer

    known = {name: check(name, answer) for name, answer in given.items() if answer is not None}
    answers: dict[str, str] = {}
    for name, texts in QUESTIONS.items():
        text = texts[0] if isinstance(texts, list) else texts
        default = RULES.compiled(text).render(cookiecutter=answers)
        if name in known:
            answers[name] = known[name]
        elif defaults:
            answers[name] = check(name, default)
        else:
            answers[name] = click.prompt(
                SETTINGS["__prompts__"][name],
                default,
                type=FLAGS[name].type,
                value_proc=partial(check, name),
                show_default=bool(default),
            )
    return answers


def source_of_updates(address: str | None) -> str:
    """Return what Copier records: never the folder of this package, which may be deleted."""
    if not address:
        raise click.UsageError(
            "--copier records where updates come from, and this build of the template doesn't "
            "know: give its git address with --update-from"
        )
    return str(Path(address).resolve()) if Path(address).is_dir() else address


def render(template: Path, project: Path, answers: dict[str, str], source: str | None) -> None:
    """Write the project, with Copier if there is a source of updates."""
    if source is None:
        from cookiecutter.main import cookiecutter

        options: dict[str, Any] = {"default_config": True, "accept_hooks": False}
        cookiecutter(str(template), None, True, answers, output_dir=str(project.parent), **options)
        return
    from copier import run_copy

    run_copy(str(template), project, data=answers, defaults=True, quiet=True)
    file = project / ".copier-answers.yml"
    remark, _, text = file.read_text("utf-8").partition("\n")
    recorded = yaml.safe_load(text) | {"_commit": f"v{VERSION}", "_src_path": source}
    file.write_text(f"{remark}\n{yaml.safe_dump(recorded, allow_unicode=True)}", "utf-8")


@click.command(
    NAME,
    params=list(FLAGS.values()),
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option("--defaults", "--no-input", is_flag=True, help="Ask nothing.")
@click.option("--copier", is_flag=True, help="Use Copier, so that `copier update` works later.")
@click.option(
    "--update-from",
    metavar="ADDRESS",
    default=URLS.get("Repository"),
    show_default=True,
    help="Git repository for `copier update`.",
)
@click.option(
    *("--output-dir", "-o"),
    type=click.Path(exists=True, file_okay=False, writable=True, resolve_path=True, path_type=Path),
    default=".",
    help="The existing folder in which to make the project's folder.",
)
@click.version_option(VERSION, prog_name=NAME)
def command(
    defaults: bool,
    copier: bool,
    update_from: str | None,
    output_dir: Path,
    **given: str | None,
) -> None:
    """Start a project that tunes hyperparameters with Ray Tune.

    Asks what no flag answers; Enter takes the default.
    """
    if update_from != URLS.get("Repository") and not copier:
        raise click.UsageError("--update-from goes with --copier")
    source = source_of_updates(update_from) if copier else None
    answers = answered(given, defaults, output_dir)
    project = output_dir / answers["project_slug"]
    engine = "Copier" if copier else "Cookiecutter"
    click.echo(f"Generating {project} with {engine}, template {VERSION}", err=True)
    # Made beside its final place, then renamed: it appears whole. The engines get a copy of the
    # template, without the bytecode that pip compiled.
    with tempfile.TemporaryDirectory(prefix=f".{NAME}-", dir=output_dir) as scratch:
        template, made = Path(scratch, NAME), Path(scratch, "made", project.name)
        shutil.copytree(HERE, template, ignore=not_read)
        render(template, made, answers, source)
        made.rename(project)
    with chdir(project):
        runpy.run_path(str(HERE / "hooks/post_gen_project.py"))["main"]()
    if copier:
        click.echo(f"\n`uvx copier update` takes later versions from {source}", err=True)


def not_read(folder: str, names: list[str]) -> list[str]:
    """Return the names that copytree leaves out: what the engines don't read."""
    at_top = Path(folder) == HERE
    return [name for name in names if name == "__pycache__" or (at_top and name not in PARTS)]


def main() -> None:
    """Run the command; errors are one line on stderr."""
    try:
        command.main(prog_name=NAME, standalone_mode=False)
    except click.ClickException as error:
        code, message = error.exit_code, error.format_message()
    except OSError as error:
        code, message = 1, str(error)
    except click.Abort as stop:
        click.echo()  # ends the prompt's line
        code, message = 130, "Interrupted"
        if isinstance(stop.__context__, EOFError):
            code, message = 2, "No answer can be read: give --defaults, or a flag for each question"
    else:
        return
    click.echo(f"Error: {message}", err=True)
    sys.exit(code)
