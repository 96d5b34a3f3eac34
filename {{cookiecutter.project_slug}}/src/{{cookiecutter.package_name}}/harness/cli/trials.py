"""`trials`: a table of an experiment's trials, also while it runs."""

import sys
from collections import Counter
from typing import Any

from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from ..configuration import Configuration
from ..store.ranking import Ranking
from ..store.record import Record
from ..store.saved_trials import SavedTrial, without_colours, word
from .tables import NO_END, make_console


def print_trials(configuration: Configuration) -> None:
    """The trials of the experiment NAME, the best first."""
    record = Record.find(configuration.settings)
    settings = record.settings(configuration.settings, configuration.flags)
    trials, state = record.trials(), record.outcome()
    if not trials:
        print(f"{record.name}: {state}; no trial has been saved yet")
        return
    metric, running = settings.metric, state == "running"
    words = {
        trial.id: word(trial.status, trial.last, metric, settings.max_iterations, running)
        for trial in trials
    }
    counts = ", ".join(f"{n} {its}" for its, n in sorted(Counter(words.values()).items()))
    ranking = Ranking.of(settings)
    print(f"{record.name}: {state}; {len(trials)} trials, {counts}; ranked by {ranking}")
    in_terminal, console = sys.stdout.isatty(), make_console()
    errors = {trial.id: _error(record, trial) for trial in trials if trial.error_file}
    view = _View(ranking, words, errors, exact=not in_terminal)
    rows = ranking.sorted(trials)
    table = view.table(rows)
    wanted = Measurement.get(console, console.options.update(width=NO_END), table).maximum
    console.print(table if wanted <= console.width else view.paragraphs(rows))


class _View:
    """Trials as a table.

    words: how each trial ended, or where it is; errors: what failed trials raised, by trial id
    exact: whether numbers have all their digits
    """

    def __init__(
        self, ranking: Ranking, words: dict[str, str], errors: dict[str, str], exact: bool
    ) -> None:
        self.ranking, self.words, self.errors, self.exact = ranking, words, errors, exact
        scope = ranking.scope
        best = {"all": ["best"], "last": []}.get(scope, [scope])
        self.numbers = ["iterations", *best, "last", "seconds"]

    def table(self, trials: list[SavedTrial]) -> Table:
        """A column for each hyperparameter."""
        table = Table(box=None, pad_edge=False)
        names = list(dict.fromkeys(name for trial in trials for name in trial.parameters))
        for name in ("trial", "status", *self.numbers, *names):
            left = name in ("trial", "status")
            table.add_column(name, no_wrap=True, justify="left" if left else "right")
        if self.errors:
            table.add_column("error", no_wrap=True)
        for trial in trials:
            chosen = [self._text(trial.parameters.get(name, "")) for name in names]
            error = [self.errors.get(trial.id, "")] if self.errors else []
            cells = [trial.id, self.words[trial.id], *self._numbers(trial), *chosen, *error]
            table.add_row(*cells)
        return table

    def paragraphs(self, trials: list[SavedTrial]) -> Table:
        """For a terminal too narrow for the columns: a paragraph for each trial."""
        table = Table.grid(padding=(0, 2, 0, 0))
        for trial in trials:
            pairs = zip(self.numbers, self._numbers(trial), strict=True)
            known = [f"{what} {cell}" for what, cell in pairs]
            chosen = [f"{what}={self._text(value)}" for what, value in trial.parameters.items()]
            error = [self.errors[trial.id]] if trial.id in self.errors else []
            lines = [", ".join([self.words[trial.id], *known]), " ".join(chosen), *error]
            table.add_row(trial.id, Text("\n".join(lines), overflow="fold"))
        return table

    def _numbers(self, trial: SavedTrial) -> list[str]:
        last = trial.last.get(self.ranking.metric, "-")
        best = "-" if last == "-" else self.ranking.score(trial)
        score = [] if self.ranking.scope == "last" else [self._text(best, ".4f")]
        seconds = f"{trial.last.get('time_total_s', 0):.1f}"
        return [str(trial.iterations), *score, self._text(last, ".4f"), seconds]

    def _text(self, value: Any, how: str = ".4g") -> str:
        if isinstance(value, float) and not self.exact:
            return format(value, how)
        return str(value)


def _error(record: Record, trial: SavedTrial) -> str:
    """The last line of the traceback of a failed trial."""
    try:
        text = record.folder.read(trial.folder, str(trial.error_file)) or b""
    except OSError as error:
        return f"its traceback can't be read: {error}"
    lines = without_colours(text.decode(errors="replace")).strip().splitlines()
    return (lines or ["no cause known"])[-1]
