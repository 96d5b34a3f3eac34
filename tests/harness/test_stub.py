"""The stub project, run as a user does, in processes of its own: these tests start Ray."""

import contextlib
import json
import os
import pickletools
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from harness.cli import main
from harness.errors import Refusal
from harness.results.experiment import open_experiment
from harness.run import resume
from harness.store import tables
from harness.store.saved_trials import newest_state
from harness.store.storage import Folder
from ray.tune.experiment import Trial
from stub import PROJECT

pytestmark = pytest.mark.ray
# They may not move, nor change their names: experiments that were saved could not be resumed.
PROMISED = {
    "harness.store.whole_files.WholeFiles",
    "harness.tune.plan.trial_folder",
    "harness.tune.stopping.SavedStopper",
}

ITERATIONS, FREQUENCY = 12, 2
SWEEP = ("--max-iterations", str(ITERATIONS), "--checkpoint-frequency", str(FREQUENCY))


def stub(folder: Path, library: str, *words: str, program: str = "stub") -> str:
    """Run a command of the stub project to its end; returns what it says."""
    process = subprocess.Popen(
        [sys.executable, "-m", program, *words],
        cwd=folder,
        env={
            **os.environ,
            "PYTHONPATH": library,
            "PYTHONWARNINGS": "default::DeprecationWarning,default::FutureWarning",
            "RAY_raylet_start_wait_time_s": "300",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        said, _ = process.communicate(timeout=480)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGTERM)  # it ends Ray's processes
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(60)
        raise
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0, said
    assert "Traceback" not in said, said
    assert "deprecat" not in said.lower(), said
    return said


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, library: str) -> tuple[Path, str]:
    """The folder in which an experiment `a` was run, and what it said."""
    folder = tmp_path_factory.mktemp("stub")
    words = ("run", "--name", "a", "--scheduler", "asha", *SWEEP)
    return folder, stub(folder, library, *words, program="recorded")


@pytest.fixture
def experiment(finished: tuple[Path, str], monkeypatch: pytest.MonkeyPatch) -> Path:
    folder, _ = finished
    monkeypatch.chdir(folder)
    return folder / "results/a"


