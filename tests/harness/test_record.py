"""experiment.json: what is made of a damaged one, of another project's, and of none."""

import copy
import json
import os
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from harness.cli import main
from harness.cli.listing import print_experiment, print_list
from harness.configuration import Configuration, load
from harness.errors import Refusal
from harness.store.code_state import code_state
from harness.store.dataset import describe
from harness.store.differences import limits_changed
from harness.store.lock import locked
from harness.store.record import FILE, Record
from harness.store.storage import Folder
from stub import PROJECT, Settings


@pytest.fixture
def record() -> Record:
    """Of a run that was killed after an earlier one had ended."""
    configuration = load(PROJECT, ["--name", "x"])
    folder = Folder.open(configuration.settings.storage_path) / "x"
    made = Record.new(folder, PROJECT.package, {"rate": "fixed 0.1"}, [], describe(None))
    for _ in range(2):
        made.start_run(configuration)
        made.end_run("done", best={made.content["settings"]["metric"]["value"]: 0.5})
    made.content["runs"][-1].update(end=None, outcome="running")
    made.save()
    return made


def wrong_shapes(content: Any) -> Iterator[Any]:
    """What JSON may hold where something else is expected, at each place of a document."""
    values: tuple[Any, ...] = ({}, [], "text", 7, None)
    yield from (value for value in values if type(value) is not type(content))
    if isinstance(content, dict):
        for key, value in content.items():
            yield {other: content[other] for other in content if other != key}
            for wrong in wrong_shapes(value):
                yield {**content, key: wrong}
    elif isinstance(content, list):
        for number, value in enumerate(content):
            for wrong in wrong_shapes(value):
                yield [*content[:number], wrong, *content[number + 1 :]]


def refusal(configuration: Configuration) -> str | None:
    """Show an experiment, or say why not."""
    try:
        print_experiment(configuration)
    except Refusal as refused:
        return str(refused)
    return None


