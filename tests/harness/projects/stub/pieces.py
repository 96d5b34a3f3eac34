"""The parts of the stub project that import Ray."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.tune import (
    Plan,
    RestorableStopper,
    StoredTrainable,
    TimeBudgetStopper,
    make_loggers,
    placement,
    trial_folder,
)
from ray import tune
from ray.tune.stopper import (
    ExperimentPlateauStopper,
    FunctionStopper,
    MaximumIterationStopper,
    Stopper,
    TrialPlateauStopper,
)

from . import Data, Settings, load_data

MUTABLE = ("rate",)


def search_space() -> dict[str, Any]:
    return {"rate": tune.uniform(0.1, 1.0), "size": tune.choice([1, 2, 4])}


class StubTrainable(StoredTrainable):
    """A trial whose score grows by `rate` at each step."""

    def setup(self, config: dict[str, Any], data: Data | None = None) -> None:
        self.data = load_data(Settings()) if data is None else data
        self.rate, self.score = config["rate"], 0.0

    def step(self) -> dict[str, float]:
        self.score += self.rate
        return {"score": self.score, "loss": 1 / self.score}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        Path(checkpoint_dir, "score.json").write_text(json.dumps(self.score))

    def load_checkpoint(self, checkpoint: Any) -> None:
        self.score = json.loads(Path(checkpoint, "score.json").read_text())

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.rate, self.score = new_config["rate"], 0.0
        return True

    def _export_model(self, export_formats: list[str], export_dir: str) -> dict[str, str]:
        path = Path(export_dir, "model.json")
        path.write_text(json.dumps({"rate": self.rate, "score": self.score}))
        return {name: str(path) for name in export_formats}


def load_export(path: Path) -> Any:
    return json.loads(path.read_text())


class GoalStopper(Stopper):
    """Stops everything once a score is as good as METRIC_GOAL."""

    def __init__(self, goal: float) -> None:
        self.goal, self.best = goal, -math.inf

    def __call__(self, trial_id: str, result: Mapping[str, Any]) -> bool:
        self.best = max(self.best, result["score"])
        return self.stop_all()

    def stop_all(self) -> bool:
        return self.best >= self.goal


def make_stopper(settings: Settings) -> RestorableStopper:
    def reached(trial_id: str, result: Mapping[str, Any]) -> bool:
        rules = settings.stop.items()
        return math.isnan(result["score"]) or any(result[key] >= value for key, value in rules)

    stoppers, std = list[Stopper]([FunctionStopper(reached)]), settings.plateau_std
    if settings.metric_goal is not None:
        stoppers.append(GoalStopper(settings.metric_goal))
    if count := settings.plateau_trials:
        stoppers.append(ExperimentPlateauStopper("score", std, top=count, mode="max"))
    if count := settings.plateau_results:
        stoppers.append(TrialPlateauStopper("score", std, num_results=count, grace_period=count))
    if settings.time_budget_s is not None:
        stoppers.append(TimeBudgetStopper(settings.time_budget_s))
    stoppers.append(MaximumIterationStopper(settings.max_iterations))
    return RestorableStopper(*stoppers, reopen=settings.resume == "extend")


def make_callbacks(settings: Settings) -> list[tune.Callback]:
    return [*make_loggers(settings)]


def tune_run(settings: Settings, plan: Plan) -> Any:
    return tune.run(
        tune.with_parameters(StubTrainable, data=plan.data),
        name=settings.name,
        storage_path=plan.storage.root,
        storage_filesystem=plan.storage.filesystem,
        resume_config=plan.resume_config,
        config={"seed": settings.seed, **search_space()},
        metric=settings.metric,
        mode=settings.mode,
        num_samples=settings.num_samples,
        search_alg=plan.search_alg,
        scheduler=plan.scheduler,
        stop=make_stopper(settings),
        resources_per_trial=placement(settings.resources_per_trial),
        reuse_actors=settings.reuse_actors,
        max_failures=settings.max_failures,
        raise_on_failed_trial=False,
        checkpoint_config=tune.CheckpointConfig(
            num_to_keep=settings.num_to_keep,
            checkpoint_score_attribute=settings.metric,
            checkpoint_score_order=settings.mode,
            checkpoint_frequency=settings.checkpoint_frequency,
            checkpoint_at_end=settings.checkpoint_at_end,
        ),
        sync_config=tune.SyncConfig(sync_artifacts=True),
        export_formats=settings.export_formats,
        callbacks=plan.callbacks(make_callbacks(settings)),
        progress_reporter=plan.progress_reporter,
        verbose=settings.verbose,
        trial_dirname_creator=trial_folder,
    )
