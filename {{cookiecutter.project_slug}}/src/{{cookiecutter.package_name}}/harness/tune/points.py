"""Warm starts: configurations to try first, from a file or from an earlier experiment."""

import contextlib
import json
import math
import re
from pathlib import Path
from typing import Any

from ray.tune.search.sample import Categorical, Domain, Float, Integer

from ..errors import nearest
from ..settings import RunSettings
from ..store.ranking import Ranking
from ..store.record import Record, experiments
from ..store.saved_trials import flat
from ..store.storage import Folder
from .description import describe
from .space import bounds, constants, filled, nested, plain, variables

Point = dict[str, Any]  # values of hyperparameters, by name


def load_points(settings: RunSettings, space: dict[str, Any]) -> list[Point]:
    """The configurations that POINTS_TO_EVALUATE names, checked against the search space.

    Raises ValueError, in one line, when there are none or one is not in the search space; OSError
    when the storage doesn't answer.
    """
    given = settings.points_to_evaluate
    if given is None:
        return []
    is_file = given.endswith(".json")
    points = _read(Path(given)) if is_file else _best(settings, given)
    if len(points) > settings.num_samples:
        raise ValueError(f"{len(points)} points, and only {settings.num_samples} trials to sample")
    for number, point in enumerate(points, 1):
        try:
            read_point(point, space, whole=settings.search_alg != "random")
        except ValueError as error:
            raise ValueError(f"point {number}: {error}") from None
    return [dict(flat(nested(point), variables(space))) for point in points]


def _read(path: Path) -> list[Point]:
    try:
        points = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ValueError(f"can't be read ({error.strerror})") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"is not JSON ({error})") from None
    if not isinstance(points, list) or not points or not all(isinstance(p, dict) for p in points):
        raise ValueError('should hold a list of configurations: [{"learning_rate": 0.01}]')
    return points


def _best(settings: RunSettings, given: str) -> list[Point]:
    """The best trials of an earlier experiment, NAME or NAME:5, by METRIC, MODE and SCOPE."""
    parts = re.fullmatch(r"([A-Za-z0-9_][A-Za-z0-9_.-]*)(?::([1-9][0-9]{0,5}))?", given)
    if parts is None:
        raise ValueError("should be a file.json, an experiment's NAME, or NAME:5 for its best five")
    name, count = parts[1], int(parts[2] or 1)
    storage = Folder.open(settings.storage_path)
    record = Record.load(storage / name)
    if record is None or not (trials := record.trials()):
        near = nearest(name, experiments(storage), "`list` shows all")
        raise ValueError(f"no such experiment with trials in STORAGE_PATH; {near}")
    best = Ranking.of(settings).best(trials)
    if not best:
        raise ValueError(f"no trial of it has a finite {settings.metric}")
    return [trial.parameters for trial in best[:count]]


def read_point(point: Point, space: dict[str, Any], *, whole: bool) -> Point:
    """The values of a point, by name, as objects of the search space.

    point: JSON, nested or by name
    whole: whether each hyperparameter must have a value

    Raises ValueError when the point is not in the search space.
    """
    known, fixed, found = variables(space), constants(space), Point()
    try:
        point = nested(point)
    except TypeError:
        raise ValueError("a name has both a value and nested values") from None
    for name, value in flat(point, known):
        if name in known:
            found[name] = _value(name, value, known[name][1])
        elif name not in fixed:
            names = f"known are {', '.join(known)}"
            raise ValueError(f"no hyperparameter {name!r}; {nearest(name, known, names)}")
        elif not _same(fixed[name], value):
            text = describe(fixed[name])
            raise ValueError(f"{name}={value!r}, but the search space has it as {text}")
    if whole and (missing := [name for name in known if name not in found]):
        raise ValueError(f"{missing[0]} is missing; SEARCH_ALG=random would sample it")
    return found


def _value(name: str, value: Any, domain: Domain) -> Any:
    """The value of a domain that a JSON value stands for; 64 and 64.0 are the same in JSON."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if isinstance(domain, Categorical):
        for category in domain.categories:
            if isinstance(category, dict) and variables(category) and isinstance(value, dict):
                with contextlib.suppress(ValueError):  # a category may be a search space
                    category = filled(category, read_point(value, category, whole=True))
            if _same(category, value):
                return category
    elif isinstance(domain, Float | Integer):
        lower, upper = bounds(domain)
        if number and isinstance(domain, Integer):
            if value == math.floor(value) and lower <= value <= upper:
                return int(value)
        elif number and any(map(math.isclose, (value, value), (lower, upper))):
            return min(max(float(value), lower), upper)  # a quantised one may be just outside
        elif number and lower <= value <= upper:
            return float(value)
    else:  # `tune.sample_from` may return anything
        return value
    raise ValueError(f"{name}={value!r} is not in {describe(domain)}")


def _same(value: Any, given: Any) -> bool:
    """Whether a value of the search space is this JSON value: 1 is 1.0, but not true."""
    value = plain(value)
    if all(isinstance(one, int | float) and not isinstance(one, bool) for one in (value, given)):
        return bool(value == given)
    return json.dumps(value, sort_keys=True) == json.dumps(given, sort_keys=True)
