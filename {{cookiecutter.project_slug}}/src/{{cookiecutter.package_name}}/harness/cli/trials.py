"""`trials`: a table of an experiment's trials, also while it runs."""

import math
import sys
from collections import Counter
from typing import Any

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from ...settings import PREFIX
from ..configuration import FLAG, Configuration, Refusal
from ..store import saved_trials as saved
from ..store.record import Record
from ..store.saved_trials import SavedTrial
from .listing import find, outcome

NO_END = 1_000_000  # columns: in a file, no line is cut or wrapped


def setting(configuration: Configuration, record: Record, field: str) -> Any:
    """A setting as the experiment had it, unless a flag gives another."""
    stored = record.content["settings"]
    if configuration.origins[field] == FLAG or field not in stored:
        return getattr(configuration.settings, field)
    return stored[field]["value"]


def ranking(configuration: Configuration, record: Record) -> tuple[str, str, str]:
    """METRIC, MODE and SCOPE."""
    fields = ("metric", "mode", "scope")
    metric, mode, scope = (setting(configuration, record, field) for field in fields)
    return metric, mode, scope


def ranked(trials: list[SavedTrial], metric: str, mode: str, scope: str) -> list[SavedTrial]:
    """The best first, those without a finite metric last; else in the order of sampling."""
    sign = -1 if mode == "max" else 1

    def key(trial: SavedTrial) -> float:
        score = trial.score(metric, mode, scope)
        return sign * score if math.isfinite(score) else math.inf

    return sorted(trials, key=key)


def load(record: Record) -> list[SavedTrial]:
    """The saved trials of an experiment. Raises Refusal when they can't be read."""
    try:
        return saved.trials(record.storage, record.name, record.tuned)
    except (OSError, ValueError) as error:
        raise Refusal(f"{PREFIX}NAME={record.name!r}: {error}") from None


def print_trials(configuration: Configuration) -> None:
    """The trials of the experiment NAME, the best first."""
    record = find(configuration.settings)
    trials, state = load(record), outcome(record)
    if not trials:
        print(f"{record.name}: {state}; no trial has been saved yet")
        return
    metric, mode, scope = ranking(configuration, record)
    running = state == "running"
    iterations = setting(configuration, record, "max_iterations")
    words = {
        trial.id: saved.word(trial.status, trial.last, metric, iterations, running)
        for trial in trials
    }
    counts = ", ".join(f"{n} {word}" for word, n in sorted(Counter(words.values()).items()))
    how = f"{mode} of {metric}" if scope == "all" else f"{mode}, {scope} of {metric}"
    print(f"{record.name}: {state}; {len(trials)} trials, {counts}; ranked by {how}")
    in_terminal = sys.stdout.isatty()
    console = Console(highlight=False, width=None if in_terminal else NO_END)
    rows = ranked(trials, metric, mode, scope)
    errors = {trial.id: _error(record, trial) for trial in rows if trial.error_file}
    table = _table(rows, errors, (metric, mode, scope), words, exact=not in_terminal)
    if in_terminal and _width(console, table) > console.width:
        table = _paragraphs(rows, errors, (metric, mode, scope), words)
    console.print(table)


def _width(console: Console, table: Table) -> int:
    return Measurement.get(console, console.options.update(width=NO_END), table).maximum


def _columns(scope: str) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("trial", no_wrap=True)
    table.add_column("status", no_wrap=True)
    for name in ("iterations", *(["best"] if scope == "all" else [scope]), "last", "seconds"):
        if name not in [column.header for column in table.columns]:
            table.add_column(name, no_wrap=True, justify="right")
    return table


def _cells(
    trial: SavedTrial, by: tuple[str, str, str], words: dict[str, str], exact: bool = False
) -> list[str]:
    metric, _, scope = by
    last = trial.last.get(metric, "-")
    best = "-" if last == "-" else trial.score(*by)
    score = [] if scope == "last" else [_text(best, exact, ".4f")]
    return [
        trial.id,
        words[trial.id],
        str(trial.iterations),
        *score,
        _text(last, exact, ".4f"),
        f"{trial.last.get('time_total_s', 0):.1f}",
    ]


def _table(
    trials: list[SavedTrial],
    errors: dict[str, str],
    by: tuple[str, str, str],
    words: dict[str, str],
    exact: bool,
) -> Table:
    """A column for each hyperparameter."""
    table = _columns(by[2])
    names = list(dict.fromkeys(name for trial in trials for name in trial.parameters))
    for name in names:
        table.add_column(name, no_wrap=True, justify="right")
    if errors:
        table.add_column("error", no_wrap=True)
    for trial in trials:
        chosen = [_text(trial.parameters.get(name, ""), exact) for name in names]
        cells = [*_cells(trial, by, words, exact), *chosen, errors.get(trial.id, "")]
        table.add_row(*map(Text, cells[: len(table.columns)]))
    return table


def _paragraphs(
    trials: list[SavedTrial],
    errors: dict[str, str],
    by: tuple[str, str, str],
    words: dict[str, str],
) -> Table:
    """For a terminal that is too narrow for the columns: all that they say, beside each id."""
    table = Table.grid(padding=(0, 2, 0, 0))
    names = [str(column.header) for column in _columns(by[2]).columns]
    for trial in trials:
        name, status, *cells = _cells(trial, by, words)
        known = [f"{what} {cell}" for what, cell in zip(names[2:], cells, strict=True)]
        chosen = [f"{what}={_text(value)}" for what, value in trial.parameters.items()]
        error = [errors[name]] if name in errors else []
        text = "\n".join([", ".join([status, *known]), " ".join(chosen), *error])
        table.add_row(name, Text(text, overflow="fold"))
    return table


def _text(value: Any, exact: bool = False, how: str = ".4g") -> str:
    if isinstance(value, float) and not exact:
        return format(value, how)
    return str(value)


def _error(record: Record, trial: SavedTrial) -> str:
    """The last line of what a trial failed with."""
    try:
        text = record.storage.read(record.name, trial.folder, str(trial.error_file)) or b""
    except OSError as error:
        return f"its traceback can't be read: {error}"
    lines = saved.plain(text.decode(errors="replace")).strip().splitlines()
    return (lines or ["no cause known"])[-1]
