"""Warm starts: configurations to try first, from a file or from an earlier experiment."""

import json
import math
import re
from pathlib import Path
from typing import Any

from ray.tune.search.sample import Categorical, Domain, Float, Integer
from ray.tune.utils.util import unflatten_dict  # type: ignore[attr-defined]

from ..settings import Settings
from . import saved
from .configuration import nearest
from .provenance import describe, experiments
from .search import Point
from .storage import Storage
from .trials import ranked


def load_points(settings: Settings, space: dict[str, Any]) -> list[Point]:
    """The configurations that POINTS_TO_EVALUATE names, checked against the search space.

    Raises ValueError, in one line, when there are none or one of them doesn't fit; OSError when
    the storage doesn't answer.
    """
    given = settings.points_to_evaluate
    if given is None:
        return []
    is_file = given.endswith(".json")
    points = _read(Path(given)) if is_file else _best(settings, space, given)
    found = []
    for number, point in enumerate(points, 1):
        try:
            found.append(_fitted(point, space, whole=settings.search_alg != "random"))
        except ValueError as error:
            raise ValueError(f"point {number}: {error}") from None
    if len(found) > settings.num_samples:
        raise ValueError(f"{len(found)} points, and only {settings.num_samples} trials to sample")
    return found


def _read(path: Path) -> list[Point]:
    try:
        points = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ValueError(f"can't be read ({error.strerror})") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"is no JSON ({error})") from None
    if not isinstance(points, list) or not points or not all(isinstance(p, dict) for p in points):
        raise ValueError('should hold a list of configurations: [{"learning_rate": 0.01}]')
    return points


def _best(settings: Settings, space: dict[str, Any], given: str) -> list[Point]:
    """The best trials of an earlier experiment: NAME, or NAME:5, by METRIC, MODE and SCOPE."""
    parts = re.fullmatch(r"([A-Za-z0-9_][A-Za-z0-9_.-]*)(?::([1-9][0-9]{0,5}))?", given)
    if parts is None:
        raise ValueError("should be a file.json, an experiment's NAME, or NAME:5 for its best five")
    name, count = parts[1], int(parts[2] or 1)
    storage = Storage(settings.storage_path)
    if not (trials := saved.trials(storage, name)):
        near = nearest(name, experiments(storage), "`list` shows all")
        raise ValueError(f"no such experiment with trials in STORAGE_PATH; {near}")
    by = (settings.metric, settings.mode, settings.scope)
    best = [trial for trial in ranked(trials, *by) if math.isfinite(trial.score(*by))]
    if not best:
        raise ValueError(f"no trial of it has a finite {settings.metric}")
    return [unflatten_dict(trial.parameters) for trial in best[:count]]


def _fitted(point: Point, space: dict[str, Any], *, whole: bool, above: str = "") -> Point:
    """A point's tuned values, as the search space has them. Raises ValueError for one that isn't.

    whole: each hyperparameter must have a value
    """
    found: Point = {}
    for key, value in point.items():
        name = above + key
        if key not in space:
            known = f"known are {', '.join(space)}"
            raise ValueError(f"no hyperparameter {name!r}; {nearest(key, space, known)}")
        domain = space[key]
        if isinstance(domain, dict) and set(domain) != {"grid_search"}:
            if not isinstance(value, dict):
                raise ValueError(f"{name}={value!r} should be an object")
            found[key] = _fitted(value, domain, whole=whole, above=f"{name}/")
        elif isinstance(domain, Domain | dict):
            found[key] = _value(name, value, domain)
        elif domain != value:
            raise ValueError(f"{name}={value!r}, but the search space has it as {domain!r}")
    missing = [key for key, domain in space.items() if isinstance(domain, Domain | dict)]
    if whole and (missing := [key for key in missing if key not in point]):
        raise ValueError(f"{above}{missing[0]} is missing; SEARCH_ALG=random would sample it")
    return found


def _value(name: str, value: Any, domain: Domain | dict[str, Any]) -> Any:
    """The value of a domain that JSON's value stands for: 64 and 64.0 are one number there."""
    if isinstance(domain, dict):
        domain = Categorical(domain["grid_search"])
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if isinstance(domain, Categorical):
        for category in domain.categories:
            if category == value and isinstance(category, bool) == isinstance(value, bool):
                return category
    elif isinstance(domain, Integer):
        if number and value == math.floor(value) and domain.lower <= value < domain.upper:
            return int(value)
    elif isinstance(domain, Float):
        if number and domain.lower <= value <= domain.upper:
            return float(value)
    else:  # `tune.sample_from`: anything may come of it
        return value
    raise ValueError(f"{name}={value!r} is not in {describe(domain)}")
