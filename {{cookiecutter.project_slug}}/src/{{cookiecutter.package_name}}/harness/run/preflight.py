"""What is checked before anything starts: all findings at once, one line each."""

import importlib.util
import math
import os
import shutil
from dataclasses import dataclass, field
from typing import Any

import ray
from ray.tune import Callback
from ray.tune.search.sample import Categorical, Float

from ...data import Data
from ...search_space import search_space
from ...settings import METRICS, PREFIX, Settings
from ...trainable import ExperimentTrainable
from ...tune_run import make_search
from ..configuration import Configuration, Refusal, nearest, part, without_password
from ..store import dataset
from ..store.lock import is_lock
from ..store.record import DIFF, HALF, Record, experiments
from ..store.storage import Storage
from ..tune.points import load_points
from ..tune.search import MUTABLE, Point, count_trials, mutations
from ..tune.space import corners, describe_space, variables, with_stand_ins
from .rehearsal import rehearse

GIGABYTE = 1e9
LARGEST_CODE = 95e6  # bytes; Ray refuses to ship more than 95 MiB with a trial
LARGEST_SPACE = 1e6  # bytes; it is written with each trial, and with each of its results
EXTRAS = {"tensorboard": "tensorboardX"}
RAY_NAMES = {"cpu": "CPU", "gpu": "GPU"}


@dataclass
class Preflight:
    """What was found, and what was loaded on the way.

    described: what `dataset.describe` says of the data; None when it can't be loaded
    """

    storage: Storage | None = None
    record: Record | None = None
    space: dict[str, str] = field(default_factory=dict)  # as experiment.json has it
    data: Data | None = None
    described: dict[str, Any] | None = None
    points: list[Point] = field(default_factory=list)
    trials: int = 0  # that a run has, from its beginning to its end
    findings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def raise_findings(self) -> None:
        if self.findings:
            raise Refusal(*self.findings)


def check(configuration: Configuration) -> Preflight:
    """Check the storage, and that NAME is free, or there to go on with. Nothing is left behind."""
    result = Preflight()
    try:
        result.space = describe_space(search_space())
    except ValueError as error:
        raise Refusal(f"search_space.py: {error}") from None
    _check_storage(configuration, result)
    if result.storage is not None:
        _check_name(configuration, result, must_exist=configuration.settings.resume != "false")
    return result


def check_content(configuration: Configuration, result: Preflight) -> None:
    """Check what this machine has, the data, and the search space on some of the data."""
    settings = configuration.settings
    _check_machine(configuration, result)
    _check_search(settings, result)
    _check_scheduler(settings, result)
    _check_size(result)
    if (its_tracker := part("tracker")) is not None:
        result.findings += its_tracker.check(settings)
    try:
        result.data = dataset.load(settings.data_path, settings.target)
    except Refusal as refusal:
        result.findings += refusal.findings
        return
    result.described = dataset.describe(result.data)
    if settings.check_search_space:
        _check_trainable(settings, result, result.data)


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def _storage_finding(settings: Settings, reason: str) -> str:
    return f"{PREFIX}STORAGE_PATH={without_password(settings.storage_path)!r}: {reason}"


def _check_storage(configuration: Configuration, result: Preflight) -> None:
    settings = configuration.settings
    try:
        storage = Storage(settings.storage_path)
        storage.probe()
    except OSError as error:
        # pyarrow wraps the reason in where it was found.
        reason = without_password(str(error).splitlines()[0].rpartition("Detail: ")[2])
        result.findings.append(_storage_finding(settings, f"can't be written ({reason})"))
    else:
        result.storage = storage


def _check_machine(configuration: Configuration, result: Preflight) -> None:
    settings = configuration.settings
    if os.name == "posix" and shutil.which("bash") is None:
        result.findings.append("PATH: Ray needs bash to start a worker, and there is none")
    for logger in settings.loggers:
        if logger in EXTRAS and importlib.util.find_spec(EXTRAS[logger]) is None:
            result.findings.append(
                f"{PREFIX}LOGGERS={logger}: {EXTRAS[logger]} is missing; uv add {EXTRAS[logger]},"
                f" or leave {logger} out"
            )
    free = result.storage.free_bytes() if result.storage else None
    if free is not None and free < settings.min_free_gb * GIGABYTE:
        wanted = f"{PREFIX}MIN_FREE_GB={settings.min_free_gb:g}"
        result.findings.append(
            _storage_finding(settings, f"{free / GIGABYTE:.1f} GB free, {wanted}")
        )


