"""Tables for `load_data`: what is read, what becomes of a column, and one line for each error."""

import datetime
import decimal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from harness.data import checked_classes, checked_numbers, files, part, read_table
from pyarrow import parquet

from tests.faults.bucket import BUCKET, Bucket, bucket

ROWS = 40


def table(**columns: Any) -> pd.DataFrame:
    numbers = np.arange(ROWS, dtype=float)
    frame = pd.DataFrame({"size": numbers, "colour": ["red", "blue"] * 20, "target": [1, 2] * 20})
    return frame.assign(**columns)


def write(frame: pd.DataFrame, path: Path) -> str:
    frame.to_csv(path, index=False) if path.suffix == ".csv" else frame.to_parquet(path)
    return str(path)


def refusal(call: Callable[[], object]) -> str:
    with pytest.raises((OSError, ValueError)) as refused:
        call()
    assert len(str(refused.value).splitlines()) == 1
    return str(refused.value)


# ------------------------------------------------------------ files


@pytest.mark.parametrize("name", ["rows.csv", "rows.parquet", "50% of #1?.csv"])
def test_a_file_is_read_as_it_was_written(name: str, tmp_path: Path) -> None:
    path = write(table(), tmp_path / name)
    pd.testing.assert_frame_equal(read_table(path), table())


def test_a_file_by_its_uri(tmp_path: Path) -> None:
    write(table(), tmp_path / "rows.csv")
    pd.testing.assert_frame_equal(read_table(f"file://{tmp_path}/rows.csv"), table())


