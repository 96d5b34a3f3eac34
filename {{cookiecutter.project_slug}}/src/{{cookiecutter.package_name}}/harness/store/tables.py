"""A trial's tables, as Ray's loggers write them: result.json and progress.csv."""

import contextlib
import csv
import io
import json
from collections.abc import Iterable, Iterator
from typing import Any

import pandas as pd

from .storage import Folder

JSON, CSV = "result.json", "progress.csv"
FILES = (JSON, CSV)
ITERATION = "training_iteration"


def cut(file: str, content: bytes, result: dict[str, Any], trial_id: str) -> bytes:
    """Cut a table after the result that its trial resumes from; {}: from the beginning.

    Later iterations are trained again, and none may be in a table twice. With SCHEDULER=pbt the
    result may be another trial's, which is not added.
    """
    last = result.get(ITERATION, 0)
    if result.get("trial_id", trial_id) != trial_id:
        result = {}
    if file == JSON:
        rows = _until(last, {row[ITERATION]: row for row in _json_lines(content)}, result)
        return "".join(json.dumps(row) + "\n" for row in rows.values()).encode()
    columns, lines = _csv_lines(content)
    table = _until(last, {int(row[ITERATION]): row for row in lines}, result)
    return _csv_text(columns or list(result), table.values()).encode()


def results(file: str, content: bytes) -> pd.DataFrame:
    """A row for each whole line of a table; lines that are cut off or damaged are left out."""
    if file == JSON:
        return pd.json_normalize(list(_json_lines(content)), sep="/")
    columns, lines = _csv_lines(content)
    if not lines:
        return pd.DataFrame()
    return pd.read_csv(io.StringIO(_csv_text(columns, lines)), dtype={"trial_id": str})


def _csv_lines(content: bytes) -> tuple[list[str], list[dict[str, str]]]:
    """The columns and the whole lines of a progress.csv; no columns if its header is damaged."""
    ended = content[: content.rfind(b"\n") + 1].decode(errors="replace")
    reader, lines = csv.DictReader(io.StringIO(ended, newline="")), []
    with contextlib.suppress(csv.Error):  # a damaged line without an end
        for row in reader:
            if None not in (*row, *row.values()) and row.get(ITERATION, "").isdecimal():
                lines.append(row)
    columns = list(reader.fieldnames or [])
    return (columns, lines) if ITERATION in columns else ([], [])


def _csv_text(columns: list[str], lines: Iterable[dict[str, Any]]) -> str:
    target = io.StringIO(newline="")
    if columns:
        writer = csv.DictWriter(target, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(lines)
    return target.getvalue()


def _until(last: int, rows: dict[int, Any], result: dict[str, Any]) -> dict[int, Any]:
    """The rows up to an iteration, in order; if its own is missing, `result` is added."""
    kept = {iteration: rows[iteration] for iteration in sorted(rows) if iteration <= last}
    if last and result and last not in kept:
        kept[last] = {k: v for k, v in result.items() if isinstance(v, int | float | str | bool)}
    return kept


def rows(trial: Folder) -> list[dict[str, Any]]:
    """The results in a trial's folder; values of a progress.csv are text. Empty without a table."""
    found = list(_json_lines(trial.read(JSON) or b""))
    return found or _csv_lines(trial.read(CSV) or b"")[1]


def _json_lines(text: bytes) -> Iterator[dict[str, Any]]:
    """The results of a result.json, without lines that are cut off or damaged."""
    for line in text.splitlines():
        with contextlib.suppress(ValueError):  # the last may be cut off
            row = json.loads(line)
            if isinstance(row, dict) and isinstance(row.get(ITERATION), int):
                yield row