def _check_search(settings: Settings, result: Preflight) -> None:
    """Check the search algorithm against the search space, and the points to begin with."""
    algorithm, given = settings.search_alg, f"{PREFIX}SEARCH_ALG={settings.search_alg!r}"
    if algorithm != "random" and importlib.util.find_spec(algorithm) is None:
        result.findings.append(f"{given}: {algorithm} is missing; uv sync --extra {algorithm}")
        return
    space = search_space()
    try:
        if result.record is not None:  # they are chosen once
            result.points = result.record.content.get("points", [])
        elif result.storage is not None:
            result.points = load_points(settings, space)
    except (OSError, ValueError) as error:
        points = f"{PREFIX}POINTS_TO_EVALUATE={settings.points_to_evaluate!r}"
        result.findings.append(f"{points}: {error}")
    result.trials = count_trials(settings, space, result.points)
    if algorithm == "random":
        return
    for name, (_, domain) in variables(space).items():
        if domain.is_grid():
            reason = f"it takes no grid, and {name} is one; SEARCH_ALG=random does"
        elif isinstance(domain, Categorical) and any(variables({"": c}) for c in domain.categories):
            reason = f"it takes no search space in a choice, as {name} has; SEARCH_ALG=random does"
        elif algorithm == "nevergrad" and isinstance(domain, Float) and math.isinf(domain.upper):
            reason = f"it needs bounds, and {name} has none"
        else:
            continue
        result.findings.append(f"{given}: {reason}")
        return
    try:
        search = make_search(settings, result.points)
        search.set_search_properties(settings.metric, settings.mode, with_stand_ins(space))
    except Exception as error:  # whatever a searcher says of the space is the finding
        result.findings.append(f"{given}: search space: {str(error).splitlines()[0]}")


def _check_scheduler(settings: Settings, result: Preflight) -> None:
    """Refuse what a scheduler can't work with, instead of letting it do nothing."""
    name, space, found = settings.scheduler, search_space(), list[str]()
    concurrent = f"{PREFIX}MAX_CONCURRENT_TRIALS={settings.max_concurrent_trials}"
    grace = f"{PREFIX}GRACE_ITERATIONS={settings.grace_iterations}"
    if name in {"hyperband", "pbt"} and settings.checkpoint_frequency == 0:
        found.append(f"it needs checkpoints; {PREFIX}CHECKPOINT_FREQUENCY=0 makes none")
    if name in {"asha", "median", "pbt"} and settings.grace_iterations > settings.max_iterations:
        found.append(f"{grace} is more than {PREFIX}MAX_ITERATIONS={settings.max_iterations}")
    if name == "hyperband" and settings.max_concurrent_trials:
        found.append(f"trials wait for each other; {concurrent} should be 0")
    if name == "pbt":
        known = mutations(space)
        unknown = [key for key in MUTABLE if key not in known]
        if settings.search_alg != "random":
            found.append(f"it searches by itself; {PREFIX}SEARCH_ALG should be random")
        if not MUTABLE or unknown:
            which = f"{unknown[0]!r}, which is not sampled" if unknown else "no hyperparameter"
            found.append(f"it changes what MUTABLE in search_space.py names: {which}")
        if settings.max_concurrent_trials == 1:
            found.append(f"it compares trials side by side; {concurrent} should be 0 or 2, 3 …")
        if result.trials == 1:
            found.append(f"it compares trials; {PREFIX}NUM_SAMPLES=1 is one alone")
    result.findings += [f"{PREFIX}SCHEDULER={name!r}: {reason}" for reason in found]


