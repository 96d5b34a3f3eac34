"""What a run shows while it runs: how far it is, how good, how long still, and each trial's end."""

import contextlib
import logging
import math
import sys
import time
from types import TracebackType
from typing import Any, Self

from ray.tune import Callback, ProgressReporter
from ray.tune.experiment import Trial
from rich.console import Console, RenderableType
from rich.live import Live
from rich.measure import Measurement
from rich.progress_bar import ProgressBar
from rich.segment import Segments
from rich.table import Table
from rich.text import Text

from ...search_space import search_space
from ...settings import METRICS, Settings
from ..tune.space import chosen, variables
from ..tune.stopping import seconds_left
from .outcome import counted, score

LOOKS_PER_SECOND = 4.0
SECONDS_BETWEEN_LINES = 30.0
LONGEST_SECONDS_BETWEEN_LINES = 300.0
BAR = 20  # characters


class ProgressLines(ProgressReporter):
    """In a log, lines; in a terminal, where `with` holds it, a last line that is always current.

    Ray asks `should_report` after each event. It says yes four times a second, less often where
    looking at all trials takes longer than a hundredth of the time.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._start = time.monotonic()
        self._pace = Pace(int(min(settings.max_iterations,
                                  settings.stop.get("training_iteration", math.inf))))  # fmt: skip
        self._total = 0  # Ray counts them
        self._names = list(variables(search_space()))
        self._ended: set[str] = set()
        self._running = self._failed = 0
        self._best: float | None = None  # of the trials that have ended
        self._best_now: float | None = None
        self._next_look = 0.0
        self._next_line = self._start + SECONDS_BETWEEN_LINES
        self._console = _Terminal(highlight=False)
        self._live: Live | None = None
        self._lines: list[tuple[str, str]] = []  # to be printed: the time passed, and the text
        self._drawn, self._drawn_at = Segments([]), (0, 0)
        self._asked = self._looked = False

    def __enter__(self) -> Self:
        # Not with VERBOSE=3: what workers print would go through the line.
        terminal = sys.stdout.isatty() and self._console.is_interactive
        if terminal and self._settings.verbose in (1, 2):
            self._live = Live(
                get_renderable=self._last_line,
                console=self._console,
                refresh_per_second=LOOKS_PER_SECOND / 2,
                transient=True,
                redirect_stderr=sys.stderr.isatty(),
            )
            self._live.start(refresh=True)
            _log_to(sys.stderr)
        elif self._settings.verbose:
            print("Starting Ray …", flush=True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with contextlib.suppress(OSError):
            self.flush()
        if self._live is not None:
            live, self._live = self._live, None
            with contextlib.suppress(OSError):  # the terminal is gone
                live.stop()
            _log_to(sys.stderr)

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
        with contextlib.suppress(OSError):  # who read along is gone, which must not end the run
            self._look(trials, start)
            if start >= self._next_line and self._live is None and not done:
                interval = min((start - self._start) / 20, LONGEST_SECONDS_BETWEEN_LINES)
                self._next_line = start + max(interval, SECONDS_BETWEEN_LINES)
                self.tell(", ".join(self._facts()))
            self.flush()
        worked = time.thread_time() - worked
        self._next_look = start + max(1 / LOOKS_PER_SECOND, 100 * worked)

    def tell(self, line: str) -> None:
        """Take a line and the time that it is now, to be printed at the next look."""
        self._lines.append((clock(time.monotonic() - self._start), line))

    def flush(self) -> None:
        """Print the lines; above the last one in a terminal."""
        lines, self._lines = self._lines, []
        if lines and self._live is None:
            print("\n".join(f"{passed:>7}  {line}" for passed, line in lines), flush=True)
        elif lines:
            rows = [(passed, Text(line, overflow="fold")) for passed, line in lines]
            self._console.print(_columns(*rows))

    def callbacks(self) -> list[Callback]:
        """What prints each result; Ray's own, which VERBOSE=3 shows, leaves most of them out."""
        return [ResultLines(self)] if self._settings.verbose == 2 else []

    def _look(self, trials: list[Trial], now: float) -> None:
        unfinished = [trial for trial in trials if trial.trial_id not in self._ended]
        ended = [trial for trial in unfinished if trial.is_finished()]
        self._total = max(self._total, len(trials))
        for trial in ended:
            self._ended.add(trial.trial_id)
            self._failed += trial.status == Trial.ERROR
            self._best = self._better(self._best, score(trial, self._settings))
        unfinished = [trial for trial in unfinished if not trial.is_finished()]
        running = [trial for trial in unfinished if trial.status == Trial.RUNNING]
        self._running, self._best_now = len(running), self._best
        for trial in unfinished:
            self._best_now = self._better(self._best_now, score(trial, self._settings))
        self._pace.look([*ended, *unfinished], len(running), now)
        # What had ended before a resume is counted, and was told of then.
        for number, trial in enumerate(ended if self._looked else [], 1):
            # FailureCallback in callbacks.py says that one failed; stop_all ends some unstarted.
            if trial.status != Trial.ERROR and trial.last_result.get("training_iteration"):
                count = len(self._ended) - len(ended) + number
                self.tell(f"{count}/{self._total} {self._outcome(trial)}")
        self._looked = True

    def _better(self, best: float | None, value: float) -> float | None:
        if best is None or not math.isfinite(value):
            return value if math.isfinite(value) else best
        return max(best, value) if self._settings.mode == "max" else min(best, value)

    def _outcome(self, trial: Trial) -> str:
        result, metric = trial.last_result or {}, self._settings.metric
        values = " ".join(f"{key}={value:.4g}" if isinstance(value, float) else f"{key}={value}"
                         for key, value in chosen(trial.config, self._names).items())  # fmt: skip
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
        if self._best_now is not None:
            facts.append(" ".join(["best", *metric.split(), f"{self._best_now:.4f}"]))
        if time_left := self._time_left(brief):
            facts.append(time_left)
        return facts

    def _time_left(self, brief: bool) -> str | None:
        """Words for the time left; None while nobody can know it."""
        rest = self._pace.left(self._total - len(self._ended) - self._pace.begun)
        budget = seconds_left()
        if rest is None and budget is None:
            return None
        bounded = budget is not None and (rest is None or budget < rest)
        span = _span(budget if bounded and budget is not None else rest or 0.0)
        if brief:
            return f"{'<' if bounded else '~'}{span}"
        settings = self._settings
        may_end_early = (
            settings.scheduler != "fifo"
            or settings.stop.keys() - {"training_iteration"}
            or settings.metric_goal is not None
            or settings.plateau_results
            or settings.plateau_trials
        )
        how = "at most" if bounded else "at most about" if may_end_early else "about"
        return f"{how} {span} left"

    def _last_line(self) -> Segments:
        """What the terminal shows now; not drawn anew for each line that is printed above it."""
        moment = (self._console.width, int(time.monotonic() * LOOKS_PER_SECOND))
        if moment != self._drawn_at:
            self._drawn_at = moment
            self._drawn = Segments(list(self._console.render(self._draw(self._console.width - 1))))
        return self._drawn

    def _draw(self, width: int) -> Table | Text:
        """How far the run is, on one line whatever the width."""
        passed = clock(time.monotonic() - self._start)
        if not self._asked:
            return Text(f"{passed:>7}  Starting Ray …"[:width], no_wrap=True)
        brief = self._facts(brief=True)
        bar = ProgressBar(1.0, self._pace.share(self._total, len(self._ended)), width=BAR)
        for facts in (self._facts(), brief):
            line = _columns((passed, bar, Text(", ".join(facts), no_wrap=True)))
            if Measurement.get(self._console, self._console.options, line).maximum <= width:
                return line
        facts = brief if len(", ".join(brief)) <= width else [brief[0], *brief[2:]]
        return Text(", ".join(facts)[:width], no_wrap=True)


