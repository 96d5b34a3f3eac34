"""The storage: what a reader sees of a file while it is written."""

from pathlib import Path

from ray_tune_experiment.harness.storage import Storage


def test_a_file_is_written_whole_and_read_back(empty_folder: Path) -> None:
    storage = Storage(str(empty_folder))
    storage.write(b"content", "experiment", "file")
    assert storage.read("experiment", "file") == b"content"
    assert [path.name for path in (empty_folder / "experiment").iterdir()] == ["file"]
    assert storage.read("experiment", "another") is None