def _check_name(configuration: Configuration, result: Preflight, *, must_exist: bool) -> None:
    settings, storage = configuration.settings, result.storage
    assert storage is not None
    given = f"{PREFIX}NAME={settings.name!r}"
    if settings.name is None:
        return
    try:
        result.record = Record.load(storage, settings.name)
    except (OSError, Refusal) as error:
        result.findings.append(f"{given}: {error}")
        return
    if must_exist and result.record is not None and (foreign := result.record.foreign()):
        result.findings.append(f"{given}: {foreign}")
        result.record = None  # no setting of it means anything here
        return
    files = storage.files(settings.name)
    begun = files and all(is_lock(file) or file.endswith((DIFF, ".part")) for file in files)
    if result.record is None and HALF in files:
        result.findings.append(
            f"{given}: a copy that was cut off; the same `extend … --into {settings.name}` makes it"
            " anew, or give another name"
        )
    elif must_exist and begun:
        result.findings.append(
            f"{given}: the first run was ended before it began; start it without --resume"
        )
    elif must_exist and result.record is None:
        result.findings.append(
            f"{given}: no such experiment in {without_password(storage.path)};"
            f" {nearest(settings.name, experiments(storage), '`list` shows all')}"
        )
    elif not must_exist and result.record is not None:
        result.findings.append(
            f"{given}: exists already; --resume goes on with it, another name starts anew"
        )
    elif not must_exist and files and not begun:
        result.findings.append(
            f"{given}: there is a folder of that name, which is no experiment; give another name"
        )


def _check_trainable(settings: Settings, result: Preflight, data: Data) -> None:
    """Rehearse the trial's methods at the corners of the search space; measure a checkpoint."""
    try:
        sample = getattr(data, "sample", lambda: data)()  # a simulation may have no rows
    except Exception as error:  # whatever a team's data raises
        reason = f"{type(error).__name__}: {_first_line(error)}"
        result.findings.append(f"data.py: {type(data).__name__}.sample fails with {reason}")
        return
    try:
        configs = corners({"seed": settings.seed, **search_space()})
    except ValueError as error:
        result.findings.append(f"search_space.py: {_first_line(error)}")
        return
    load_export = getattr(part("model"), "load_export", None)
    found = rehearse(ExperimentTrainable, configs, sample, settings, METRICS, load_export)
    result.findings += found.findings
    result.notes += found.notes
    each = settings.num_to_keep + 1 + bool(settings.export_formats)
    needed, storage = found.checkpoint_size * each * result.trials, result.storage
    free = storage.free_bytes() if storage else None
    result.notes.append(f"up to {needed / 1e6:,.1f} MB of checkpoints and exports")
    if free is not None and needed > free:
        result.findings.append(
            _storage_finding(
                settings,
                f"{needed / GIGABYTE:.1f} GB needed for {result.trials} trials,"
                f" {free / GIGABYTE:.1f} GB free; lower {PREFIX}NUM_TO_KEEP or the trials",
            )
        )


def _check_size(result: Preflight) -> None:
    from ray import cloudpickle

    for name, shipped, most in (
        ("ExperimentTrainable", ExperimentTrainable, LARGEST_CODE),
        ("search space", search_space(), LARGEST_SPACE),
    ):
        size = len(cloudpickle.dumps(shipped))
        if size > most:
            result.findings.append(
                f"{name}: {size / 1e6:.0f} MB would go to the workers with each trial, at most"
                f" {most / 1e6:.0f}; hand large objects over as tune_run.py does the data"
            )


class ResourceCallback(Callback):
    """Refuses a trial that no node can ever hold; Ray would let it wait for ever."""

    def __init__(self, wanted: dict[str, float], wait: bool) -> None:
        self.wanted = {
            RAY_NAMES.get(name, name): amount for name, amount in wanted.items() if amount
        }
        self.wait = wait

    def setup(self, *_: Any, **info: Any) -> None:
        if self.wait:
            return
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        if not any(
            all(node.get(name, 0) >= amount for name, amount in self.wanted.items())
            for node in nodes
        ):
            largest = {name: max(node.get(name, 0) for node in nodes) for name in self.wanted}
            raise Refusal(
                f"{PREFIX}RESOURCES_PER_TRIAL={self.wanted}: no node has all of it (most on one"
                f" node: {largest}); {PREFIX}WAIT_FOR_RESOURCES=true waits for one that will come"
            )
