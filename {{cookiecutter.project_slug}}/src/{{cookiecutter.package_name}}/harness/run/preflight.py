"""What is checked before anything starts: all findings at once, one line each."""

import importlib.util
import os
import shutil
from dataclasses import dataclass, field
from typing import Any

from ray import cloudpickle

from ..configuration import Configuration
from ..errors import Refusal, nearest, reason, refused, without_password
from ..settings import RunSettings
from ..store import dataset
from ..store.lock import is_lock
from ..store.record import DIFF, HALF, Record, experiments
from ..store.storage import Folder
from ..tune.description import describe_space
from ..tune.points import Point, load_points
from ..tune.search import count_trials
from ..tune.space import corners
from .rehearsal import rehearse
from .search_checks import check_scheduler, check_search

GIGABYTE = 1e9
LARGEST_CODE = 95e6  # bytes; Ray refuses to ship more than 95 MiB with a trial
LARGEST_SPACE = 1e6  # bytes; it is written with each trial, and with each of its results
EXTRAS = {"tensorboard": "tensorboardX"}


@dataclass
class Preflight:
    """What was found, and what was loaded on the way.

    storage: the folder STORAGE_PATH; folder: that of the experiment
    record: of the experiment that is resumed
    search_space: the team's; space: the same as experiment.json has it
    data, described: what `load_data` returned, and what `dataset.describe` says of it
    points: what POINTS_TO_EVALUATE names
    trials: how many a run has, from its beginning to its end
    """

    configuration: Configuration
    storage: Folder | None = None
    record: Record | None = None
    search_space: dict[str, Any] = field(default_factory=dict)
    space: dict[str, str] = field(default_factory=dict)
    data: Any = None
    described: dict[str, Any] | None = None
    points: list[Point] = field(default_factory=list)
    trials: int = 0
    findings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.parts = self.configuration.project.parts()

    @property
    def settings(self) -> RunSettings:
        return self.configuration.settings

    @property
    def folder(self) -> Folder:
        assert self.storage is not None  # or the run was refused
        return self.storage / str(self.settings.name)

    def check_place(self) -> None:
        """Check the storage, and that NAME is free, or there to be resumed. Leaves nothing."""
        try:
            self.search_space = self.parts.search_space()
            self.space = describe_space(self.search_space)
        except ValueError as error:
            raise Refusal(f"search_space.py: {reason(error)}") from None
        try:
            storage = Folder.open(self.settings.storage_path)
            storage.probe()
        except OSError as error:
            given = self.settings.given("storage_path")
            self.findings.append(f"{given}: can't be written ({reason(error)})")
            return
        self.storage = storage
        if self.settings.name is not None:
            reasons = self._name(storage, self.settings.name)
            self.findings += [f"{self.settings.given('name')}: {why}" for why in reasons]

    def _name(self, storage: Folder, name: str) -> list[str]:
        """Why NAME can't be used."""
        must_exist = self.settings.resume != "false"
        try:
            with refused(self.folder.path):
                self.record, files = Record.load(self.folder), self.folder.files()
        except Refusal as refusal:
            return [*refusal.findings]
        if must_exist and self.record is not None:
            if foreign := self.record.foreign(self.configuration.project):
                self.record = None  # no setting of it means anything here
                return [foreign]
            return []
        begun = files and all(is_lock(file) or file.endswith((DIFF, ".part")) for file in files)
        if self.record is None and HALF in files:
            again = f"the same `extend … --into {name}` makes it again, or give another name"
            return [f"a copy that was cut off; {again}"]
        if must_exist and begun:
            return ["the first run was ended before it began; start it without --resume"]
        if must_exist:
            near = nearest(name, experiments(storage), "`list` shows all")
            return [f"no such experiment in {without_password(storage.path)}; {near}"]
        if self.record is not None:
            return ["exists already; --resume resumes it, another name starts a new one"]
        if files and not begun:
            return ["there is a folder of that name that is not an experiment; give another name"]
        return []

    def check_content(self) -> None:
        """Check what this machine has, the data, and the Trainable on some of the data."""
        settings, space = self.settings, self.search_space
        self._check_machine()
        self._find_points()
        self.trials = count_trials(settings, space, self.points)
        self.findings += check_search(settings, space, self.points)
        self.findings += check_scheduler(settings, space, self.parts.mutable, self.trials)
        self._check_size()
        self._check_callbacks()
        self.findings += getattr(self.parts.trainable, "check", lambda _: [])(settings)
        try:
            self.data = dataset.load(self.configuration.project, settings)
        except Refusal as refusal:
            self.findings += refusal.findings
            return
        self.described = dataset.describe(self.data)
        if settings.check_search_space:
            self._check_trainable()

    def _find_points(self) -> None:
        try:
            if self.record is not None:  # they are chosen once
                self.points = self.record.content.get("points", [])
            elif self.storage is not None:
                self.points = load_points(self.settings, self.search_space)
        except (OSError, ValueError, Refusal) as error:
            self.findings.append(f"{self.settings.given('points_to_evaluate')}: {reason(error)}")

    def _check_machine(self) -> None:
        if os.name == "posix" and shutil.which("bash") is None:
            self.findings.append("PATH: Ray needs bash to start a worker, and there is none")
        free = self.storage.free_bytes() if self.storage else None
        if free is not None and free < self.settings.min_free_gb * GIGABYTE:
            wanted = f"{self.settings.variable('min_free_gb')}={self.settings.min_free_gb:g}"
            self._no_room(f"{free / GIGABYTE:.1f} GB free, {wanted}")

    def _check_callbacks(self) -> None:
        """Check what the loggers need, without which they can't be made, and ask each callback."""
        extras = [(name, EXTRAS[name]) for name in self.settings.loggers if name in EXTRAS]
        missing = [
            f"{self.settings.variable('loggers')}={logger}: {extra} is missing;"
            f" uv add {extra}, or leave {logger} out"
            for logger, extra in extras
            if importlib.util.find_spec(extra) is None
        ]
        self.findings += missing
        for callback in [] if missing else self.parts.make_callbacks(self.settings):
            self.findings += getattr(callback, "check", list)()

    def _no_room(self, why: str) -> None:
        self.findings.append(f"{self.settings.given('storage_path')}: {why}")

    def _check_size(self) -> None:
        for name, shipped, most in (
            (self.parts.trainable.__name__, self.parts.trainable, LARGEST_CODE),
            ("search space", self.search_space, LARGEST_SPACE),
        ):
            size = len(cloudpickle.dumps(shipped))
            if size > most:
                self.findings.append(
                    f"{name}: {size / 1e6:.0f} MB would go to the workers with each trial, at most"
                    f" {most / 1e6:.0f}; hand large objects over as tune_run.py does the data"
                )

    def _check_trainable(self) -> None:
        """Rehearse the trial's methods at the corners of the search space; measure a checkpoint."""
        settings = self.settings
        try:  # a simulation may have no rows
            sample = getattr(self.data, "sample", lambda: self.data)()
        except Exception as error:  # whatever a team's data raises
            why = f"{type(error).__name__}: {reason(error)}"
            self.findings.append(f"data.py: {type(self.data).__name__}.sample fails with {why}")
            return
        try:
            configs = corners({"seed": settings.seed, **self.search_space})
        except ValueError as error:
            self.findings.append(f"search_space.py: {reason(error)}")
            return
        found = rehearse(self.parts, configs, sample, settings)
        self.findings += found.findings
        self.notes += found.notes
        exports = settings.export_formats and self.parts.trainable.exports()
        each = settings.num_to_keep + 1 + bool(exports)
        needed = found.checkpoint_size * each * self.trials
        free = self.storage.free_bytes() if self.storage else None
        self.notes.append(f"up to {needed / 1e6:,.1f} MB of checkpoints and exports")
        if free is not None and needed > free:
            self._no_room(
                f"{needed / GIGABYTE:.1f} GB needed for {self.trials} trials,"
                f" {free / GIGABYTE:.1f} GB free; lower {settings.variable('num_to_keep')} or the"
                " trials"
            )
