"""Search algorithms, schedulers and warm starts in real sweeps, interrupted and resumed."""

import contextlib
import json
import re
import signal
from collections.abc import Callable
from typing import Any

import pytest

from tests.faults.fixtures import installed, project  # noqa: F401
from tests.faults.kill import resume_command
from tests.faults.project import PACKAGE, Experiment, Project, Trial

pytestmark = [pytest.mark.xdist_group("search"), pytest.mark.timeout(900)]

POINTS = [
    {"hidden_units": 32, "learning_rate": 0.01, "l2": 0.001, "batch_size": 64},
    {"hidden_units": 16, "learning_rate": 1e-05, "l2": 0.01, "batch_size": 128},
]
# What the newest saved state holds of a scheduler and a searcher, as JSON.
LOOK = f"""
import json, pickle, sys
from pathlib import Path
from {PACKAGE}.harness.tune.search import _Unpickler

folder = Path(sys.argv[1])
found = {{}}
states = pickle.loads(max(folder.glob("callback-states-*.pkl")).read_bytes())[0]
learned = _Unpickler(pickle.loads(states["SearchMemory"])["scheduler"], {{}}).load()
if "_brackets" in learned:
    (bracket,) = learned["_brackets"]
    found["rungs"] = {{int(milestone): list(recorded) for milestone, recorded in bracket._rungs}}
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
print(json.dumps(found))
"""

# Asks for many checks in one process: each takes a flag list, and what is done to the code before.
CHECKS = f"""
import contextlib, io, json, sys, threading

from {PACKAGE} import search_space as spaces
from {PACKAGE}.harness.run import preflight
from {PACKAGE}.harness.cli.commands import main
from {PACKAGE}.harness.configuration import load
from ray import tune

space = spaces.search_space
for flags, what in json.loads(sys.argv[1]):
    sys.modules.pop("hyperopt", None)
    preflight.search_space, preflight.MUTABLE = space, spaces.MUTABLE
    if what == "without hyperopt":
        sys.modules["hyperopt"] = None
    elif what == "a grid":
        preflight.search_space = lambda: {{**space(), "deep": {{"er": tune.grid_search([1, 2])}}}}
    elif what == "a choice of spaces":
        preflight.search_space = lambda: {{"a": tune.choice([{{"b": tune.randn(0, 1)}}])}}
    elif what == "a lock":
        preflight.search_space = lambda: {{**space(), "deep": {{"er": threading.Lock()}}}}
    elif what == "normal":
        preflight.search_space = lambda: {{**space(), "normal": tune.randn(0, 1)}}
    elif what == "not sampled":
        preflight.MUTABLE = ("learning_rates",)
    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        code = main(["check", "--no-check-search-space", *flags])
    print(json.dumps([code, said.getvalue().splitlines()]))
"""
# What each way to propose configurations proposes first, by seed.
PROPOSED = f"""
import json
from {PACKAGE}.search_space import search_space
from {PACKAGE}.settings import Settings
from {PACKAGE}.tune_run import make_search

for algorithm in ("optuna", "hyperopt", "nevergrad"):
    found = []
    for seed in (1, 1, 2):
        search = make_search(Settings(search_alg=algorithm, seed=seed), [])
        search.set_search_properties("validation_accuracy", "max", search_space())
        found.append([search.searcher.suggest(str(number)) for number in range(3)])
    print(json.dumps([algorithm, *found], default=int))
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


def look(project: Project, experiment: Experiment) -> dict[str, Any]:  # noqa: F811
    run = project.start_program("-c", LOOK, experiment.folder)
    assert run.wait() == 0, run.said
    found: dict[str, Any] = json.loads(run.said.splitlines()[-1])
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
    project: Project,  # noqa: F811
    *flags: object,
    when: Callable[[Experiment], Any],
) -> tuple[Experiment, str]:
    """Start a sweep, end it by SIGINT at a moment. Returns what it left and what it said."""
    run = project.start("run", *flags, FAULT_SLEEP="0.6")
    experiment = project.experiment(str(flags[flags.index("--name") + 1]))
    run.until(lambda: experiment.folder.exists() and when(experiment))
    run.kill(signal.SIGINT)
    assert run.wait() == 130, run.said
    assert not run.gone(agents=False)
    assert "Traceback" not in run.said, run.said
    assert "warn" not in run.said.lower(), run.said
    return experiment, run.said


def go_on(project: Project, said: str, *flags: object) -> str:  # noqa: F811
    again = project.run(*resume_command(project, said), *flags, FAULT_SLEEP="0")
    assert "Traceback" not in again, again
    assert "warn" not in again.lower(), again
    return again


def config(trial: Any) -> dict[str, Any]:
    return {key: trial.result["config"][key] for key in POINTS[0]}


def table(project: Project, name: str) -> list[dict[str, str]]:  # noqa: F811
    """What `trials` shows of each trial's hyperparameters, the best first."""
    shown = project.run("trials", name).splitlines()[1:]
    head, *lines = (re.split(r"\s{2,}", line) for line in shown)
    assert set(RICH_NAMES) <= set(head)
    return [{k: v for k, v in zip(head, line, strict=True) if k in RICH_NAMES} for line in lines]


