"""What has changed since an experiment began, and what a resume may not change."""

from typing import Any

from ..setting_types import as_text
from ..settings import RunSettings
from .record import Record

# An experiment that is resumed keeps these.
FIXED = (
    "metric",
    "mode",
    "seed",
    "search_alg",
    "points_to_evaluate",
    "scheduler",
    "grace_iterations",
)
# `extend` changes these, and NUM_SAMPLES.
STOPPING = (
    "max_iterations",
    "stop",
    "metric_goal",
    "plateau_results",
    "plateau_trials",
    "plateau_std",
    "time_budget_s",
)


def differences(record: Record, settings: RunSettings, space: dict[str, str]) -> list[str]:
    """What makes this another experiment than the one recorded, one line each."""
    was, found = record.content["search_space"], []
    for key in sorted({*was, *space}):
        old, new = was.get(key), space.get(key)
        if old != new:
            found.append(f"search space: {key} was {old or 'not there'}, is {new or 'gone'}")
    for field in FIXED:
        new_value: Any = getattr(settings, field)
        if (old_value := record.setting(field, new_value)) != new_value:
            found.append(f"{settings.variable(field)}: was {old_value!r}, is {new_value!r}")
    return found


def limits_changed(record: Record, settings: RunSettings) -> list[str]:
    """The limits that are not what they were, one line each: what `extend` is for."""
    return [
        f"{settings.variable(field)}: was {as_text(old)!r}, is {as_text(new)!r}"
        for field in (*STOPPING, "num_samples")
        for new in [settings.model_dump(mode="json")[field]]
        if (old := record.setting(field, new)) != new
    ]


def stops_changed(record: Record, settings: RunSettings) -> bool:
    """Whether one of the limits that end a trial, or all, is not what it was."""
    now = settings.model_dump(mode="json")
    return any(record.setting(field, now[field]) != now[field] for field in STOPPING)


def brief(data: dict[str, Any]) -> str:
    """The data in a few words."""
    digest = data["digest"]
    return f"{data['description']} ({f'digest {digest[:12]}' if digest else 'no digest'})"
