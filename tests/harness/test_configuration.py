"""Flags and variables: which value wins, and what is said of a wrong one."""

from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest
from harness.configuration import as_flags, load
from harness.errors import Refusal
from harness.setting_types import as_text
from stub import PROJECT, Settings


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--check-search-space", "false"], (False, True)),
        (["--check-search-space", "true", "--reuse-actors", "false"], (True, False)),
        (["--no-check-search-space", "--reuse-actors"], (False, True)),
        (["--check-search-space", "--no-reuse-actors"], (True, False)),
    ],
)
def test_a_switch(words: list[str], expected: tuple[bool, bool]) -> None:
    settings = load(PROJECT, words).settings
    assert (settings.check_search_space, settings.reuse_actors) == expected


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--check-search-space", "maybe"], "unexpected argument 'maybe'"),
        (["--reuse-actors", "--num-sampels", "2"], "did you mean --num-samples?"),
        (["--num-sampels", "2"], "unknown flag --num-sampels; did you mean --num-samples?"),
    ],
)
def test_a_wrong_flag(words: list[str], said: str) -> None:
    with pytest.raises(Refusal) as refused:
        load(PROJECT, words)
    assert str(refused.value).endswith(said)


@pytest.mark.parametrize(
    "text", ['{"cpu": 4.0, "gpu": 0.5}', '[{}, {"cpu": 1.0, "gpu": 0.5}, {"cpu": 1.0}]']
)
def test_the_flag_of_a_json_value(text: str) -> None:
    settings = load(PROJECT, ["--resources-per-trial", text]).settings
    assert as_text(settings.resources_per_trial) == text
    assert (
        load(PROJECT, as_flags("resources_per_trial", settings.resources_per_trial)).settings
        == settings
    )


def test_a_wrong_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXPERIMENT_NUM_SAMPELS", "2")
    with pytest.raises(Refusal) as refused:
        load(PROJECT)
    known = "EXPERIMENT_NUM_SAMPLES"
    assert str(refused.value) == f"unknown setting EXPERIMENT_NUM_SAMPELS; did you mean {known}?"


def test_which_value_wins(empty_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (empty_folder / ".env").write_text(
        "EXPERIMENT_SEED=1\nEXPERIMENT_VERBOSE=2\nEXPERIMENT_SCOPE=last\n"
    )
    monkeypatch.setenv("EXPERIMENT_VERBOSE", "0")
    monkeypatch.setenv("EXPERIMENT_SCOPE", "avg")
    loaded = load(PROJECT, ["--scope", "all"])
    settings, origins = loaded.settings, loaded.origins
    assert (settings.seed, origins["seed"]) == (1, ".env")
    assert (settings.verbose, origins["verbose"]) == (0, "environment")
    assert (settings.scope, origins["scope"]) == ("all", "flag")
    assert (settings.num_samples, origins["num_samples"]) == (2, "default")
    assert loaded.overridden == {"scope"}
    assert loaded.flags == {"scope"}


def test_a_command_has_each_flag_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXPERIMENT_NUM_SAMPLES", "4")
    loaded = load(PROJECT, ["--name", "x", "--num-samples", "8"])
    assert loaded.again("run", "--resume").endswith(" run --name x --resume --num-samples 8")
    assert loaded.again("extend", "--num-samples", "16").endswith(" extend x --num-samples 16")


def test_the_classic_names(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load(PROJECT, ["--keep-checkpoints-num", "3"]).settings.num_to_keep == 3
    monkeypatch.setenv("EXPERIMENT_KEEP_CHECKPOINTS_NUM", "4")
    assert load(PROJECT).settings.num_to_keep == 4
    monkeypatch.setenv("EXPERIMENT_NUM_TO_KEEP", "5")
    with pytest.raises(Refusal, match="are one setting: give one value"):
        load(PROJECT)


def test_all_findings_at_once(empty_folder: Path) -> None:
    (empty_folder / ".env").write_text("EXPERIMENT_MODE=most\nEXPERIMENT_SED=1\n")
    with pytest.raises(Refusal) as refused:
        load(PROJECT, ["--num-samples", "0"])
    unknown, *wrong = refused.value.findings
    assert unknown == "unknown setting EXPERIMENT_SED in .env; did you mean EXPERIMENT_SEED?"
    assert sorted(wrong) == [
        "--num-samples='0': input should be greater than or equal to 1",
        "EXPERIMENT_MODE='most' in .env: input should be 'min' or 'max'",
    ]


def test_a_resume_needs_no_word() -> None:
    for words in (["--resume"], ["--resume", "true"], ["--resume=true"]):
        assert load(PROJECT, ["--name", "x", *words]).settings.resume == "true"
    assert load(PROJECT, ["--resume", "--name", "x"]).settings.resume == "true"


def test_a_default_of_the_project_that_is_not_accepted_is_named() -> None:
    class Wrong(Settings):
        DEFAULTS: ClassVar = {"mode": "maximum"}

    with pytest.raises(Refusal) as refused:
        load(replace(PROJECT, settings=Wrong))
    said = "DEFAULTS of Wrong: mode='maximum': input should be 'min' or 'max'"
    assert str(refused.value) == said
    assert load(replace(PROJECT, settings=Wrong), ["--mode", "min"]).settings.mode == "min"