def test_a_search_space_of_any_kind(project: Project) -> None:  # noqa: F811
    """Sampled, resumed and extended, shown, exported, and what another experiment begins with."""
    with (project.copy_source() / "search_space.py").open("a") as file:
        file.write(RICH)
    short = ("--num-samples", 2, "--max-iterations", 1)
    said = project.run("run", "--name", "first", *short)
    assert "Traceback" not in said
    for name in RICH_NAMES:
        assert f"  {name} = " in said
    first = table(project, "first")
    project.run("extend", "first", "--num-samples", 3)
    extended = table(project, "first")
    assert len(extended) == 3
    assert all(row in extended for row in first)  # also what `sample_from` drew by chance
    project.run("run", "--name", "second", *short, "--points-to-evaluate", "first:2")
    assert sorted(map(str, table(project, "second"))) == sorted(map(str, extended[:2]))
    assert "Exported model" in project.run("export", "second")
    shown = project.run("show", "second")
    assert "nested/rate Float(0, 1) Uniform q=0.1" in shown
    assert "fixed fixed 10" in shown
    assert " at 0x" not in shown


def test_optuna_with_asha_from_a_file(project: Project) -> None:  # noqa: F811
    (project.folder / "points.json").write_text(json.dumps(POINTS))
    flags = ("--search-alg", "optuna", "--scheduler", "asha", "--max-concurrent-trials", 2)
    experiment, said = interrupt(
        project,
        *("--name", "x", *flags, "--num-samples", 10, "--max-iterations", 8),
        *("--points-to-evaluate", "points.json"),
        when=ended,
    )
    assert experiment.record["points"] == POINTS
    done, before = ended(experiment), look(project, experiment)
    assert done
    assert set(done) <= set(before["rungs"]["1"])
    (project.folder / "points.json").unlink()

    changed = project.run("run", "--resume", "--name", "x", "--search-alg", "random", code=2)
    assert "SEARCH_ALG: was 'optuna', is 'random'" in changed

    said = go_on(project, said, "--verbose", 2, "--loggers", "csv")  # other callbacks
    assert len(ended(experiment)) == len(trials(experiment)) == 10
    after = look(project, experiment)
    assert set(after["rungs"]["1"]) == set(ended(experiment))
    assert len(after["told"]) == 10
    told = [value for value in before["told"] if value is not None]
    assert len(told) >= len(done)
    assert set(told) <= set(after["told"])
    assert None not in after["told"]

    said = project.run("extend", "x", "--num-samples", 12, FAULT_SLEEP="0")
    assert "Best of 12 trials" in said
    longer = look(project, experiment)
    assert longer["told"][:10] == after["told"]
    assert len(longer["told"]) == 12
    configs = [config(trial) for trial in trials(experiment)]
    assert all(configs.count(point) == 1 for point in POINTS)


