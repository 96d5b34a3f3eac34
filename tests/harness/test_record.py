"""experiment.json: what is made of a damaged one, of another project's, and of none."""

import copy
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ray_tune_experiment.harness.cli import commands as cli
from ray_tune_experiment.harness.cli.listing import print_experiment, print_list
from ray_tune_experiment.harness.configuration import Configuration, Refusal, load
from ray_tune_experiment.harness.run import preflight
from ray_tune_experiment.harness.store import record as provenance
from ray_tune_experiment.harness.store.dataset import describe
from ray_tune_experiment.harness.store.lock import locked
from ray_tune_experiment.harness.store.record import DIFF, FILE, Record
from ray_tune_experiment.harness.store.storage import Storage
from ray_tune_experiment.settings import Settings


@pytest.fixture
def record() -> Record:
    """Of a run that was killed after an earlier one had ended."""
    configuration = load(["--name", "x"])
    storage = Storage(configuration.settings.storage_path)
    made = Record.new(storage, configuration, {"rate": 0.1}, [], describe(None))
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


def refusal(settings: Settings) -> str | None:
    """Show an experiment, or say why not."""
    try:
        print_experiment(settings)
    except Refusal as refused:
        return str(refused)
    return None


def test_a_damaged_record_is_one_line(record: Record, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(record.storage.at("x"), record.storage.at("whole"))
    settings, refused, content = load(["--name", "x"]).settings, 0, copy.deepcopy(record.content)
    few = ("metric", "num_samples", "loggers", "resources_per_trial")
    content["settings"] = {field: content["settings"][field] for field in few}
    content["runs"] = content["runs"][-1:]
    content["runs"][0]["packages"] = {"ray": "2"}
    texts = [json.dumps(wrong).encode() for wrong in wrong_shapes(content)]
    for text in (b"", b"{", b"\xff", b"[" * 100_000, *texts):
        record.storage.write(text, "x", FILE)
        print_list(settings)
        said = capsys.readouterr().out.splitlines()
        assert any(line.startswith("whole ") for line in said), said
        finding = refusal(settings)
        assert [finding] == (said[:1] if f"x/{FILE} is damaged: " in said[0] else [None])
        refused += finding is not None
        capsys.readouterr()
    assert refused > len(texts) / 3


def test_show_after_a_kill(record: Record, capsys: pytest.CaptureFixture[str]) -> None:
    settings = load(["--name", "x"]).settings

    def shown() -> list[str]:
        print_experiment(settings)
        lines = capsys.readouterr().out.splitlines()
        return [line.rpartition(": ")[2] for line in lines if line.startswith("run ")]

    assert shown() == ["done", "killed"]
    with locked(record.storage, "x"):
        assert shown() == ["done", "running"]


def findings(*words: str) -> list[str]:
    return preflight.check(load(["--name", "x", *words])).findings


def test_a_name_whose_first_run_was_killed_before_its_record_is_free(
    record: Record, empty_folder: Path
) -> None:
    (taken,) = findings()
    assert "exists already; --resume" in taken
    record.storage.delete("x", FILE)
    for left in ("run.lock", f"run.lock.{'0' * 32}", f"1-{DIFF}", f".{FILE}.0.part"):
        record.storage.write(b"", "x", left)
        assert findings() == []
    (none,) = findings("--resume")
    assert "start it without --resume" in none
    record.storage.write(b"", "x", "notes.txt")
    (other,) = findings()
    assert "there is a folder of that name, which is no experiment; give another name" in other
    (absent,) = findings("--resume")
    assert "no such experiment" in absent


def test_an_experiment_of_another_package(
    record: Record, capsys: pytest.CaptureFixture[str]
) -> None:
    said = "is an experiment of the package other, and this one is ray_tune_experiment"
    record.content["package"] = "other"
    record.save()
    before = record.storage.read("x", FILE)
    for words in (["run", "--resume", "--name", "x"], ["extend", "x"], ["export", "x"]):
        assert cli.main(words) == 2
        (error,) = capsys.readouterr().err.splitlines()
        assert said in error
    assert cli.main(["show", "x"]) == 0
    assert list(record.storage.files("x")) == [FILE, *diffs(record)]
    assert record.storage.read("x", FILE) == before
    del record.content["package"]  # of a version that did not write it
    record.save()
    assert findings("--resume") == []


def diffs(record: Record) -> list[str]:
    return [run["git"]["diff"] for run in record.content["runs"] if "diff" in run["git"]]


@pytest.mark.parametrize("field", ["num_samples", "max_iterations", "loggers"])
def test_a_setting_that_is_not_accepted_any_more(record: Record, field: str) -> None:
    record.content["settings"][field]["value"] = {"not": "accepted"}
    configuration: Configuration = load(["--name", "x", "--resume"])
    with pytest.raises(Refusal, match=rf"x/{FILE}: {field}: "):
        record.restore_settings(configuration)


def test_a_limit_that_a_record_does_not_know(record: Record) -> None:
    """It is newer than the experiment."""
    del record.content["settings"]["metric_goal"]
    assert record.limits_changed(load(["--name", "x"]).settings) == []


CODE_STATE = """if True:
    import json
    from ray_tune_experiment.harness.store import record as provenance
    print(json.dumps(provenance.code_state()))
"""


def git(folder: Path, *words: str) -> str:
    """Run git in a folder, as somebody with a name and without settings."""
    identity = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    command = ["git", "-C", str(folder), *identity, *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_the_commit_is_that_of_the_code(empty_folder: Path) -> None:
    """Not of the folder in which the command is started, nor of one around an installed package."""
    elsewhere, project = empty_folder / "elsewhere", empty_folder / "project"
    package = Path(provenance.__file__).parents[1]
    hidden = shutil.ignore_patterns("__pycache__")
    for folder in (elsewhere, project):
        folder.mkdir()
        git(folder, "init", "--quiet")
        (folder / "file").touch()
        (folder / ".gitignore").write_text(".venv\n")
        git(folder, "add", ".")
        git(folder, "commit", "--quiet", "--message", folder.name)

    def state(source: str, **env: str) -> Any:
        env = {**os.environ, "PYTHONPATH": str(project / source), **env}
        return json.loads(
            subprocess.check_output([sys.executable, "-c", CODE_STATE], cwd=elsewhere, env=env)
        )

    installed = ".venv/lib/python3/site-packages"
    shutil.copytree(package, project / installed / package.name, ignore=hidden)
    nothing = [{"commit": None, "dirty": None}, ""]
    assert state(installed) == nothing

    shutil.copytree(package, project / "src" / package.name, ignore=hidden)
    assert state("src") == nothing  # not yet of the commit
    git(project, "add", ".")
    git(project, "commit", "--quiet", "--message", "code")
    commit = git(project, "rev-parse", "HEAD")
    for env in ({}, {"GIT_DIR": str(elsewhere / ".git")}):
        code, diff = state("src", **env)
        assert code == {"commit": commit, "dirty": False, "untracked": []}
        assert diff == ""
    (project / "file").write_text("changed\n")
    code, diff = state("src")
    assert code["dirty"]
    assert "+changed" in diff
