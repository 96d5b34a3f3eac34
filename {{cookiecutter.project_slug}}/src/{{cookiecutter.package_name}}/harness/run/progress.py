"""The progress of a run: how much is done, the best result, the time left, and each trial's end."""

import contextlib
import math
import sys
import time
from collections.abc import Collection, Sequence
from typing import Any, Self

from ray.tune import Callback, ProgressReporter
from ray.tune.experiment import Trial
from rich.live import Live
from rich.measure import Measurement
from rich.progress_bar import ProgressBar
from rich.segment import Segments
from rich.table import Table
from rich.text import Text

from ..settings import RunSettings
from ..store.ranking import Ranking
from ..tune.space import chosen
from ..tune.stopping import seconds_left
from .pace import Pace
from .terminal import Terminal, columns, log_to
from .words import clock, counted, short, span

LOOKS_PER_SECOND = 4.0
SECONDS_BETWEEN_LINES = 30.0
LONGEST_SECONDS_BETWEEN_LINES = 300.0
BAR = 20  # characters


class ProgressLines(ProgressReporter):
    """In a log, lines; in a terminal, during `with`, also a progress line at the bottom.

    Ray calls `should_report` after each event. It returns true four times a second, or less often:
    looking at all trials should take no more than a hundredth of the time.
    """

    def __init__(self, settings: RunSettings, names: Collection[str]) -> None:
        """names: the hyperparameters"""
        self._settings, self._ranking, self._names = settings, Ranking.of(settings), names
        self._start = time.monotonic()
        most = min(settings.max_iterations, settings.stop.get("training_iteration", math.inf))
        self._pace = Pace(int(most))
        self._total = 0  # Ray counts them
        self._ended: set[str] = set()
        self._running = self._failed = 0
        self._best = self._best_now = math.nan  # of the trials that have ended, and of all
        self._next_look = 0.0
        self._next_line = self._start + SECONDS_BETWEEN_LINES
        self._console = Terminal(highlight=False)
        self._live: Live | None = None
        self._lines: list[tuple[str, str]] = []  # to be printed: the time passed, and the text
        self._drawn, self._drawn_at = Segments([]), (0, 0)
        self._asked = self._looked = False

    def __enter__(self) -> Self:
        # Not with VERBOSE=3: the workers' output would mix with the progress line.
        terminal = sys.stdout.isatty() and self._console.is_interactive
        if terminal and self._settings.verbose in (1, 2):
            self._live = Live(
                get_renderable=self._progress_line,
                console=self._console,
                refresh_per_second=LOOKS_PER_SECOND / 2,
                transient=True,
                redirect_stderr=sys.stderr.isatty(),
            )
            self._live.start(refresh=True)
            log_to(sys.stderr)
        elif self._settings.verbose:
            print("Starting Ray …", flush=True)
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self.flush()
        if self._live is not None:
            live, self._live = self._live, None
            with contextlib.suppress(OSError):  # the terminal is gone
                live.stop()
            log_to(sys.stderr)

    def setup(
        self,
        start_time: float | None = None,
        total_samples: int | None = None,
        metric: str | None = None,
        mode: str | None = None,
        **_: Any,
    ) -> None:
        self._total, self._asked = total_samples or 0, True

    def should_report(self, trials: list[Trial], done: bool = False) -> bool:
        return done or time.monotonic() >= self._next_look

    def report(self, trials: list[Trial], done: bool, *sys_info: str) -> None:
        start, worked = time.monotonic(), time.thread_time()
        with contextlib.suppress(OSError):  # a closed terminal or pipe must not end the run
            self._look(trials, start)
            if start >= self._next_line and self._live is None and not done:
                interval = min((start - self._start) / 20, LONGEST_SECONDS_BETWEEN_LINES)
                self._next_line = start + max(interval, SECONDS_BETWEEN_LINES)
                self.tell(", ".join(self._facts()))
            self.flush()
        worked = time.thread_time() - worked
        self._next_look = start + max(1 / LOOKS_PER_SECOND, 100 * worked)

    def tell(self, line: str) -> None:
        """Add a line, with the time passed, to be printed by the next `flush`."""
        self._lines.append((clock(time.monotonic() - self._start), line))

    def flush(self) -> None:
        """Print the added lines; in a terminal, above the progress line."""
        lines, self._lines = self._lines, []
        if lines and self._live is None:
            print("\n".join(f"{passed:>7}  {line}" for passed, line in lines), flush=True)
        elif lines:
            rows = [(passed, Text(line, overflow="fold")) for passed, line in lines]
            self._console.print(columns(*rows))

    def callbacks(self) -> list[Callback]:
        """With VERBOSE=2, what prints each result; Ray's own reporter leaves most of them out."""
        return [ResultLines(self, self._settings.METRICS)] if self._settings.verbose == 2 else []

    def _look(self, trials: list[Trial], now: float) -> None:
        remaining = [trial for trial in trials if trial.trial_id not in self._ended]
        ended = [trial for trial in remaining if trial.is_finished()]
        self._total = max(self._total, len(trials))
        self._ended |= {trial.trial_id for trial in ended}
        self._failed += sum(trial.status == Trial.ERROR for trial in ended)
        self._running = sum(trial.status == Trial.RUNNING for trial in remaining)
        self._best = self._best_of(self._best, ended)
        self._best_now = self._best_of(self._best, remaining)
        self._pace.look(remaining, self._running, now)
        # Trials that ended before a resume were reported then; here they only count.
        for number, trial in enumerate(ended if self._looked else [], 1):
            # FailureCallback in callbacks.py prints failures; some trials end without a start.
            if trial.status != Trial.ERROR and trial.last_result.get("training_iteration"):
                count = len(self._ended) - len(ended) + number
                self.tell(f"{count}/{self._total} {self._outcome(trial)}")
        self._looked = True

    def _best_of(self, best: float, trials: list[Trial]) -> float:
        """The best of `best` and the trials' scores; NaN if none is finite."""
        scores = filter(math.isfinite, [best, *map(self._ranking.score, trials)])
        return max(scores, key=lambda score: self._ranking.sign * score, default=math.nan)

    def _outcome(self, trial: Trial) -> str:
        result, metric = trial.last_result, self._settings.metric
        values = " ".join(f"{k}={short(v)}" for k, v in chosen(trial.config, self._names).items())
        iterations = counted(result.get("training_iteration", 0), "iteration")
        return (
            f"trial {trial.trial_id}  {metric} {result.get(metric, math.nan):.4f}"
            f" after {iterations}  {values}"
        )

    def _facts(self, brief: bool = False) -> list[str]:
        ended, metric = f"{len(self._ended)}/{self._total}", "" if brief else self._settings.metric
        running = f"{self._running} running" if self._pace.has_begun else "workers are starting"
        facts = [ended if brief else f"{ended} trials ended", running]
        if self._failed or not brief:
            facts.append(f"{self._failed} failed")
        if math.isfinite(self._best_now):
            facts.append(" ".join(["best", *metric.split(), f"{self._best_now:.4f}"]))
        if time_left := self._time_left(brief):
            facts.append(time_left)
        return facts

    def _time_left(self, brief: bool) -> str | None:
        """The time left, as text; None as long as it is unknown."""
        rest = self._pace.left(self._total - len(self._ended) - self._pace.begun)
        budget = seconds_left()
        if rest is None and budget is None:
            return None
        bounded = budget is not None and (rest is None or budget < rest)
        words = span(budget if bounded and budget is not None else rest or 0.0)
        if brief:
            return f"{'<' if bounded else '~'}{words}"
        settings = self._settings
        may_end_early = (
            settings.scheduler != "fifo"
            or settings.stop.keys() - {"training_iteration"}
            or settings.metric_goal is not None
            or settings.plateau_results
            or settings.plateau_trials
        )
        how = "at most" if bounded else "at most about" if may_end_early else "about"
        return f"{how} {words} left"

    def _progress_line(self) -> Segments:
        """The progress line. It is not drawn again for each line that is printed above it."""
        moment = (self._console.width, int(time.monotonic() * LOOKS_PER_SECOND))
        if moment != self._drawn_at:
            self._drawn_at = moment
            self._drawn = Segments(list(self._console.render(self._draw(self._console.width - 1))))
        return self._drawn

    def _draw(self, width: int) -> Table | Text:
        """The progress as one line of any width."""
        passed = clock(time.monotonic() - self._start)
        if not self._asked:
            return Text(f"{passed:>7}  Starting Ray …"[:width], no_wrap=True)
        brief = self._facts(brief=True)
        bar = ProgressBar(1.0, self._pace.share(self._total, len(self._ended)), width=BAR)
        for facts in (self._facts(), brief):
            line = columns((passed, bar, Text(", ".join(facts), no_wrap=True)))
            if Measurement.get(self._console, self._console.options, line).maximum <= width:
                return line
        facts = brief if len(", ".join(brief)) <= width else [brief[0], *brief[2:]]
        return Text(", ".join(facts)[:width], no_wrap=True)


class ResultLines(Callback):
    """One line for each result of each trial: VERBOSE=2."""

    def __init__(self, lines: ProgressLines, metrics: Sequence[str]) -> None:
        self.lines, self.metrics = lines, metrics

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **_: Any
    ) -> None:
        values = "  ".join(f"{name} {result[name]:.4f}" for name in self.metrics)
        number = result["training_iteration"]
        self.lines.tell(f"trial {trial.trial_id}  iteration {number}  {values}")

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        with contextlib.suppress(OSError):
            self.lines.flush()  # before others print why it failed
