"""Which trial is the best: one rule for Ray's trials and for saved ones."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, Self, TypeVar

from ..settings import RunSettings


class Ranked(Protocol):
    """A trial. metric_analysis: the min, max, avg, last, … of each metric."""

    @property
    def metric_analysis(self) -> Mapping[str, Mapping[str, float]]: ...


T = TypeVar("T", bound=Ranked)


@dataclass(frozen=True)
class Ranking:
    """METRIC, MODE and SCOPE: what is compared, which way, and which results of a trial count."""

    metric: str
    mode: str
    scope: str = "all"

    @classmethod
    def of(cls, settings: RunSettings) -> Self:
        return cls(settings.metric, settings.mode, settings.scope)

    @property
    def sign(self) -> int:
        """1 if more is better, -1 if less is."""
        return 1 if self.mode == "max" else -1

    def score(self, trial: Ranked) -> float:
        """METRIC of a trial, by SCOPE; NaN when it has reported none."""
        known = trial.metric_analysis.get(self.metric, {})
        value = known.get(self.mode if self.scope == "all" else self.scope)
        return math.nan if value is None else float(value)

    def sorted(self, trials: Iterable[T]) -> list[T]:
        """The trials, best first, those without a finite METRIC last; ties keep their order."""

        def key(trial: T) -> float:
            score = self.score(trial)
            return -self.sign * score if math.isfinite(score) else math.inf

        return sorted(trials, key=key)

    def best(self, trials: Iterable[T]) -> list[T]:
        """The trials with a finite METRIC, best first."""
        return [trial for trial in self.sorted(trials) if math.isfinite(self.score(trial))]

    def of_result(self, result: Mapping[str, Any]) -> float:
        """METRIC of one result; NaN when it is not a number."""
        value = result.get(self.metric)
        return float(value) if isinstance(value, int | float) else math.nan

    def __str__(self) -> str:
        how = self.mode if self.scope == "all" else f"{self.mode}, {self.scope}"
        return f"{how} of {self.metric}"
