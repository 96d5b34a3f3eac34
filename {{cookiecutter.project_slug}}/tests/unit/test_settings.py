"""The settings: where they come from, what is refused, and that the documents say the same."""

from pathlib import Path

import pytest

from {{cookiecutter.package_name}}.harness.cli import documents
from {{cookiecutter.package_name}}.harness.cli.commands import main
from {{cookiecutter.package_name}}.harness.configuration import Refusal, load
from {{cookiecutter.package_name}}.settings import PREFIX

PROJECT = Path(__file__).parents[2]


def refusal(argv: list[str]) -> str:
    with pytest.raises(Refusal) as refused:
        load(argv)
    return str(refused.value)


def test_flag_environment_dotenv_default(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_text(f"{PREFIX}SEED=1\n{PREFIX}NUM_SAMPLES=1\n{PREFIX}VERBOSE=0\n")
    monkeypatch.setenv(f"{PREFIX}SEED", "2")
    monkeypatch.setenv(f"{PREFIX}NUM_SAMPLES", "2")
    loaded = load(["--seed", "3"])
    settings, origins = loaded.settings, loaded.origins
    assert (settings.seed, origins["seed"]) == (3, "flag")
    assert (settings.num_samples, origins["num_samples"]) == (2, "environment")
    assert (settings.verbose, origins["verbose"]) == (0, ".env")
    assert (settings.mode, origins["mode"]) == ("max", "default")
    assert loaded.overridden == {"seed"}


@pytest.mark.parametrize(
    ("classic", "value", "field", "expected"),
    [
        ("LOCAL_DIR", "/tmp/here", "storage_path", "/tmp/here"),
        ("KEEP_CHECKPOINTS_NUM", "5", "num_to_keep", 5),
        ("CHECKPOINT_SCORE_ATTR", "training_loss", "checkpoint_score_attribute", "training_loss"),
        ("CHECKPOINT_FREQ", "7", "checkpoint_frequency", 7),
    ],
)
def test_the_classic_names_of_tune_run(
    classic: str, value: str, field: str, expected: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PREFIX + classic, value)
    assert getattr(load().settings, field) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [("true", True), ("false", False), ("log", "log"), ("out,err", ("out", "err"))],
)
def test_log_to_file(value: str, expected: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"{PREFIX}LOG_TO_FILE", value)
    assert load().settings.log_to_file == expected


def test_lists_and_objects() -> None:
    settings = load(["--loggers", "none", "--stop", '{"time_total_s": 5}']).settings
    assert settings.loggers == []
    assert settings.stop == {"time_total_s": 5.0}
    assert load(["--loggers", "csv, json"]).settings.loggers == ["csv", "json"]


def test_the_storage_path_is_absolute_or_a_uri() -> None:
    assert load(["--storage-path", "here"]).settings.storage_path == str(Path("here").resolve())
    assert load(["--storage-path", "s3://b/here"]).settings.storage_path == "s3://b/here"


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("NUM_SAMPLES", "abc", "valid integer"),
        ("NUM_SAMPLES", "0", "greater than or equal to 1"),
        ("NUM_SAMPELS", "3", f"did you mean {PREFIX}NUM_SAMPLES?"),
        ("METRIC", "acuracy", "validation_accuracy"),
        ("STOP", "{", "JSON object"),
        ("STOP", '{"scroe": 4}', "no trial reports 'scroe'"),
        ("RESOURCES_PER_TRIAL", '{"cpu": -1}', "0 or more"),
        ("LOG_TO_FILE", "a,b,c", "two file names"),
        ("NAME", "../outside", "pattern"),
        ("MODE", "more", "'min' or 'max'"),
        ("RESUME", "true", f"needs {PREFIX}NAME"),
        ("PLATEAU_TRIALS", "1", "2 and more"),
        ("STORAGE_PATH", "s3://key:planted@bucket/here", "AWS_SECRET_ACCESS_KEY"),
    ],
)
def test_a_wrong_variable_is_refused_in_one_line(
    name: str, value: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PREFIX + name, value)
    message = refusal([])
    assert PREFIX + name in message
    assert expected in message
    assert "\n" not in message
    assert "planted" not in message


def test_all_findings_at_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(f"{PREFIX}STORAGE_PATH", "/a")
    monkeypatch.setenv(f"{PREFIX}LOCAL_DIR", "/b")
    Path(".env").write_text(f"{PREFIX}SEED=-1\n")
    assert main(["run", "--verbose", "9"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    assert all(line.startswith("error: ") for line in lines)


def test_a_wrong_flag_or_command_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert "did you mean --num-samples?" in refusal(["--num-sampels", "3"])
    assert main(["rum"]) == 2
    assert "did you mean run?" in capsys.readouterr().err


def test_the_documents_say_what_the_settings_say() -> None:
    message = "settings.py has changed: the command `docs` writes both files anew"
    assert (PROJECT / ".env.example").read_text("utf-8") == documents.env_example(), message
    assert documents.table() in (PROJECT / "README.md").read_text("utf-8"), message
