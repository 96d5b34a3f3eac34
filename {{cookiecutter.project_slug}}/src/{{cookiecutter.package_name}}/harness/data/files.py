"""Reads CSV and Parquet files that fit into memory, from a disk or a bucket."""

import contextlib
import errno
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Self

import pandas as pd
import psutil
from pyarrow import dataset, fs

from ..errors import reason
from ..store.storage import with_timeout

KINDS = {".csv", ".parquet"}
EACH = 48  # bytes of memory for a number, until the arrays are made: docs/data.md of the template
HEAD = 2**16  # bytes of a CSV file from which its number of rows is estimated
GIGABYTE = 1e9
CGROUP = Path("/sys/fs/cgroup")  # of a container


def read_table(path: str) -> pd.DataFrame:
    """Read a CSV or Parquet file.

    Parameters
    ----------
    path : str
        A path, or a URI: `s3://bucket/key`, with the variables `AWS_…` that STORAGE_PATH takes.

    Raises
    ------
    OSError
        When there is no such file, or the bucket doesn't answer.
    ValueError
        When it is empty, isn't a table, or is larger than memory allows.
    """
    file = TableFile.find(path)
    check_memory(path, file.values())
    with file.named_errors():
        if file.kind == ".csv":
            table = pd.read_csv(file.open(), low_memory=False)
        else:
            table = pd.read_parquet(file.path, filesystem=file.filesystem)
    file.check_rows(table)
    return table


@dataclass(frozen=True)
class TableFile:
    """A CSV or Parquet file that exists; Parquet may also be a folder of files.

    given: the path or URI as the user wrote it; path: the same, as `filesystem` takes it
    """

    given: str
    kind: str
    filesystem: Any
    path: str
    size: int

    @classmethod
    def find(cls, given: str) -> Self:
        """Look for it. Raises OSError or ValueError when it isn't there, within seconds."""
        kind = PurePosixPath(given).suffix
        if kind not in KINDS:
            raise ValueError(f"{given} should end in .csv or .parquet")
        try:
            filesystem, path = with_timeout(lambda: fs.FileSystem.from_uri(given))
            info = with_timeout(lambda: filesystem.get_file_info(path))
            bucket = path.partition("/")[0]  # none on a disk
            gone = info.type == fs.FileType.NotFound
            lost = gone and bucket and with_timeout(lambda: filesystem.get_file_info(bucket))
        except OSError as error:
            raise OSError(f"{given} can't be read: {reason(error)}") from None
        if lost and lost.type == fs.FileType.NotFound:
            raise FileNotFoundError(errno.ENOENT, f"There is no bucket {bucket!r}", given)
        if gone:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), given)
        if info.type == fs.FileType.Directory and kind == ".csv":
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), given)
        if info.size == 0:
            raise ValueError(f"{given} is empty")
        return cls(given, kind, filesystem, path, info.size or 0)

    def open(self) -> Any:
        """Open the file for reading."""
        return self.filesystem.open_input_stream(self.path)

    @contextlib.contextmanager
    def named_errors(self) -> Iterator[None]:
        """Name the file in what reading it raises."""
        try:
            yield
        except (OSError, ValueError, MemoryError) as error:
            why = reason(error)
            raise ValueError(f"{self.given} can't be read as {self.kind[1:]}: {why}") from None

    def values(self) -> float:
        """How many values it holds; an estimate for CSV.

        Raises ValueError when it can't be read, or when two columns have one name.
        """
        with self.named_errors():
            if self.kind == ".parquet":
                files = dataset.dataset(self.path, format="parquet", filesystem=self.filesystem)
                names, rows = files.schema.names, files.count_rows()
            else:  # as a row: pandas would rename a repeated column
                first = pd.read_csv(self.open(), header=None, nrows=1, dtype=str, na_filter=False)
                head = self.open().read(HEAD)
                names, rows = [*first.iloc[0]], self.size * head.count(b"\n") / len(head)
            for name, count in Counter(names).items():
                if count > 1:
                    raise ValueError(f"{count} columns are called {name!r}")
            return float(len(names) * rows)

    def check_rows(self, table: Any) -> None:
        """Raise ValueError for a table without rows, or with rows longer than its header."""
        if not len(table):
            raise ValueError(f"{self.given} has no rows")
        if self.kind == ".csv" and not isinstance(table.index, pd.RangeIndex):
            raise ValueError(f"{self.given} has rows of more values than there are names in line 1")


def check_memory(path: str, values: float, each: float = EACH, free: float | None = None) -> None:
    """Raise ValueError unless this many values, of `each` bytes, fit into memory."""
    needed, free = values * each, free_memory() if free is None else free
    if needed > free:
        raise ValueError(
            f"{path} holds {values:.2g} values, which take about {needed / GIGABYTE:.2g} GB of"
            f" memory; {free / GIGABYTE:.2g} GB are free: give fewer rows or columns, or use a"
            " machine with more memory"
        )


def free_memory() -> float:
    """The free memory of this machine or container, in bytes."""
    free = float(psutil.virtual_memory().available)
    with contextlib.suppress(OSError, ValueError, KeyError):  # no container, or one without a limit
        limit, used = (int((CGROUP / f"memory.{name}").read_text()) for name in ("max", "current"))
        lines = (CGROUP / "memory.stat").read_text().splitlines()
        cached = int(dict(line.split() for line in lines)["inactive_file"])
        free = min(free, limit - used + cached)
    return free
