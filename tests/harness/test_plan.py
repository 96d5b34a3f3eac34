"""What the harness makes ready for `tune_run`, and what a project may change of it."""

from pathlib import Path

from harness.tune import ModelSearch, Plan
from harness.tune.scheduler_state import SchedulerState
from ray.tune.schedulers import MedianStoppingRule
from ray.tune.search.optuna import OptunaSearch
from stub import PROJECT, Settings


def test_a_resume_knows_the_search_and_the_scheduler_that_a_project_sets(tmp_path: Path) -> None:
    settings = Settings(name="a", storage_path=str(tmp_path))
    plan = Plan.make(PROJECT, settings)
    plan.search_alg = ModelSearch(OptunaSearch(), settings)
    plan.scheduler = MedianStoppingRule()
    (callbacks,) = plan.callbacks([])
    (state,) = [it for it in callbacks._callbacks if isinstance(it, SchedulerState)]
    assert (state.search, state.scheduler) == (plan.search_alg, plan.scheduler)
