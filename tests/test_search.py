"""Search algorithms, schedulers and warm starts in real sweeps, interrupted and resumed."""

import contextlib
import json
import re
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.kill import resume_command
from tests.faults.project import PACKAGE, Experiment, Project, Trial

pytestmark = [pytest.mark.shared_ray, pytest.mark.timeout(900)]

# For what needs no second worker: to start one is half of a short run.
ALONE = ("--max-concurrent-trials", 1)
POINTS = [
    {"hidden_units": 32, "learning_rate": 0.01, "l2": 0.001, "batch_size": 64},
    {"hidden_units": 16, "learning_rate": 1e-05, "l2": 0.01, "batch_size": 128},
]
# What the newest saved state holds of a scheduler and a searcher, as JSON, for each folder.
LOOK = f"""
import json, pickle, sys
from pathlib import Path
from {PACKAGE}.harness.tune.scheduler_state import _Unpickler

def look(folder):
    found = {{}}
    states = pickle.loads(max(folder.glob("callback-states-*.pkl")).read_bytes())[0]
    learned = _Unpickler(pickle.loads(states["SchedulerState"])["scheduler"], {{}}).load()
    if "_brackets" in learned:
        (bracket,) = learned["_brackets"]
        found["rungs"] = {{int(milestone): list(known) for milestone, known in bracket._rungs}}
    if "_results" in learned:
        found["results"] = {{
            trial: [result["training_iteration"] for result in results]
            for trial, results in learned["_results"].items()
        }}
    if "_hyperbands" in learned:
        found["brackets"] = [
            {{"all": bracket._all_trials, "live": list(bracket._live_trials)}}
            for band in learned["_hyperbands"] for bracket in band if bracket
        ]
    if "_trial_state" in learned:
        states = learned["_trial_state"]
        found["scores"] = {{trial: state.last_score for trial, state in states.items()}}
        found["perturbations"] = learned["_num_perturbations"]
    for path in sorted(folder.glob("searcher-state-*.pkl"))[-1:]:
        state = pickle.loads(path.read_bytes())
        if "_ot_study" in state:
            found["told"] = [trial.value for trial in state["_ot_study"].trials]
        elif "_hpopt_trials" in state:
            found["told"] = [trial["result"].get("loss") for trial in state["_hpopt_trials"].trials]
        else:
            found["told"] = state["_nevergrad_opt"].num_tell
    return found

print(json.dumps([look(Path(folder)) for folder in sys.argv[1:]]))
"""

# Added to the search space: all that is not a plain domain.
RICH = """

import math
import random

_plain_space = search_space


def search_space():
    return _plain_space() | {
        "nested": {"rate": tune.quniform(0, 1, 0.1), "list": [tune.uniform(0, 1), 0.5]},
        "layers": tune.choice([(64,), (64, 32)]),
        "kind": tune.choice([{"name": "a", "rate": tune.uniform(0, 1)}]),
        "call": tune.choice([math.sin, lambda x: x]),
        "drawn": tune.sample_from(random.random),
        "twice": tune.sample_from(lambda config: config["nested"]["rate"] * 2),
        "fixed": 10,
    }
"""
RICH_NAMES = ["nested/rate", "nested/list/0", "layers", "kind/name", "kind/rate", "call",
              "drawn", "twice"]  # fmt: skip


# Not what another package says of one that it uses.
DEPRECATED = re.compile(r"(?!.*-packages/(?!ray/)).*(?:deprecat|FutureWarning)", re.IGNORECASE)


@pytest.fixture(autouse=True)
def nothing_deprecated(project: Project) -> Iterator[None]:
    """Is used of Ray, in a driver or a worker: a project's own tests reach a part of it only."""
    project.env["PYTHONWARNINGS"] = "default::DeprecationWarning,default::FutureWarning"
    yield
    said = [run.log for run in project.runs] + [*project.folder.glob("results/*/trial_*/stderr")]
    lines = {line for path in said for line in path.read_text(errors="replace").splitlines()}
    assert {line for line in lines if DEPRECATED.match(line)} == set()


def keep(experiment: Experiment, name: str) -> Path:
    """Keep what Ray has saved now, for `look`. Returns the folder."""
    kept = experiment.folder.parents[1] / name
    kept.mkdir()
    for path in experiment.folder.glob("*.pkl"):
        shutil.copy(path, kept)
    return kept


def look(project: Project, *folders: Path) -> list[dict[str, Any]]:
    run = project.start_program("-c", LOOK, *folders)
    assert run.wait() == 0, run.said
    found: list[dict[str, Any]] = json.loads(run.said.splitlines()[-1])
    return found