def test_hyperopt_with_median_from_an_experiment(project: Project) -> None:  # noqa: F811
    project.run("run", "--name", "earlier", "--num-samples", 3, "--max-iterations", 1)
    experiment, said = interrupt(
        project,
        *("--name", "x", "--search-alg", "hyperopt", "--scheduler", "median"),
        *("--num-samples", 6, "--max-iterations", 6, "--points-to-evaluate", "earlier:2"),
        when=ended,
    )
    earlier = trials(project.experiment("earlier"))
    earlier.sort(key=lambda trial: trial.result["validation_accuracy"], reverse=True)
    assert experiment.record["points"] == [config(trial) for trial in earlier[:2]]
    done, before = ended(experiment), look(project, experiment)
    go_on(project, said)
    after = look(project, experiment)
    assert len(ended(experiment)) == len(trials(experiment)) == len(after["told"]) == 6
    assert {value for value in before["told"] if value is not None} <= set(after["told"])
    assert None not in after["told"]
    for trial in done:
        assert after["results"][trial] == before["results"][trial]
    iterations = [trial.iteration for trial in trials(experiment)]
    assert min(iterations) < 6 == max(iterations), iterations
    configs = [config(trial) for trial in trials(experiment)]
    assert all(configs.count(point) == 1 for point in experiment.record["points"])


def test_nevergrad(project: Project) -> None:  # noqa: F811
    (project.folder / "points.json").write_text(json.dumps(POINTS[:1]))
    experiment, said = interrupt(
        project,
        *("--name", "x", "--search-alg", "nevergrad", "--num-samples", 5, "--max-iterations", 3),
        *("--points-to-evaluate", "points.json"),
        when=ended,
    )
    done, before = ended(experiment), look(project, experiment)
    first = {trial.id: config(trial) for trial in trials(experiment) if trial.id in done}
    assert len(done) <= before["told"] < 5
    go_on(project, said)
    assert len(ended(experiment)) == look(project, experiment)["told"] == 5
    configs = {trial.id: config(trial) for trial in trials(experiment)}
    assert first.items() <= configs.items()
    assert any(point == pytest.approx(POINTS[0]) for point in configs.values())


def test_population_based_training(project: Project) -> None:  # noqa: F811
    experiment, said = interrupt(
        project,
        *("--name", "x", "--scheduler", "pbt", "--num-samples", 4, "--max-iterations", 8),
        when=lambda experiment: (experiment.folder / "pbt_global.txt").exists(),
    )
    before = look(project, experiment)
    history = (experiment.folder / "pbt_global.txt").read_text()
    assert before["perturbations"]
    assert any(score is not None for score in before["scores"].values())
    go_on(project, said)
    after = look(project, experiment)
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


def test_hyperband(project: Project) -> None:  # noqa: F811
    experiment, said = interrupt(
        project,
        *("--name", "x", "--scheduler", "hyperband", "--num-samples", 7, "--max-iterations", 9),
        when=lambda experiment: any(trial.status == "PAUSED" for trial in trials(experiment)),
    )
    before = look(project, experiment)
    waiting = {t.id: t.iteration for t in trials(experiment) if t.status == "PAUSED"}
    assert waiting
    go_on(project, said)
    after = look(project, experiment)
    assert len(ended(experiment)) == 7
    assert [bracket["all"] for bracket in after["brackets"]] == [
        bracket["all"] for bracket in before["brackets"]
    ]
    assert not any(bracket["live"] for bracket in after["brackets"])
    (finding,) = project.run("extend", "x", "--num-samples", 8, code=2).splitlines()
    assert "--points-to-evaluate x:5 begins anew with the best five trials" in finding


