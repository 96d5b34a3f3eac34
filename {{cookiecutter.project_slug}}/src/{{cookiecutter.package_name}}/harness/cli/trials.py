"""`trials`: a table of an experiment's trials, also while it runs."""

import sys
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from ..configuration import Configuration
from ..store.ranking import Ranking
from ..store.record import Record
from ..store.saved_trials import SavedTrial, without_colours, word
from .tables import NO_END, make_console


class _Row(NamedTuple):
    """What is shown of a trial. error: what it raised, if it failed."""

    trial: str
    status: str
    numbers: dict[str, str]
    parameters: dict[str, str]
    error: str


def print_trials(configuration: Configuration) -> None:
    """The trials of the experiment NAME, the best first."""
    record = Record.find(configuration.settings)
    settings = record.settings(configuration.settings, configuration.flags)
    trials, state = record.trials(), record.outcome()
    if not trials:
        print(f"{record.name}: {state}; no trial has been saved yet")
        return
    ranking, most, running = Ranking.of(settings), settings.max_iterations, state == "running"
    rows = []
    for trial in ranking.sorted(trials):
        status = word(trial.status, trial.last, ranking.metric, most, running)
        parameters = {name: _text(value, ".4g") for name, value in trial.parameters.items()}
        numbers, error = _numbers(trial, ranking), _error(record, trial)
        rows.append(_Row(trial.id, status, numbers, parameters, error))
    counted = sorted(Counter(row.status for row in rows).items())
    counts = ", ".join(f"{count} {status}" for status, count in counted)
    print(f"{record.name}: {state}; {len(trials)} trials, {counts}; ranked by {ranking}")
    table, console = _table(rows), make_console()
    width = Measurement.get(console, console.options.update(width=NO_END), table).maximum
    console.print(table if width <= console.width else _paragraphs(rows))


def _text(value: Any, how: str) -> str:
    """A cell; numbers are rounded in a terminal only."""
    return format(value, how) if isinstance(value, float) and sys.stdout.isatty() else str(value)


def _numbers(trial: SavedTrial, ranking: Ranking) -> dict[str, str]:
    last, seconds = trial.last.get(ranking.metric, "-"), trial.last.get("time_total_s", 0)
    numbers = {"iterations": str(trial.iterations)}
    if ranking.scope != "last":
        best = "-" if last == "-" else ranking.score(trial)
        numbers["best" if ranking.scope == "all" else ranking.scope] = _text(best, ".4f")
    return {**numbers, "last": _text(last, ".4f"), "seconds": f"{seconds:.1f}"}


def _error(record: Record, trial: SavedTrial) -> str:
    """The last line of the traceback of a failed trial."""
    if not trial.error_file:
        return ""
    try:
        text = record.folder.read(trial.folder, trial.error_file) or b""
    except OSError as error:
        return f"its traceback can't be read: {error}"
    lines = without_colours(text.decode(errors="replace")).strip().splitlines()
    return (lines or ["no cause known"])[-1]


def _table(rows: Sequence[_Row]) -> Table:
    """A column for each hyperparameter, and for errors, if there are any."""
    parameters = dict.fromkeys(name for row in rows for name in row.parameters)
    errors = any(row.error for row in rows)
    table = Table("trial", "status", box=None, pad_edge=False)
    for name in (*rows[0].numbers, *parameters):
        table.add_column(name, justify="right")
    if errors:
        table.add_column("error")
    for column in table.columns:
        column.no_wrap = True
    for row in rows:
        cells = [*row.numbers.values(), *(row.parameters.get(name, "") for name in parameters)]
        table.add_row(row.trial, row.status, *cells, *([row.error] if errors else []))
    return table


def _paragraphs(rows: Sequence[_Row]) -> Table:
    """For a terminal too narrow for the columns: a paragraph for each trial."""
    table = Table.grid(padding=(0, 2, 0, 0))
    for row in rows:
        numbers = ", ".join([row.status, *(f"{name} {cell}" for name, cell in row.numbers.items())])
        parameters = " ".join(f"{name}={cell}" for name, cell in row.parameters.items())
        lines = "\n".join([numbers, parameters, *([row.error] if row.error else [])])
        table.add_row(row.trial, Text(lines, overflow="fold"))
    return table