def trials(experiment: Experiment) -> list[Trial]:
    """The trials in the newest whole state; a searcher's ids carry no number to sort by."""
    for file in sorted(experiment.folder.glob("experiment_state-*.json"), reverse=True):
        with contextlib.suppress(ValueError):
            found = []
            for trial_text, run_text in json.loads(file.read_text())["trial_data"]:
                trial, last = json.loads(trial_text), json.loads(run_text).get("last_result") or {}
                iteration = last.get("training_iteration", 0)
                found.append(Trial(trial["trial_id"], trial["status"], iteration, last))
            return found
    return []


def ended(experiment: Experiment) -> list[str]:
    return [trial.id for trial in trials(experiment) if trial.status == "TERMINATED"]


def interrupt(
    project: Project,
    *flags: object,
    when: Callable[[Experiment], Any],
) -> tuple[Experiment, str]:
    """Start a sweep, end it by SIGINT at a moment. Returns what it left and what it said."""
    run = project.start("run", *flags, FAULT_SLEEP="0.4")
    experiment = project.experiment(str(flags[flags.index("--name") + 1]))
    run.until(lambda: experiment.folder.exists() and when(experiment))
    run.kill(signal.SIGINT)
    assert run.wait() == 130, run.said
    assert "Traceback" not in run.said, run.said
    assert "warn" not in run.said.lower(), run.said
    return experiment, run.said


def go_on(project: Project, said: str, *flags: object) -> str:
    again = project.run(*resume_command(project, said), *flags, FAULT_SLEEP="0")
    assert "Traceback" not in again, again
    assert "warn" not in again.lower(), again
    return again


def config(trial: Any) -> dict[str, Any]:
    return {key: trial.result["config"][key] for key in POINTS[0]}


def table(shown: str) -> list[dict[str, str]]:
    """The hyperparameters of each trial, the best first, as `trials` has shown them."""
    head, *lines = (re.split(r"\s{2,}", line) for line in shown.splitlines()[1:])
    assert set(RICH_NAMES) <= set(head)
    return [{k: v for k, v in zip(head, line, strict=True) if k in RICH_NAMES} for line in lines]


def test_a_search_space_of_any_kind(project: Project) -> None:
    """Sampled, resumed and extended, shown, exported, and what another experiment begins with."""
    with (project.copy_source() / "search_space.py").open("a") as file:
        file.write(RICH)
    short = ("--num-samples", 2, "--max-iterations", 1, *ALONE)
    said = project.run("run", "--name", "first", *short)
    assert "Traceback" not in said
    for name in RICH_NAMES:
        assert f"  {name} = " in said
    first = table(project.run("trials", "first"))
    project.run("extend", "first", "--num-samples", 3)
    extended = table(project.run("trials", "first"))
    assert len(extended) == 3
    assert all(row in extended for row in first)  # also what `sample_from` drew by chance
    project.run("run", "--name", "second", *short, "--points-to-evaluate", "first:2")
    (_, listed), (_, exported), (_, shown) = project.run_each(
        ("trials", "second"), ("export", "second"), ("show", "second")
    )
    assert sorted(map(str, table(listed))) == sorted(map(str, extended[:2]))
    assert "Exported model" in exported
    assert "nested/rate Float(0, 1) Uniform q=0.1" in shown
    assert "fixed fixed 10" in shown
    assert " at 0x" not in shown


def test_optuna_with_asha_from_a_file(project: Project) -> None:
    (project.folder / "points.json").write_text(json.dumps(POINTS))
    flags = ("--search-alg", "optuna", "--scheduler", "asha", "--max-concurrent-trials", 2)
    experiment, said = interrupt(
        project,
        *("--name", "x", *flags, "--num-samples", 6, "--max-iterations", 4),
        *("--points-to-evaluate", "points.json"),
        when=ended,
    )
    assert experiment.record["points"] == POINTS
    done, saved = ended(experiment), keep(experiment, "before")
    assert done
    (project.folder / "points.json").unlink()

    changed = project.run("run", "--resume", "--name", "x", "--search-alg", "random", code=2)
    assert "SEARCH_ALG: was 'optuna', is 'random'" in changed

    said = go_on(project, said, "--verbose", 2, "--loggers", "csv")  # other callbacks
    assert len(ended(experiment)) == len(trials(experiment)) == 6
    every, resumed = ended(experiment), keep(experiment, "after")

    said = project.run("extend", "x", "--num-samples", 7, FAULT_SLEEP="0")
    assert "Best of 7 trials" in said
    before, after, longer = look(project, saved, resumed, experiment.folder)
    assert set(done) <= set(before["rungs"]["1"])
    assert set(after["rungs"]["1"]) == set(every)
    assert len(after["told"]) == 6
    told = [value for value in before["told"] if value is not None]
    assert len(told) >= len(done)
    assert set(told) <= set(after["told"])
    assert None not in after["told"]

    assert longer["told"][:6] == after["told"]
    assert len(longer["told"]) == 7
    configs = [config(trial) for trial in trials(experiment)]
    assert all(configs.count(point) == 1 for point in POINTS)