def test_a_folder_of_parquet_files(tmp_path: Path) -> None:
    folder = tmp_path / "rows.parquet"
    folder.mkdir()
    for number in (1, 2):
        write(table(), folder / f"{number}.parquet")
    assert len(read_table(str(folder))) == 2 * ROWS


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("rows.csv", b"", "is empty"),
        ("rows.parquet", b"", "is empty"),
        ("rows.csv", b"\n\n", "can't be read as csv: No columns to parse from file"),
        ("rows.csv", b"a,target\n", "has no rows"),
        ("rows.csv", b"a,target,a\n1,2,3\n", "can't be read as csv: 2 columns are called 'a'"),
        ("rows.csv", b"a,b\n1,2,3\n", "has rows of more values than there are names in line 1"),
        ("rows.csv", b"a,b\n1,2\n1,2,3\n", "can't be read as csv: Error tokenizing data. C error:"),
        ("rows.csv", b"a,b\n\xff,2\n", "can't be read as csv: 'utf-8' codec can't decode"),
        ("rows.parquet", b"a,b\n1,2\n", "can't be read as parquet: "),
        ("rows.xlsx", b"a,b\n1,2\n", "should end in .csv or .parquet"),
    ],
)
def test_what_is_no_table(name: str, content: bytes, expected: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    said = refusal(lambda: read_table(str(path)))
    assert said.startswith(f"{path} {expected}")


def test_other_tables_that_can_not_be_used(tmp_path: Path) -> None:
    empty = write(table().head(0), tmp_path / "empty.parquet")
    assert refusal(lambda: read_table(empty)) == f"{empty} has no rows"
    twice = str(tmp_path / "twice.parquet")
    parquet.write_table(pa.table([[1], [2]], names=["a", "a"]), twice)
    assert "duplicate field names" in refusal(lambda: read_table(twice))
    folder = tmp_path / "folder.csv"
    folder.mkdir()
    assert "Is a directory" in refusal(lambda: read_table(str(folder)))


@pytest.mark.parametrize("name", ["rows.csv", "rows.parquet"])
def test_a_file_larger_than_memory(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is refused before it is read, but for its head."""

    def read_head(*args: Any, nrows: int, **options: Any) -> Any:
        assert nrows == 1
        return read_csv(*args, nrows=nrows, **options)

    path, read_csv = write(table(), tmp_path / name), pd.read_csv
    monkeypatch.setattr(pd, "read_csv", read_head)
    monkeypatch.setattr(pd, "read_parquet", None)
    monkeypatch.setattr(files, "free_memory", lambda: 5000.0)
    values = files.TableFile.find(path).values()
    assert values == pytest.approx(3 * ROWS, rel=0.05)  # with the line of names
    assert refusal(lambda: read_table(path)).startswith(f"{path} holds 1.2e+02 values, which take")


def test_memory_of_a_container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    everything = files.free_memory()
    monkeypatch.setattr(files, "CGROUP", tmp_path)
    (tmp_path / "memory.current").write_text("900000\n")
    (tmp_path / "memory.stat").write_text("anon 200000\ninactive_file 500000\n")
    (tmp_path / "memory.max").write_text("max\n")
    assert files.free_memory() == pytest.approx(everything, rel=0.5)
    (tmp_path / "memory.max").write_text("1000000\n")
    assert files.free_memory() == 600_000


# ------------------------------------------------------------ a bucket


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    with bucket("key", "secret") as s3:
        for name, value in s3.env.items():
            monkeypatch.setenv(name, value)
        yield s3


def test_a_bucket_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """pyarrow would try for minutes: what it is asked is asked within a time."""

    def no_answer(call: Callable[[], object]) -> object:
        raise OSError("no answer in 20 s")

    monkeypatch.setattr(files, "with_timeout", no_answer)
    uri = "s3://experiments/rows.csv"
    assert refusal(lambda: read_table(uri)) == f"{uri} can't be read: no answer in 20 s"


def test_files_in_a_bucket(s3: Bucket, tmp_path: Path) -> None:
    uris = []
    for name in ("rows.csv", "rows.parquet"):
        write(table(), tmp_path / name)
        s3.client.upload_file(str(tmp_path / name), BUCKET, f"team/{name}")
        uris.append(f"s3://{BUCKET}/team/{name}")
        pd.testing.assert_frame_equal(read_table(uris[-1]), table())
    absent = f"s3://{BUCKET}/team/none.csv"
    with pytest.raises(FileNotFoundError) as gone:
        read_table(absent)
    assert (gone.value.strerror, gone.value.filename) == ("No such file or directory", absent)
    with pytest.raises(FileNotFoundError, match="There is no bucket 'other'"):
        read_table("s3://other/team/rows.csv")
    s3.gate.set("denied")
    denied = refusal(lambda: read_table(uris[0]))
    assert denied.startswith(f"{uris[0]} can't be read: ")
    assert "ACCESS_DENIED" in denied


# ------------------------------------------------------------ columns


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, None], [1.0, np.nan]),
        (["a", None], ["a", np.nan]),
        ([None, None], [np.nan, np.nan]),
        ([True, None], [True, None]),
        ([1, 2.5], [1.0, 2.5]),
        ([decimal.Decimal("1.5"), None], [1.5, np.nan]),
        (["1", "2"], ["1", "2"]),
        (["1", "a"], ["1", "a"]),
        ([datetime.date(2026, 1, 1), None], [datetime.date(2026, 1, 1), None]),
    ],
)
def test_what_becomes_of_a_column(values: list[Any], expected: list[Any]) -> None:
    column = pd.Series(values * 20, dtype=object)
    features, _ = part(table(more=column), "target", "rows.csv")
    pd.testing.assert_series_equal(
        features["more"].head(2), pd.Series(expected, name="more", dtype=object), check_dtype=False
    )
    numbers = values[0] is not None and isinstance(expected[0], float)
    assert pd.api.types.is_float_dtype(features["more"]) == numbers


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["1.5"] * 39 + ["unknown"], "holds numbers, but in 1 of 40 rows a text, as 'unknown': "),
        ([7] * 30 + ["-"] * 10, "holds numbers, but in 10 of 40 rows a text, as '-': "),
        ([np.inf] + [1.5] * 39, "holds infinity in 1 of 40 rows"),
        ([[1, 2]] * 40, "holds values of type list; it should hold numbers, texts, "),
        ([{"a": 1}, "a"] * 20, "holds values of type dict and str; "),
        ([1, True] * 20, "holds values of type bool and int; "),
        ([b"a"] * 40, "holds values of type bytes; "),
        (pd.Timedelta(1), "holds values of type Timedelta; "),
    ],
)
def test_columns_that_can_not_be_used(values: Any, expected: str) -> None:
    said = refusal(lambda: part(table(more=values), "target", "rows.csv"))
    assert said.startswith(f"column 'more' of rows.csv {expected}")


def test_a_category_may_hold_what_looks_like_numbers() -> None:
    column = pd.Series(["1"] * 30 + ["3+"] * 10, dtype="category")
    features, _ = part(table(more=column), "target", "rows.csv")
    assert features["more"].tolist() == column.tolist()
    _, labels = part(table(target=column.astype(object)), "target", "rows.csv")
    assert checked_classes(labels, "rows.csv", 0.25).nunique() == 2


def test_the_target_is_parted() -> None:
    features, labels = part(table(), "target", "rows.csv")
    assert [*features.columns] == ["size", "colour"]
    assert labels.tolist() == [1, 2] * 20
    assert refusal(lambda: part(table(), "label", "rows.csv")) == (
        "rows.csv has no column 'label'; it has size, colour, target"
    )
    gap = table(target=[None] + [1] * 39)
    assert refusal(lambda: part(gap, "target", "rows.csv")) == (
        "column 'target' of rows.csv is empty in 1 of 40 rows"
    )
    alone = table()[["target"]]
    assert "no column beside 'target'" in refusal(lambda: part(alone, "target", "rows.csv"))


def test_classes() -> None:
    def said(values: list[Any]) -> str:
        return refusal(lambda: checked_classes(pd.Series(values, name="y"), "rows.csv", 0.25))

    assert said([1] * 40).startswith("column 'y' of rows.csv holds 1 classes in 40 rows: a class")
    assert "holds 2 classes in 40 rows" in said([1] * 39 + [2])
    assert "holds 20 classes in 40 rows" in said([*range(20)] * 2)


def test_numbers() -> None:
    def checked(values: list[Any]) -> Any:
        return checked_numbers(pd.Series(values, name="y"), "rows.csv", 0.25)

    assert checked([1, 2] * 4).dtype == np.float64
    assert refusal(lambda: checked(["1.5"] * 39 + ["?"])) == (
        "column 'y' of rows.csv holds numbers, but in 1 of 40 rows a text, as '?': leave such"
        " values empty, or make it a category"
    )
    assert "should hold numbers; it holds bool" in refusal(lambda: checked([True, False] * 20))
    assert "should hold numbers; it holds" in refusal(lambda: checked(["a", "b"] * 20))
    assert "holds 1 different values in 40 rows" in refusal(lambda: checked([1.5] * 40))
    assert "in 7 rows; a regression needs 2 or more, in 8" in refusal(lambda: checked([*range(7)]))