REFUSED: list[tuple[list[object], str, list[str]]] = [
    (["--search-alg", "hyperopt"], "without hyperopt", ["uv sync --extra hyperopt"]),
    (["--search-alg", "optuna"], "a grid", ["'optuna': it takes no grid, and deep/er is one"]),
    (["--search-alg", "optuna"], "a choice of spaces", ["no search space in a choice, as a has"]),
    ([], "a lock", ["search_space.py: 'deep/er' holds a _thread.lock, which has no stable"]),
    (["--search-alg", "hyperopt"], "normal", []),
    (["--search-alg", "nevergrad"], "normal", ["it needs bounds, and normal has none"]),
    (["--search-alg", "tpe"], "", ["should be 'random', 'optuna', 'hyperopt' or 'nevergrad'"]),
    (["--scheduler", "asha", "--grace-iterations", 11], "", ["more than", "MAX_ITERATIONS=10"]),
    (["--scheduler", "hyperband", "--max-concurrent-trials", 2], "", ["should be 0"]),
    (["--scheduler", "hyperband", "--checkpoint-frequency", 0], "", ["needs checkpoints"]),
    (["--scheduler", "pbt", "--search-alg", "optuna"], "", ["it searches by itself"]),
    (["--scheduler", "pbt", "--num-samples", 1], "", ["NUM_SAMPLES=1 is one alone"]),
    (["--scheduler", "pbt", "--max-concurrent-trials", 1], "", ["side by side"]),
    (["--scheduler", "pbt"], "not sampled", ["'learning_rates', which is not sampled"]),
    (["--points-to-evaluate", "none.json"], "", ["none.json", "No such file"]),
    (["--points-to-evaluate", "text.json"], "", ["is no JSON"]),
    (["--points-to-evaluate", "one.json"], "", ["should hold a list of configurations"]),
    (
        ["--points-to-evaluate", "rate.json"],
        "",
        ["point 1: no hyperparameter 'learning_rat'; did you mean learning_rate?"],
    ),
    (["--points-to-evaluate", "far.json"], "", ["point 1: learning_rate=2 is not in Float"]),
    (["--points-to-evaluate", "few.json"], "", []),
    (
        ["--points-to-evaluate", "few.json", "--search-alg", "optuna"],
        "",
        ["learning_rate is missing; SEARCH_ALG=random would sample it"],
    ),
    (["--points-to-evaluate", "two.json", "--num-samples", 1], "", ["2 points, and only 1 trials"]),
    (["--points-to-evaluate", "earlier:3"], "", ["'earlier:3'", "no such experiment"]),
    (["--points-to-evaluate", "earlier:0"], "", ["NAME:5 for its best five"]),
]


def test_what_is_refused_before_anything_starts(project: Project) -> None:  # noqa: F811
    for name, content in {
        "text": "learning_rate: 1",
        "one": '{"learning_rate": 0.1}',
        "rate": '[{"learning_rat": 0.1}]',
        "far": '[{"learning_rate": 2}]',
        "few": '[{"hidden_units": 16.0}]',
        "two": json.dumps(POINTS),
    }.items():
        (project.folder / f"{name}.json").write_text(content)
    asked = [([str(flag) for flag in flags], what) for flags, what, _ in REFUSED]
    run = project.start_program("-c", CHECKS, json.dumps(asked))
    assert run.wait() == 0, run.said
    answers = [json.loads(line) for line in run.said.splitlines() if line.startswith("[")]
    for (flags, _, words), (code, lines) in zip(REFUSED, answers, strict=True):
        assert code == (2 if words else 0), (flags, lines)
        assert len(lines) == bool(words), (flags, lines)
        assert all(word in lines[0] for word in words), (flags, lines)
    assert not (project.folder / "results").exists()


def test_a_seed_proposes_the_same_again(project: Project) -> None:  # noqa: F811
    run = project.start_program("-c", PROPOSED)
    assert run.wait() == 0, run.said
    answers = [json.loads(line) for line in run.said.splitlines() if line.startswith("[")]
    assert [answer[0] for answer in answers] == ["optuna", "hyperopt", "nevergrad"]
    for _, first, again, other in answers:
        assert first == again != other
