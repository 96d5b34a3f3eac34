"""experiment.json: what is made of a damaged one, of another project's, and of none."""

import copy
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ray_tune_experiment.harness import cli, preflight
from ray_tune_experiment.harness.configuration import Configuration, Refusal, load
from ray_tune_experiment.harness.lock import locked
from ray_tune_experiment.harness.overview import print_experiment
from ray_tune_experiment.harness.provenance import DIFF, FILE, Record
from ray_tune_experiment.harness.storage import Storage


@pytest.fixture
def record() -> Record:
    """Of a run that was killed after an earlier one had ended."""
    configuration = load(["--name", "x"])
    storage = Storage(configuration.settings.storage_path)
    made = Record.new(storage, configuration, {"rate": 0.1}, [])
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


def test_a_damaged_record_is_one_line(record: Record, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(record.storage.at("x"), record.storage.at("whole"))
    refused, content = 0, copy.deepcopy(record.content)
    few = ("metric", "num_samples", "loggers", "resources_per_trial")
    content["settings"] = {field: content["settings"][field] for field in few}
    content["runs"] = content["runs"][-1:]
    content["runs"][0]["packages"] = {"ray": "2"}
    texts = [json.dumps(wrong).encode() for wrong in wrong_shapes(content)]
    for text in (b"", b"{", b"\xff", b"[" * 100_000, *texts):
        record.storage.write(text, "x", FILE)
        assert cli.main(["list"]) == 0
        said = capsys.readouterr().out.splitlines()
        assert any(line.startswith("whole ") for line in said), said
        if cli.main(["show", "x"]) == 0:
            assert not any("damaged" in line for line in said), said
        else:
            refused += 1
            (finding,) = capsys.readouterr().err.splitlines()
            assert finding.startswith(f"error: x/{FILE} is damaged: ")
            assert finding == f"error: {said[0]}"
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
