"""Flags: how a switch is given, and what is said of a wrong one."""

import pytest
from ray_tune_experiment.harness.configuration import Refusal, load


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
    settings = load(words).settings
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
        load(words)
    assert str(refused.value).endswith(said)


def test_a_wrong_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXPERIMENT_NUM_SAMPELS", "2")
    with pytest.raises(Refusal) as refused:
        load()
    known = "EXPERIMENT_NUM_SAMPLES"
    assert str(refused.value) == f"unknown setting EXPERIMENT_NUM_SAMPELS; did you mean {known}?"
