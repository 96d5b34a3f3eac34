"""What a run prints while it works: one line when a trial ends, and one now and then."""

import time
from typing import Any

from ray.tune import ProgressReporter
from ray.tune.experiment import Trial

SECONDS_BETWEEN_LINES = 30.0


class ProgressLines(ProgressReporter):
    """Lines that stay readable in a terminal, in a CI log and in a file."""

    def __init__(self) -> None:
        self._ended: set[str] = set()
        self._last_line = self._start = time.monotonic()

    def setup(
        self,
        start_time: float | None = None,
        total_samples: int | None = None,
        metric: str | None = None,
        mode: str | None = None,
        **_: Any,
    ) -> None:
        self._total, self._metric, self._mode = total_samples, metric or "", mode

    def should_report(self, trials: list[Trial], done: bool = False) -> bool:
        ended = sum(trial.is_finished() for trial in trials)
        waited = time.monotonic() - self._last_line > SECONDS_BETWEEN_LINES
        return done or waited or ended > len(self._ended)

    def report(self, trials: list[Trial], done: bool, *sys_info: str) -> None:
        self._last_line = time.monotonic()
        new = [t for t in trials if t.is_finished() and t.trial_id not in self._ended]
        for trial in new:
            self._ended.add(trial.trial_id)
            print(f"{self._position(trials)} {self._outcome(trial)}", flush=True)
        if not new and not done:
            running = sum(trial.status == Trial.RUNNING for trial in trials)
            print(f"{self._position(trials)} {running} trials running", flush=True)

    def _position(self, trials: list[Trial]) -> str:
        total = max(self._total or 0, len(trials))
        return f"{time.monotonic() - self._start:6.0f} s  {len(self._ended)}/{total}"

    def _outcome(self, trial: Trial) -> str:
        if trial.status == Trial.ERROR:
            return f"trial {trial.trial_id} failed"
        result = trial.last_result or {}
        tuned = " ".join(f"{key}={value:.4g}" if isinstance(value, float) else f"{key}={value}"
                         for key, value in trial.evaluated_params.items())  # fmt: skip
        return (
            f"trial {trial.trial_id}  {self._metric} {result.get(self._metric, float('nan')):.4f}"
            f" after {result.get('training_iteration', 0)} iterations  {tuned}"
        )
