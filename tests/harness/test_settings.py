"""RunSettings, and what a project makes of it."""

from pathlib import Path
from typing import Any, ClassVar

import pytest
from harness.setting_types import as_text
from harness.settings import RunSettings
from pydantic import Field, ValidationError
from stub import Settings


def test_a_project_has_its_own_defaults() -> None:
    settings = Settings()
    assert (settings.metric, settings.mode, settings.max_iterations) == ("score", "max", 3)
    assert Settings.default("num_samples") == 2
    assert Settings.default("export_formats") == ["model"]
    assert RunSettings.default("num_samples") == 8  # those of the harness stay


def test_a_class_of_a_class_has_its_own_too() -> None:
    class Others(Settings):
        METRICS = ("loss",)
        DEFAULTS: ClassVar = {"num_samples": 5}

    assert (Others().metric, Others().num_samples, Others().max_iterations) == ("loss", 5, 3)
    assert (Settings().metric, Settings().num_samples) == ("score", 2)


def test_a_default_of_a_setting_that_is_none() -> None:
    with pytest.raises(TypeError, match=r"^DEFAULTS: no setting 'num_sample'; did you mean num_s"):

        class Wrong(RunSettings):
            DEFAULTS: ClassVar = {"num_sample": 1}


def test_names_and_variables() -> None:
    assert Settings.names("num_samples") == ["num_samples"]
    assert Settings.names("num_to_keep") == ["num_to_keep", "keep_checkpoints_num"]
    assert Settings.variable("num_samples") == "EXPERIMENT_NUM_SAMPLES"
    assert next(iter(Settings.fields())) == "data_path"

    class Others(RunSettings, env_prefix="SWEEP_"):  # type: ignore[call-arg]
        lr: float = Field(default=1.0, description="")

    assert Others.variable("lr") == "SWEEP_LR"


@pytest.mark.parametrize(
    ("settings", "field", "expected"),
    [
        ({"data_path": Path("/a b/rows")}, "data_path", "EXPERIMENT_DATA_PATH='/a b/rows'"),
        ({"max_iterations": 7}, "max_iterations", "EXPERIMENT_MAX_ITERATIONS=7"),
        ({"stop": {"loss": 0.5}}, "stop", 'EXPERIMENT_STOP={"loss": 0.5}'),
        ({"loggers": ["csv"]}, "loggers", "EXPERIMENT_LOGGERS="),
        (
            {"resources_per_trial": {"gpu": 1}},
            "resources_per_trial",
            'EXPERIMENT_RESOURCES_PER_TRIAL={"gpu": 1.0}',
        ),
        (
            {"resources_per_trial": [{}, {"gpu": 1}]},
            "resources_per_trial",
            'EXPERIMENT_RESOURCES_PER_TRIAL=[{}, {"gpu": 1.0}]',
        ),
        (
            {"storage_path": "s3://key@bucket/x"},
            "storage_path",
            "EXPERIMENT_STORAGE_PATH='s3://***@bucket/x'",
        ),
    ],
)
def test_a_setting_as_a_message_names_it(
    settings: dict[str, Any], field: str, expected: str
) -> None:
    assert Settings(**settings).given(field).startswith(expected)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"metric": "scroe"}, "no trial reports it; known are score, loss"),
        ({"stop": {"scroe": 1}}, "no trial reports 'scroe'; known are score, loss, training_iter"),
        ({"resume": "true"}, "EXPERIMENT_RESUME needs EXPERIMENT_NAME, the experiment to resume"),
        ({"into": "y"}, "EXPERIMENT_INTO belongs to the command extend"),
        ({"plateau_trials": 1}, "should be 0 (off), or 2 or more: it compares trials"),
        ({"resources_per_trial": {"cpu": -1}}, "should name resources and amounts of 0 or more"),
        ({"resources_per_trial": {"cpu": 0}}, "should name an amount above 0; of several bundles"),
        ({"resources_per_trial": [{"cpu": 1}, {}]}, "should name an amount above 0; of several"),
        ({"resources_per_trial": "[]"}, "should name an amount above 0"),
        ({"resources_per_trial": "cpu=1"}, "should be a JSON object"),
        ({"storage_path": "s3://key:secret@bucket"}, "should carry no secret"),
        ({"stop": "loss=1"}, "should be a JSON object"),
        ({"log_to_file": "a/b"}, "should be true, false, a file name, or two"),
    ],
)
def test_what_is_not_accepted(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError) as refused:
        Settings(**settings)
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("text", "field", "value"),
    [
        ("yes", "resume", "true"),
        ("none", "loggers", []),
        ("csv, json", "loggers", ["csv", "json"]),
        ("off", "log_to_file", False),
        ("out,err", "log_to_file", ("out", "err")),
        ('{"gpu": 0.5}', "resources_per_trial", [{"gpu": 0.5}]),
        ('[{}, {"cpu": 1}]', "resources_per_trial", [{}, {"cpu": 1.0}]),
    ],
)
def test_the_text_of_a_variable(
    text: str, field: str, value: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(Settings.variable(field), text)
    settings = Settings(name="x")
    assert getattr(settings, field) == value
    monkeypatch.setenv(Settings.variable(field), as_text(value))
    assert getattr(Settings(name="x"), field) == value


def test_relative_paths_stay_where_they_were(empty_folder: Path) -> None:
    settings = Settings(storage_path="there", data_path=Path("rows"))
    assert (settings.storage_path, settings.data_path) == (
        str(empty_folder / "there"),
        empty_folder / "rows",
    )