class Pace:
    """How fast iterations are done, and how long the rest takes if that goes on.

    most: iterations a trial may do
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.begun = 0  # unfinished trials that Ray has made
        self._done: dict[str, int] = {}  # iterations of each unfinished trial
        self._new = 0  # iterations done since the first look
        self._seconds = self._running_seconds = 0.0  # since a trial first ran; and summed over them
        self._last_look: float | None = None
        self._running = 0

    def look(self, trials: list[Trial], running: int, now: float) -> None:
        """Take in the trials that were unfinished at the last look, and the new ones."""
        first, counts = self._last_look is None, {}
        for trial in trials:
            iteration: int = (trial.last_result or {}).get("training_iteration", 0)
            before = self._done.get(trial.trial_id, iteration if first else 0)
            self._new += max(0, iteration - before)
            if not trial.is_finished():
                counts[trial.trial_id] = iteration
        if self._last_look is not None and self.has_begun:
            self._seconds += now - self._last_look
            self._running_seconds += self._running * (now - self._last_look)
        self._done, self.begun = counts, len(counts)
        self._last_look, self._running = now, running

    @property
    def has_begun(self) -> bool:
        """Whether a trial has run since the first look."""
        return bool(self._running or self._seconds)

    def left(self, waiting: int) -> float | None:
        """Seconds that the unfinished trials take, and `waiting` ones that Ray has not made yet.

        None before each running trial can have done an iteration.
        """
        if not self.begun + waiting or self._new < max(2, self._running):
            return None
        rest = [max(0, self.most - done) for done in self._done.values()] + [self.most] * waiting
        # By the speed of all together; at the end, when fewer run, by the slowest alone.
        together = sum(rest) * self._seconds / self._new
        return max(together, max(rest) * self._running_seconds / self._new)

    def share(self, total: int, ended: int) -> float:
        """How much of all iterations is done, 0 to 1; a trial that has ended has done its own."""
        done = sum(min(count / self.most, 1) for count in self._done.values())
        return (ended + done) / max(total, 1)


class ResultLines(Callback):
    """One line for each result of each trial: VERBOSE=2."""

    def __init__(self, lines: ProgressLines) -> None:
        self.lines = lines

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **_: Any
    ) -> None:
        values = "  ".join(f"{name} {result[name]:.4f}" for name in METRICS)
        number = result["training_iteration"]
        self.lines.tell(f"trial {trial.trial_id}  iteration {number}  {values}")

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        with contextlib.suppress(OSError):
            self.lines.flush()  # before anyone prints why it failed


class _Terminal(Console):
    """Leaves the cursor as it is: one that is hidden stays so when the process is killed."""

    def show_cursor(self, show: bool = True) -> bool:
        return False


def _log_to(stream: Any) -> None:
    """Let Ray's log lines go where sys.stderr leads now: above the last line, or straight."""
    for handler in logging.getLogger("ray").handlers:
        if isinstance(handler, logging.StreamHandler) and not isinstance(
            handler, logging.FileHandler
        ):
            handler.setStream(stream)


def _columns(*rows: tuple[str, *tuple[RenderableType, ...]]) -> Table:
    """The time passed, and what is beside it; what is too long is folded there."""
    table = Table.grid(padding=(0, 2, 0, 0))
    for passed, *others in rows:
        table.add_row(f"{passed:>7}", *others)
    return table


def clock(seconds: float) -> str:
    """Time passed, as 0:30 or 8:00:00."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _span(seconds: float) -> str:
    """A time that is not known exactly."""
    if seconds < 100:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