def record(experiment: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((experiment / "experiment.json").read_text())
    return found


def rows(experiment: Path) -> dict[str, list[dict[str, Any]]]:
    """The results of each trial."""
    return {
        path.parent.name: [json.loads(line) for line in path.read_text().splitlines()]
        for path in experiment.glob("trial_*/result.json")
    }


def test_an_experiment(experiment: Path, finished: tuple[Path, str]) -> None:
    _, said = finished
    assert said.startswith(f"a: 2 trials of at most {ITERATIONS} iterations, up to ")
    assert "Best of 2 trials: score " in said
    (run,) = record(experiment)["runs"]
    assert (run["outcome"], run["trials"], run["failed"]) == ("done", 2, [])
    its = rows(experiment)
    assert len(its) == 2
    for trial, results in its.items():
        numbers = [row["training_iteration"] for row in results]
        assert numbers == [*range(1, len(results) + 1)]
        exported = json.loads((experiment / trial / "model.json").read_text())
        assert exported["score"] == results[-1]["score"]
        assert [*(experiment / trial).glob("checkpoint_*/seal.json")]
    best = max(row["score"] for results in its.values() for row in results)
    assert run["best"]["score"] == best
    assert not [*experiment.rglob("*.part"), *experiment.glob("run.lock*")]


def test_a_kill_at_any_moment(finished: tuple[Path, str]) -> None:
    """Whatever the driver wrote last: each iteration up to where a trial resumes is there once."""
    resumed = set[int]()
    for moment in sorted((finished[0] / "moments").iterdir()):
        folder = Folder.open(str(moment)) / "a"
        if not resume.has_trials(folder):
            continue
        saved = checkpoints(moment / "a")
        resume.reconcile(folder, errored=False, longer=None)
        for trial in trials(folder):
            result: Any = trial.last_result
            if trial.status != Trial.TERMINATED:
                newest: Any = trial.latest_checkpoint_result
                result = newest.metrics if newest else {}
            last, own = result.get("training_iteration", 0), str(trial.relative_logdir)
            for table in tables.FILES:
                found = tables.results(table, folder.read(own, table) or b"")
                numbers = [] if found.empty else found["training_iteration"].tolist()
                assert numbers == [*range(1, last + 1)], (moment, own, table)
            # Of two checkpoints that are kept, one entry is left out, and one not yet written.
            assert last >= max(saved.get(own, [0])) - 2 * FREQUENCY, (moment, own)
            resumed.add(last)
    # Which moments there are depends on how fast each process was.
    assert {0, ITERATIONS} <= resumed
    assert len(resumed) > 3, resumed


def checkpoints(experiment: Path) -> dict[str, list[int]]:
    """The iterations of the checkpoints of each trial."""
    found = dict[str, list[int]]()
    for seal in experiment.glob("trial_*/checkpoint_*/seal.json"):
        iteration = json.loads(seal.read_text())["result"]["training_iteration"]
        found.setdefault(seal.parents[1].name, []).append(iteration)
    return found


def trials(folder: Folder) -> list[Trial]:
    """The trials of the saved state."""
    found, state = [], json.loads(folder.read(str(newest_state(folder))) or b"")
    for trial_state, run in state["trial_data"]:
        found.append(Trial.from_json_state(trial_state, stub=True))
        found[-1].restore_run_metadata(run)
    return found


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["list"], "a     "),
        (["show", "a"], "search space: rate Float(0.1, 1.0) Uniform"),
        (["trials", "a"], "a: done; 2 trials"),
        (["report", "a"], "report.html"),
        (["export", "a"], "Exported model: "),
    ],
)
def test_what_looks_at_it(
    words: list[str], said: str, experiment: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(PROJECT, words) == 0
    assert said in capsys.readouterr().out


def test_it_is_opened_in_a_notebook(experiment: Path) -> None:
    opened = open_experiment(PROJECT, "a")
    best = record(experiment)["runs"][0]["best"]
    assert opened.finished
    assert opened.best_value == best["score"]
    assert opened.best_trial is not None
    assert opened.best_trial.trial_id == best["trial"]
    assert len(opened.results_table()) == sum(map(len, rows(experiment).values()))
    assert len(opened.study().trials) == 2
    assert opened.best_checkpoint is not None
    assert opened.get_best_checkpoint(opened.best_trial, metric="another") is None


def test_a_storage_that_fails_is_named(experiment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = Folder.read

    def fail(folder: Folder, *parts: str) -> bytes | None:
        if parts[-1] in tables.FILES:
            raise OSError("the bucket is gone")
        return read(folder, *parts)

    monkeypatch.setattr(Folder, "read", fail)
    with pytest.raises(Refusal, match="the bucket is gone"):
        open_experiment(PROJECT, "a")


def test_a_saved_state_names_what_was_promised_alone(experiment: Path) -> None:
    found = set[str]()
    for path in filter(Path.is_file, experiment.glob("*")):
        content = path.read_bytes()
        if content[:1] == b"\x80":
            found |= {*named(content)}
        for pickled in re.findall(rb'"value\W+"([0-9a-f]{20,})\W', content):
            found |= {*named(bytes.fromhex(pickled.decode()))}
    assert {name for name in found if name.startswith(("harness.", "stub."))} == PROMISED


def named(content: bytes) -> Iterator[str]:
    """Yield the modules and names in a pickle, and in the pickles within it."""
    texts = list[Any]()
    for operation, argument, _ in pickletools.genops(content):
        if isinstance(argument, bytes) and argument[:1] == b"\x80":
            with contextlib.suppress(ValueError):  # bytes that are no pickle
                yield from [*named(argument)]
        if operation.name in {"SHORT_BINUNICODE", "BINUNICODE"}:
            texts.append(argument)
        elif operation.name == "STACK_GLOBAL":
            yield ".".join(texts[-2:])


def test_it_is_extended(experiment: Path, library: str) -> None:
    """A copy has one trial more; those that had ended are as they were."""
    before = rows(experiment)
    more = ("--num-samples", "3", "--into", "b")
    said = stub(experiment.parents[1], library, "extend", "a", *more)
    assert "Best of 3 trials: score " in said
    assert rows(experiment) == before
    after = rows(experiment.with_name("b"))
    assert len(after) == 3
    assert before.items() <= after.items()
    assert record(experiment.with_name("b"))["parent"] == "a"
