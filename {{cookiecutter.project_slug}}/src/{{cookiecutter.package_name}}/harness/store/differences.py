"""What has changed since an experiment began, and what a resume must not change."""

from collections.abc import Sequence
from typing import Any

from ..setting_types import as_text
from ..settings import RunSettings
from .record import Record

# A resume must not change these.
FIXED = (
    "metric",
    "mode",
    "seed",
    "search_alg",
    "points_to_evaluate",
    "scheduler",
    "grace_iterations",
)
# `extend` may change these, and NUM_SAMPLES.
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
    """Why this is not the recorded experiment, one line for each difference."""
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


def limits_changed(
    record: Record, settings: RunSettings, fields: Sequence[str] = (*STOPPING, "num_samples")
) -> list[str]:
    """The limits that have changed, one line each: `extend` may change them."""
    now = settings.model_dump(mode="json")
    return [
        f"{settings.variable(field)}: was {as_text(old)!r}, is {as_text(now[field])!r}"
        for field in fields
        if (old := record.setting(field, now[field])) != now[field]
    ]


def brief(data: dict[str, Any]) -> str:
    """The data in a few words; `data` is what `dataset.describe` returned."""
    digest = data["digest"]
    return f"{data['description']} ({f'digest {digest[:12]}' if digest else 'no digest'})"