@pytest.mark.more
def test_hyperopt_with_median_from_an_experiment(project: Project) -> None:
    short = ("--num-samples", 3, "--max-iterations", 1, *ALONE)
    project.run("run", "--name", "earlier", *short, FAULT_SLEEP="0")
    experiment, said = interrupt(
        project,
        *("--name", "x", "--search-alg", "hyperopt", "--scheduler", "median", *ALONE),
        *("--num-samples", 6, "--max-iterations", 6, "--points-to-evaluate", "earlier:2"),
        when=ended,
    )
    earlier = trials(project.experiment("earlier"))
    earlier.sort(key=lambda trial: trial.result["validation_accuracy"], reverse=True)
    assert experiment.record["points"] == [config(trial) for trial in earlier[:2]]
    done, saved = ended(experiment), keep(experiment, "before")
    go_on(project, said)
    before, after = look(project, saved, experiment.folder)
    assert len(ended(experiment)) == len(trials(experiment)) == len(after["told"]) == 6
    assert {value for value in before["told"] if value is not None} <= set(after["told"])
    assert None not in after["told"]
    for trial in done:
        assert after["results"][trial] == before["results"][trial]
    iterations = [trial.iteration for trial in trials(experiment)]
    assert min(iterations) < 6 == max(iterations), iterations
    configs = [config(trial) for trial in trials(experiment)]
    assert all(configs.count(point) == 1 for point in experiment.record["points"])


@pytest.mark.more
def test_nevergrad(project: Project) -> None:
    (project.folder / "points.json").write_text(json.dumps(POINTS[:1]))
    experiment, said = interrupt(
        project,
        *("--name", "x", "--search-alg", "nevergrad", "--num-samples", 5, "--max-iterations", 3),
        *("--points-to-evaluate", "points.json", *ALONE),
        when=ended,
    )
    done, saved = ended(experiment), keep(experiment, "before")
    first = {trial.id: config(trial) for trial in trials(experiment) if trial.id in done}
    go_on(project, said)
    before, after = look(project, saved, experiment.folder)
    assert len(done) <= before["told"] < 5
    assert len(ended(experiment)) == after["told"] == 5
    configs = {trial.id: config(trial) for trial in trials(experiment)}
    assert first.items() <= configs.items()
    assert any(point == pytest.approx(POINTS[0]) for point in configs.values())


def test_population_based_training(project: Project) -> None:
    experiment, said = interrupt(
        project,
        *("--name", "x", "--scheduler", "pbt", "--num-samples", 4, "--max-iterations", 8),
        when=lambda experiment: (experiment.folder / "pbt_global.txt").exists(),
    )
    saved = keep(experiment, "before")
    history = (experiment.folder / "pbt_global.txt").read_text()
    go_on(project, said)
    before, after = look(project, saved, experiment.folder)
    assert before["perturbations"]
    assert any(score is not None for score in before["scores"].values())
    assert after["perturbations"] > before["perturbations"]
    assert (experiment.folder / "pbt_global.txt").read_text().startswith(history)
    assert len(ended(experiment)) == 4
    changed = 0
    for index in range(4):
        rows = experiment.results(index)
        assert rows[-1]["training_iteration"] == 8
        assert {row["config"]["seed"] for row in rows} == {42}
        changed += len({row["config"]["learning_rate"] for row in rows}) - 1
    assert changed
    # What trained had the values that the results say.
    said_of = {row["config"]["learning_rate"] for i in range(4) for row in experiment.results(i)}
    assert set(project.trace()) == said_of


@pytest.mark.more
def test_hyperband(project: Project) -> None:
    experiment, said = interrupt(
        project,
        *("--name", "x", "--scheduler", "hyperband", "--num-samples", 7, "--max-iterations", 9),
        when=lambda experiment: any(trial.status == "PAUSED" for trial in trials(experiment)),
    )
    saved = keep(experiment, "before")
    waiting = {t.id: t.iteration for t in trials(experiment) if t.status == "PAUSED"}
    assert waiting
    go_on(project, said)
    before, after = look(project, saved, experiment.folder)
    assert len(ended(experiment)) == 7
    assert [bracket["all"] for bracket in after["brackets"]] == [
        bracket["all"] for bracket in before["brackets"]
    ]
    assert not any(bracket["live"] for bracket in after["brackets"])
    (finding,) = project.run("extend", "x", "--num-samples", 8, code=2).splitlines()
    assert "--points-to-evaluate x:5 starts again with the best five trials" in finding
