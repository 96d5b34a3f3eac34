"""What is checked before a run: the place, the name, and the data of what is resumed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from harness.configuration import Configuration, load
from harness.errors import Refusal
from harness.run import preflight, prepare
from harness.run.rehearsal import Outcome
from harness.store.dataset import describe
from harness.store.record import DIFF, FILE
from ray import tune
from stub import PROJECT

from tests.harness.saved import SavedExperiment, changed


@pytest.fixture
def experiment(empty_folder: Path) -> SavedExperiment:
    return SavedExperiment(empty_folder)


def refusals(call: Callable[[], object]) -> list[str]:
    with pytest.raises(Refusal) as refused:
        call()
    return list(refused.value.findings)


def test_a_data_file_that_was_moved(
    experiment: SavedExperiment, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def resumed(*flags: str) -> Configuration:
        configuration = experiment.loaded("--resume", *flags)
        prepare(configuration)
        return configuration

    moved = experiment.rows.rename(experiment.rows.with_name("moved.txt"))
    assert refusals(resumed) == [
        f"EXPERIMENT_DATA_PATH='{experiment.rows}': No such file or directory; --data-path names"
        " where it is"
    ]
    assert resumed("--data-path", "moved.txt").settings.data_path == moved
    moved.rename(experiment.rows)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    storage = ("--storage-path", str(experiment.folder.parent))
    assert resumed(*storage).settings.data_path == experiment.rows


@pytest.mark.parametrize("flags", [["--resume"], ["--resume", "extend", "--num-samples", "9"]])
def test_other_rows_are_refused(experiment: SavedExperiment, flags: list[str]) -> None:
    before = experiment.record.content["data"]["digest"][:12]
    experiment.rows.write_text("1\n2\n3\n5\n")
    configuration = experiment.loaded(*flags)
    (finding,) = refusals(lambda: prepare(configuration))
    assert finding.startswith(f"data: was {experiment.rows} (digest {before}), is ")
    assert before not in finding.partition(", is ")[2]


def test_load_data_may_return_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rehearsed = []

    def rehearse(_: Any, __: Any, sample: Any, ___: Any) -> Outcome:
        rehearsed.append(sample)
        return Outcome()

    monkeypatch.setattr(preflight, "rehearse", rehearse)
    ready = prepare(load(changed(load_data=lambda _: None), ["--name", "new"]))
    assert rehearsed == [None]
    assert ready.described == describe(None)


def test_a_sample_of_the_data_is_rehearsed(monkeypatch: pytest.MonkeyPatch) -> None:
    class Rows:
        def sample(self) -> Any:
            raise IndexError("no rows")

    (finding,) = refusals(lambda: prepare(load(changed(load_data=lambda _: Rows()), [])))
    assert finding == "data.py: Rows.sample fails with IndexError: no rows"


def findings(*words: str) -> list[str]:
    try:
        prepare(load(PROJECT, ["--name", "x", *words]))
    except Refusal as refusal:
        return list(refusal.findings)
    return []


def test_a_name_whose_first_run_was_killed_before_its_record_is_free(
    experiment: SavedExperiment,
) -> None:
    folder = experiment.record.folder
    (taken,) = findings()
    assert taken == (
        "EXPERIMENT_NAME='x': exists already; --resume resumes it, another name starts a new one"
    )
    folder.delete()
    for left in ("run.lock", f"run.lock.{'0' * 32}", f"1-{DIFF}", f".{FILE}.0.part"):
        folder.write(b"", left)
        assert findings() == []
    (none,) = findings("--resume")
    assert "start it without --resume" in none
    folder.write(b"", "notes.txt")
    (other,) = findings()
    assert "there is a folder of that name that is not an experiment; give another name" in other
    (absent,) = findings("--resume")
    assert "no such experiment" in absent


def test_a_full_disk() -> None:
    (finding,) = findings("--min-free-gb", "1e9", "--no-check-search-space")
    assert " GB free, EXPERIMENT_MIN_FREE_GB=1e+09" in finding


def test_a_logger_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    def make_callbacks(_: Any) -> list[Any]:
        raise ImportError("tensorboardX")

    monkeypatch.setattr(preflight, "find_spec", lambda name: None)
    flags = ["--name", "x", "--loggers", "tensorboard", "--no-check-search-space"]
    assert refusals(lambda: prepare(load(changed(make_callbacks=make_callbacks), flags))) == [
        "EXPERIMENT_LOGGERS=tensorboard: tensorboardX is missing; uv add tensorboardX, or leave"
        " tensorboard out"
    ]


def test_a_search_space_that_cannot_be_made() -> None:
    project = changed(search_space=lambda: {"rate": tune.loguniform(0, 1)})
    (finding,) = refusals(lambda: prepare(load(project, ["--name", "x"])))
    assert finding.startswith("search_space.py: LogUniform requires a lower bound greater than 0.")


def test_a_storage_that_takes_nothing(empty_folder: Path) -> None:
    (empty_folder / "file").touch()
    (finding,) = findings("--storage-path", "file/results", "--no-check-search-space")
    place = f"EXPERIMENT_STORAGE_PATH='{empty_folder}/file/results'"
    assert finding.startswith(f"{place}: can't be written (")


def test_what_is_too_large_for_each_trial() -> None:
    large = {"rate": 1, "text": "x" * 2_000_000}
    ready = load(changed(search_space=lambda: large), ["--name", "x", "--no-check-search-space"])
    (finding,) = refusals(lambda: prepare(ready))
    assert finding.startswith("search space: 2 MB would go to the workers with each trial")
