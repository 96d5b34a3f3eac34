"""Limits that end a whole experiment, and what `extend` makes of the trials that they ended."""

import pytest

from tests.faults.project import Project

pytestmark = [pytest.mark.shared_ray, pytest.mark.timeout(900)]

# With the default seed the third configuration alone is so good, at its first result.
GOAL = ("--metric-goal", 0.9, "--max-concurrent-trials", 2, "--max-iterations", 3)


def test_a_goal_ends_all_and_extend_runs_what_never_ran(project: Project) -> None:
    said = project.run("run", "--name", "x", "--num-samples", 4, *GOAL, FAULT_EXPORT_SLEEP="1")
    experiment = project.experiment("x")
    assert "Stopped by EXPERIMENT_METRIC_GOAL=0.9; " in said
    assert experiment.record["runs"][-1]["stopped_by"] == ["EXPERIMENT_METRIC_GOAL=0.9"]
    winner = experiment.trial_folder(2)
    assert (winner / "model.skops").is_file()
    assert sorted(experiment.checkpoints(2)) == [1]
    assert "nan" not in said
    (_, table), (code, refused) = project.run_each(
        ("trials", "x"), ("extend", "x", "--num-samples", 5)
    )
    assert "not finite" not in table
    (finding,) = refused.splitlines()
    assert code == 2
    assert "EXPERIMENT_METRIC_GOAL=0.9 would end the experiment again at once" in finding

    every = {number: experiment.results(number) for number in (0, 1)}
    done = {number: rows for number, rows in every.items() if len(rows) == 3}
    assert done, "the third trial begins when one of the first two has ended"
    project.run("extend", "x", "--num-samples", 5, "--metric-goal", 0.9999)
    ended = [(trial.status, trial.iteration) for trial in experiment.trials()]
    assert ended == [("TERMINATED", 3)] * 5
    assert {number: experiment.results(number) for number in done} == done
    for number in range(5):
        rows = [row["training_iteration"] for row in experiment.results(number)]
        assert rows == [1, 2, 3]

    (finding,) = project.run("extend", "x", "--max-iterations", 2, code=2).splitlines()
    assert "every trial has reached these limits" in finding
