"""A trial's tables, as Ray's loggers write them: result.json and progress.csv."""

import contextlib
import csv
import io
import json
from collections.abc import Iterator
from typing import Any

from .storage import Storage

JSON, CSV = "result.json", "progress.csv"
FILES = (JSON, CSV)


def cut(file: str, content: bytes, result: dict[str, Any], trial_id: str) -> bytes:
    """End a table with the result that its trial goes on from; {}: from the beginning.

    What comes after it is trained again, and no iteration is to stand in a table twice. With
    SCHEDULER=pbt the result may be another trial's, which is not added.
    """
    last = result.get("training_iteration", 0)
    if result.get("trial_id", trial_id) != trial_id:
        result = {}
    if file == JSON:
        rows = _until(last, {row["training_iteration"]: row for row in json_lines(content)}, result)
        return "".join(json.dumps(row) + "\n" for row in rows.values()).encode()
    reader = _csv(content)
    table = {int(row["training_iteration"]): row for row in reader if row["training_iteration"]}
    table, target = _until(last, table, result), io.StringIO(newline="")
    if columns := list(reader.fieldnames or result):
        # Also without a row: a logger that has the file open will write no second header.
        writer = csv.DictWriter(target, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(table.values())
    return target.getvalue().encode()


def reaches(file: str, content: bytes, result: dict[str, Any]) -> bool:
    """Whether a table has the row of a result."""
    last = result["training_iteration"]
    return any(int(row["training_iteration"] or 0) == last for row in _rows(file, content))


def _rows(file: str, content: bytes) -> Iterator[dict[str, Any]]:
    """The whole rows of a table."""
    if file == JSON:
        yield from json_lines(content)
    else:
        whole_lines = content[: content.rfind(b"\n") + 1].decode(errors="replace")
        yield from csv.DictReader(io.StringIO(whole_lines, newline=""))


def _until(last: int, rows: dict[int, Any], result: dict[str, Any]) -> dict[int, Any]:
    """The rows up to an iteration, in order; its own may not have reached the storage."""
    kept = {iteration: rows[iteration] for iteration in sorted(rows) if iteration <= last}
    if last and result and last not in kept:
        kept[last] = {k: v for k, v in result.items() if isinstance(v, int | float | str | bool)}
    return kept


def rows(storage: Storage, *folder: str) -> list[dict[str, Any]]:
    """The results in a trial's folder; those of a progress.csv are text. Empty without a table."""
    if (content := storage.read(*folder, JSON)) is not None:
        return list(json_lines(content))
    return list(_csv(storage.read(*folder, CSV) or b""))


def _csv(content: bytes) -> "csv.DictReader[str]":
    """The whole lines of a progress.csv."""
    whole_lines = content[: content.rfind(b"\n") + 1].decode(errors="replace")
    return csv.DictReader(io.StringIO(whole_lines, newline=""))


def json_lines(text: bytes) -> Iterator[dict[str, Any]]:
    """The whole lines of a result.json."""
    for line in text.splitlines():
        with contextlib.suppress(ValueError):  # the last may be cut off
            yield json.loads(line)
