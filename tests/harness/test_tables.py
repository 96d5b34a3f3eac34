"""A trial's tables, cut off or full of garbage: what is whole is read, and nothing else."""

import csv
import io
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from harness.results.analysis import SavedAnalysis
from harness.store import tables
from harness.store.storage import Folder
from hypothesis import given, settings
from hypothesis import strategies as st

ROWS: list[dict[str, Any]] = [
    {"training_iteration": n, "score": n / 7, "note": f'a "{n}",\nb', "trial_id": "0_1"}
    for n in (1, 2, 3)
]
JSON = "".join(json.dumps(row) + "\n" for row in ROWS).encode()
GARBAGE = (b"", b"\n", b"5\n", b"[[[\n", b"{}\n", b'\xff\xfe\x00garb,"age\na,b,c\n1', b"a,b\n1,2\n")


def as_csv(rows: list[dict[str, Any]]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(ROWS[0]))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


TABLES = {tables.JSON: JSON, tables.CSV: as_csv(ROWS)}


@pytest.mark.parametrize("file", tables.FILES)
def test_cut_off_anywhere(file: str) -> None:
    content = TABLES[file]
    whole = tables.results(file, content)
    assert whole["training_iteration"].tolist() == [1, 2, 3]
    assert whole["trial_id"].tolist() == ["0_1"] * 3
    lengths = set()
    for end in range(len(content)):
        found = tables.results(file, content[:end])
        lengths.add(len(found))
        if len(found):
            pd.testing.assert_frame_equal(found, whole.iloc[: len(found)])
    assert lengths >= {0, 1, 2}


@pytest.mark.parametrize("file", tables.FILES)
@settings(deadline=None, derandomize=True)
@given(garbage=st.binary(max_size=40))
def test_garbage_is_left_out(file: str, garbage: bytes) -> None:
    found = tables.results(file, TABLES[file] + garbage + b"\n")
    assert found["training_iteration"].tolist()[:3] == [1, 2, 3]
    for content in (garbage, b"\n" + garbage + b"\n", *GARBAGE):
        tables.results(file, content)
        kept = tables.cut(file, content, ROWS[1], "0_1")
        assert tables.results(file, kept)["training_iteration"].tolist() == [2]


def fetch(folder: Path, running: bool = False) -> tuple[pd.DataFrame, list[str]]:
    """The table that an experiment of one trial finds, and what it says of it."""
    analysis = object.__new__(SavedAnalysis)
    analysis.folder, analysis.damaged = Folder.open(str(folder)) / "x", []
    analysis.running = running
    trial: Any = SimpleNamespace(last_result=ROWS[-1], relative_logdir="trial")
    return analysis._fetch_trial_dataframe(trial), analysis.damaged


def test_the_table_that_has_more_is_read(empty_folder: Path) -> None:
    trial = empty_folder / "x/trial"
    trial.mkdir(parents=True)
    assert len(fetch(empty_folder)[0]) == 0
    assert fetch(empty_folder)[1] == []  # LOGGERS
    for damaged in (*GARBAGE, JSON[: len(JSON) // 2]):
        (trial / "result.json").write_bytes(damaged)
        (trial / "progress.csv").write_bytes(TABLES[tables.CSV])
        found, said = fetch(empty_folder)
        assert found["training_iteration"].tolist() == [1, 2, 3]
        assert said == []
    (trial / "progress.csv").write_bytes(as_csv(ROWS[:2])[:-3])
    found, said = fetch(empty_folder)
    assert found["training_iteration"].tolist() == [1]
    (line,) = said
    assert line == ("trial: results can be read up to iteration 1 of 3 (result.json, progress.csv)")
    assert fetch(empty_folder, running=True)[1] == []
