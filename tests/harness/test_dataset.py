"""What is recorded of the data: the same in each process, another when the rows are others."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from harness.errors import Refusal
from harness.store import dataset
from harness.store.dataset import describe, difference
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from stub import PROJECT, Settings

from tests.harness.saved import changed

# What load_data may return, made anew in each process.
EACH_KIND = """
from dataclasses import dataclass
import numpy as np
import pandas as pd
import scipy.sparse
from sklearn.preprocessing import StandardScaler

numbers = np.arange(12, dtype=np.float64).reshape(6, 2)
labels = ["yes", "no", "no", "maybe", "yes", "no"]
table = pd.DataFrame({
    "number": [1.5, None, 3], "text": ["a", None, "ä"], "colour": pd.Categorical(["r", "g", "r"]),
    "time": pd.to_datetime(["2026-01-01", "2026-01-02", "2026-01-03"], utc=True),
    "whole": pd.array([1, None, 3], dtype="Int64"), "mixed": [1, "b", 2.5],
    "lists": [[1, 2], [], [3]],
})

@dataclass(frozen=True)
class Rows:
    x: object
    y: object
    scaler: object
    description: str = "six rows"

KINDS = {
    "dataclass": Rows(numbers, np.array(labels), StandardScaler().fit(numbers)),
    "object labels": Rows(numbers, np.array(labels, dtype=object), print),
    "frame": table,
    "column": table["colour"],
    "dict": {"train": (numbers, labels), "classes": 3, "name": "a", "description": "in a dict"},
    "texts": labels,
    "records": [{"text": text, "label": index} for index, text in enumerate(labels)],
    "ragged": [np.arange(3), np.arange(5)],
    "sparse": scipy.sparse.csc_matrix(numbers),
    "numbers": {"gravity": 9.81, "steps": 200},
    "empty": np.zeros((0, 3)),
}
"""
HERE: dict[str, Any] = {}
exec(EACH_KIND, HERE)  # the same text runs in another process
KINDS: dict[str, Any] = HERE["KINDS"]


@dataclass
class Opaque:
    """Nothing to digest."""

    model: object


class Sparse:
    """As a sparse tensor of PyTorch."""

    def __array__(self, *_: Any, **how: Any) -> None:
        raise TypeError("can't convert Sparse layout tensor to numpy")


def test_another_process_finds_the_same() -> None:
    script = (
        f"{EACH_KIND}\nimport json\n"
        "from harness.store.dataset import describe\n"
        "print(json.dumps({kind: describe(data) for kind, data in KINDS.items()}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True
    )
    there = json.loads(done.stdout)
    here = {kind: describe(data) for kind, data in KINDS.items()}
    assert there == here
    digests = [said["digest"] for said in here.values()]
    assert None not in digests
    assert len(set(digests)) == len(digests)


def test_what_the_data_says_of_itself() -> None:
    assert describe(KINDS["dataclass"])["description"] == "six rows"
    assert describe(KINDS["dict"])["description"] == "in a dict"
    assert describe(KINDS["frame"])["description"] == "load_data returned DataFrame"
    assert describe(KINDS["dataclass"])["arrays"] == "x 6x2 float64, y 6 <U5"


def test_the_columns_of_a_table_are_not_named_beside_arrays() -> None:
    rows = {"x": np.zeros((2, 3)), "examples": pd.DataFrame({"a": [1], "b": [2]})}
    assert describe(rows)["arrays"] == "x 2x3 float64"
    assert describe(rows["examples"])["arrays"].startswith("a 1 int64, b 1 int64")


def test_a_moved_file_is_the_same_data() -> None:
    rows = HERE["Rows"]
    here, there = (describe(rows(np.ones(3), ["a"], None, f"{at}/rows.csv")) for at in "ab")
    assert difference(here, there) is None


def test_without_anything_to_digest_the_descriptions_are_compared() -> None:
    nothing = describe(None)
    assert nothing == {
        "description": "no data",
        "arrays": "",
        "digest": None,
    }
    assert describe(Opaque(object()))["digest"] is None
    assert describe(Opaque(Sparse()))["digest"] is None
    assert difference(nothing, describe(None)) is None
    assert difference(nothing, describe(Opaque(print))) is not None
    assert difference(nothing, describe(np.ones(2))) is not None


@pytest.mark.parametrize("kind", KINDS)
def test_other_rows_are_other_data(kind: str) -> None:
    one, two = describe(KINDS[kind]), describe([KINDS[kind], KINDS[kind]])
    line = difference(one, two)
    assert line is not None
    assert one["digest"][:12] in line
    assert two["digest"][:12] in line


NUMBERS = arrays.arrays(
    dtype=st.sampled_from([np.float32, np.float64, np.int64, np.uint8, np.bool_]),
    shape=arrays.array_shapes(max_dims=3, max_side=5),
)


@settings(deadline=None, derandomize=True, max_examples=60)
@given(NUMBERS, st.data())
def test_a_changed_number_is_seen_and_the_order_in_memory_is_not(
    array: np.ndarray[Any, Any], chosen: st.DataObject
) -> None:
    digest = describe(array)["digest"]
    assert describe(np.asfortranarray(array))["digest"] == digest
    changed = array.copy()
    place = chosen.draw(st.integers(0, array.size - 1))
    changed.flat[place] = not 0.5 < abs(array.flat[place]) < np.inf
    assert describe(changed)["digest"] != digest


def test_the_last_bits_of_a_processor_are_no_difference() -> None:
    values = np.linspace(1, 2, 1000)
    assert describe(values)["digest"] == describe(np.nextafter(values, 3))["digest"]


def test_of_large_arrays_a_part_is_digested(monkeypatch: pytest.MonkeyPatch) -> None:
    digested = []

    def stable(block: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        digested.append(block.nbytes)
        return original(block)

    original = dataset._stable
    monkeypatch.setattr(dataset, "_stable", stable)
    monkeypatch.setattr(dataset, "LARGEST", 100_000)
    rows = np.arange(200_000, dtype=np.int32).reshape(-1, 20)
    digest = describe({"rows": rows, "texts": ["a"] * 1000})["digest"]
    assert sum(digested) <= 110_000
    changes: tuple[Any, ...] = (0, -1)
    for row in changes:
        other = rows.copy()
        other[row, row] += 1
        assert describe({"rows": other, "texts": ["a"] * 1000})["digest"] != digest
    same_numbers = describe({"rows": np.asfortranarray(rows), "texts": ["a"] * 1000})
    assert same_numbers["digest"] == digest
    assert describe({"rows": rows[:-1], "texts": ["a"] * 1000})["digest"] != digest
    assert describe({"rows": rows[::-1], "texts": ["a"] * 1000})["digest"] != digest


def test_columns_and_categories() -> None:
    frame = pd.DataFrame({"a": [1, 2], "b": pd.Categorical(["x", "y"])})
    digest = describe(frame)["digest"]
    other_codes = frame.assign(b=pd.Categorical(["x", "y"], categories=["y", "x", "z"]))
    assert describe(other_codes)["digest"] == digest
    for other in (frame.rename(columns={"a": "c"}), frame[["b", "a"]], frame.iloc[::-1]):
        assert describe(other)["digest"] != digest
    years = [describe(pd.period_range(start, periods=2))["digest"] for start in ("2020", "2021")]
    assert years[0] != years[1]
    twice = pd.concat([frame, frame], axis=1)
    assert describe(twice)["digest"] != digest


def test_sparse_rows_are_compared_by_what_they_hold() -> None:
    rows = np.eye(3)
    kinds = (scipy.sparse.csr_matrix, scipy.sparse.csc_matrix, scipy.sparse.coo_matrix)
    assert len({describe(kind(rows))["digest"] for kind in kinds}) == 1
    assert describe(kinds[0](2 * rows))["digest"] != describe(kinds[0](rows))["digest"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "No such file or directory; --data-path names where it is"),
        ("1 two", "could not convert string to float: 'two'"),
    ],
)
def test_data_that_cannot_be_loaded(tmp_path: Path, content: str | None, reason: str) -> None:
    """A message names the setting whose file it is about."""
    path = tmp_path / "rows.txt"
    if content is not None:
        path.write_text(content)
    assert refused(PROJECT, Settings(data_path=path)) == (
        f"EXPERIMENT_DATA_PATH='{path}': {reason}"
    )


@pytest.mark.parametrize("error", [ValueError("no rows\nat all"), OSError("no rows")])
def test_data_that_no_setting_names(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def load_data(settings: Settings) -> Any:
        raise error

    assert refused(changed(load_data=load_data), Settings()) == "data: no rows"


def refused(project: Any, settings: Settings) -> str:
    with pytest.raises(Refusal) as refusal:
        dataset.load(project, settings)
    return str(refusal.value)
