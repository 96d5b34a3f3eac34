"""The checks before a run: all findings at once, one line each."""

import os
import shutil
from dataclasses import dataclass, field
from importlib.util import find_spec
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
LARGEST_SPACE = 1e6  # bytes; it is saved with each trial and each result


@dataclass
class Preflight:
    """The findings, and what was loaded for the checks.

    storage: the folder STORAGE_PATH; folder: the experiment's folder in it
    record: of the experiment to resume
    search_space: the team's; space: its description for experiment.json
    data, described: what `load_data` returned, and its description by `dataset.describe`
    points: the points of POINTS_TO_EVALUATE
    trials: how many the whole run has
    notes: what is no reason against a run, but worth saying
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
        assert self.storage is not None  # else the run was refused
        return self.storage / str(self.settings.name)

    def check_place(self) -> None:
        """Check that the storage can be written, and that NAME is free, or can be resumed."""
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
            reasons = self._why_not(storage, self.settings.name)
            self.findings += [f"{self.settings.given('name')}: {why}" for why in reasons]

    def _why_not(self, storage: Folder, name: str) -> list[str]:
        """Why NAME can't be used."""
        must_exist = self.settings.resume != "false"
        try:
            with refused(self.folder.path):
                self.record, files = Record.load(self.folder), self.folder.files()
        except Refusal as refusal:
            return [*refusal.findings]
        if must_exist and self.record is not None:
            if foreign := self.record.foreign(self.configuration.project):
                self.record = None  # its settings are another project's
                return [foreign]
            return []
        begun = files and all(is_lock(file) or file.endswith((DIFF, ".part")) for file in files)
        if self.record is None and HALF in files:
            again = f"the same `extend … --into {name}` makes it again, or give another name"
            return [f"an incomplete copy; {again}"]
        if must_exist and begun:
            return ["the first run ended before its first trial; start it without --resume"]
        if must_exist:
            near = nearest(name, experiments(storage), "`list` shows all")
            return [f"no such experiment in {without_password(storage.path)}; {near}"]
        if self.record is not None:
            return ["exists already; --resume resumes it, another name starts a new one"]
        if files and not begun:
            return ["there is a folder of that name that is not an experiment; give another name"]
        return []

    def check_content(self) -> None:
        """Check the machine, search, callbacks, data, and the Trainable on some rows."""
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
            if self.record is not None:  # a resume keeps its points
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
        """Check that tensorboardX is there, if needed, and call `check` of each callback."""
        if "tensorboard" in self.settings.loggers and find_spec("tensorboardX") is None:
            given = f"{self.settings.variable('loggers')}=tensorboard"
            how = "uv add tensorboardX, or leave tensorboard out"
            self.findings.append(f"{given}: tensorboardX is missing; {how}")
            return
        for callback in self.parts.make_callbacks(self.settings):
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
                    f" {most / 1e6:.0f}; pass large objects as tune_run.py passes the data"
                )

    def _check_trainable(self) -> None:
        """Rehearse the Trainable at the corners of the search space; estimate the space needed."""
        settings = self.settings
        try:  # not all data have rows
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