def test_a_damaged_record_is_one_line(record: Record, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(record.folder.root, Path(record.folder.root).with_name("whole"))
    configuration, refused = load(PROJECT, ["--name", "x"]), 0
    content = copy.deepcopy(record.content)
    few = ("metric", "num_samples", "loggers", "resources_per_trial")
    content["settings"] = {field: content["settings"][field] for field in few}
    content["runs"] = content["runs"][-1:]
    content["runs"][0]["packages"] = {"ray": "2"}
    texts = [json.dumps(wrong).encode() for wrong in wrong_shapes(content)]
    for text in (b"", b"{", b"\xff", b"[" * 100_000, *texts):
        record.folder.write(text, FILE)
        print_list(configuration.settings)
        said = capsys.readouterr().out.splitlines()
        assert any(line.startswith("whole ") for line in said), said
        finding = refusal(configuration)
        assert [finding] == (said[:1] if f"x/{FILE} is damaged: " in said[0] else [None])
        refused += finding is not None
        capsys.readouterr()
    assert refused > len(texts) / 3


def test_show_after_a_kill(record: Record, capsys: pytest.CaptureFixture[str]) -> None:
    configuration = load(PROJECT, ["--name", "x"])

    def shown() -> tuple[list[str], bool]:
        print_experiment(configuration)
        lines = capsys.readouterr().out.splitlines()
        ends = [line.rpartition(": ")[2] for line in lines if line.startswith("run ")]
        return ends, f"Resume: {configuration.again('run', '--resume')}" in lines

    assert shown() == (["done", "killed"], True)
    with locked(record.folder):
        assert shown() == (["done", "running"], False)


def test_an_experiment_of_another_package(
    record: Record, capsys: pytest.CaptureFixture[str]
) -> None:
    said = "is an experiment of the package other, and this one is stub"
    record.content["package"] = "other"
    record.save()
    before = record.folder.read(FILE)
    for words in (["run", "--resume", "--name", "x"], ["extend", "x"], ["export", "x"]):
        assert main(PROJECT, words) == 2
        (error,) = capsys.readouterr().err.splitlines()
        assert said in error
    assert main(PROJECT, ["show", "x"]) == 0
    assert sorted(record.folder.files()) == sorted([FILE, *diffs(record)])
    assert record.folder.read(FILE) == before


def diffs(record: Record) -> list[str]:
    return [run["git"]["diff"] for run in record.content["runs"] if "diff" in run["git"]]


@pytest.mark.parametrize("field", ["num_samples", "max_iterations", "loggers"])
def test_a_setting_that_is_not_accepted_any_more(record: Record, field: str) -> None:
    record.content["settings"][field]["value"] = {"not": "accepted"}
    configuration: Configuration = load(PROJECT, ["--name", "x", "--resume"])
    with pytest.raises(Refusal, match=rf"x/{FILE}: {field}: "):
        record.restored(configuration)


def test_a_limit_that_a_record_does_not_know(record: Record) -> None:
    """It is newer than the experiment."""
    del record.content["settings"]["metric_goal"]
    assert limits_changed(record, Settings(name="x")) == []


def git(folder: Path, *words: str) -> str:
    """Run git in a folder, as somebody with a name and without settings."""
    identity = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    command = ["git", "-C", str(folder), *identity, *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_the_commit_is_that_of_the_code(
    empty_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not of the folder in which the command is started, nor of one around an installed package."""
    elsewhere, project = empty_folder / "elsewhere", empty_folder / "project"
    for folder in (elsewhere, project):
        folder.mkdir()
        git(folder, "init", "--quiet")
        (folder / "file").touch()
        (folder / ".gitignore").write_text(".venv\n")
        git(folder, "add", ".")
        git(folder, "commit", "--quiet", "--message", folder.name)
    monkeypatch.chdir(elsewhere)

    def package(source: str) -> Path:
        made = project / source / "package"
        made.mkdir(parents=True)
        (made / "__init__.py").touch()
        return made

    nothing = ({"commit": None, "dirty": None}, "")
    assert code_state(package(".venv/lib/python3/site-packages")) == nothing
    source = package("src")
    assert code_state(source) == nothing  # not yet of the commit
    git(project, "add", ".")
    git(project, "commit", "--quiet", "--message", "code")
    commit = git(project, "rev-parse", "HEAD")
    for env in ({}, {"GIT_DIR": str(elsewhere / ".git")}):
        with mock.patch.dict(os.environ, env):
            expected = {"commit": commit, "dirty": False, "untracked": []}
            assert code_state(source) == (expected, "")
    (project / "file").write_text("changed\n")
    (project / "new").touch()
    code, diff = code_state(source)
    assert code == {"commit": commit, "dirty": True, "untracked": ["new"]}
    assert "+changed" in diff


def test_what_was_restored_and_what_was_given(record: Record) -> None:
    """A resume has the experiment's settings, but for those that are given."""
    record.content["settings"]["max_iterations"]["value"] = 7
    record.content["settings"]["num_samples"]["value"] = 5
    now = load(PROJECT, ["--name", "x", "--resume", "--num-samples", "9"])
    restored = record.restored(now)
    assert (restored.settings.max_iterations, restored.settings.num_samples) == (7, 9)
    assert restored.origins["max_iterations"] == "the experiment x"
    assert restored.origins["num_samples"] == "flag"
    looked_at = record.settings(now.settings, ["num_samples"])
    assert (looked_at.max_iterations, looked_at.num_samples) == (7, 9)


def test_the_command_that_repeats_an_experiment(record: Record) -> None:
    assert record.command(Settings) == "run"
    for field, value in [("num_samples", 5), ("reuse_actors", False), ("loggers", ["csv"])]:
        record.content["settings"][field]["value"] = value
    words = shlex.split(record.command(Settings))
    again = load(PROJECT, words[1:]).settings
    assert (again.num_samples, again.reuse_actors, again.loggers) == (5, False, ["csv"])


def test_no_such_experiment(record: Record) -> None:
    with pytest.raises(Refusal) as refused:
        Record.find(Settings(name="y"))
    assert str(refused.value) == "EXPERIMENT_NAME='y': no such experiment; `list` shows all"
