"""A rehearsal of the Trainable before a run, with a few rows, at the corners of the search space.

It calls the methods that Ray calls (`train`, `save`, `restore`, `reset`, `export_model`, `stop`):
what would make each trial fail later is one line now.
"""

import io
import math
import pickle
import tempfile
import time
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from numbers import Real
from pathlib import Path
from typing import Any

from ray import cloudpickle, tune

from ..project import Parts
from ..settings import RunSettings
from ..tune.trainable import RAY_KEYS, StoredTrainable
from .rehearsal_findings import Config, Findings, same, why_unusable

Result = dict[str, Any]
SECONDS = 20.0  # a slow model is not tried at every corner


@dataclass
class Outcome:
    """What a rehearsal found; `checkpoint_size`: the bytes of the largest checkpoint."""

    findings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    checkpoint_size: int = 0


def rehearse(
    parts: Parts,
    configs: Sequence[Config],
    data: Any,
    settings: RunSettings,
    seconds: float = SECONDS,
) -> Outcome:
    """Train and save with each configuration, and try all other methods with one of them.

    data: a few rows; seconds: after these, no other configuration is tried
    """
    if reason := why_unusable(parts.trainable):
        return Outcome(findings=[reason])
    with (
        tempfile.TemporaryDirectory() as folder,
        redirect_stdout(io.StringIO()),  # in a run it goes to the trial's log
        redirect_stderr(io.StringIO()),
    ):
        try:
            shared = _as_in_a_worker(data)
        except Exception as error:  # whatever pickling raises
            return Outcome([f"load_data: the workers can't be sent what it returns ({error})"])
        return _Rehearsal(parts, configs, shared, settings, Path(folder)).run(seconds)


def _as_in_a_worker(data: Any) -> Any:
    """The data as a worker gets it from Ray's object store: its arrays are read-only."""
    buffers: list[pickle.PickleBuffer] = []
    pickled = cloudpickle.dumps(data, protocol=5, buffer_callback=buffers.append)
    return pickle.loads(pickled, buffers=[buffer.raw().toreadonly() for buffer in buffers])


class _Rehearsal:
    def __init__(
        self,
        parts: Parts,
        configs: Sequence[Config],
        data: Any,
        settings: RunSettings,
        folder: Path,
    ) -> None:
        self.trainable: type[StoredTrainable] = parts.trainable
        self.name, self.load_export = parts.trainable.__name__, parts.load_export
        self.configs, self.data, self.settings, self.folder = configs, data, settings, folder
        self.saves = settings.checkpoint_frequency > 0 or settings.checkpoint_at_end
        self.metrics, self.outcome = settings.METRICS, Outcome()
        self.findings = Findings(parts.trainable, configs)
        self._find = self.findings.add
        self.finite: list[bool] = []  # whether the metrics are, at each corner that reports
        self.used: StoredTrainable | None = None  # a worker to be reused
        self.reused = False

    def run(self, seconds: float) -> Outcome:
        start, tried = time.monotonic(), 0
        for config in self.configs:
            if tried and time.monotonic() - start > seconds:
                break
            self.findings.corner, tried = tried, tried + 1
            with (
                self.findings.blaming(),
                tempfile.TemporaryDirectory(dir=self.folder) as scratch,
            ):
                self._try(config, Path(scratch))
        self.findings.corner = None
        if self.used is not None:
            with self.findings.blaming():
                self.used.stop()
        notes, finite = self.outcome.notes, self.finite
        if tried < len(self.configs):
            where = f"{tried} of {len(self.configs)} corners of the search space"
            notes.append(f"only {where} were tried in {seconds:g} s")
        if finite and not any(finite):
            self._find(f"{self.name}.step reports NaN or infinity at each corner")
        elif not all(finite):
            count = f"{finite.count(False)} of {len(finite)}"
            notes.append(f"NaN or infinity at {count} corners of the search space")
        self.outcome.findings = self.findings.lines()
        return self.outcome

    def _try(self, config: Config, scratch: Path) -> None:
        """Train and save at one corner. The first trial with finite metrics tries the rest, too."""
        trial = self._make(config)
        result = self._train(trial)
        values = [result[name] for name in self.metrics if isinstance(result.get(name), Real)]
        self.finite.append(all(map(math.isfinite, values)))
        saved = self._save(trial, scratch) if self.saves else None
        if self.used is not None:
            if not self.reused:
                self._reuse(self.used, config, result)
        elif self.finite[-1]:
            self.used = trial
            following = self._train(trial)
            if saved is not None:
                self._restore(saved, config, [result, following])
            if self.settings.export_formats:
                self._export(trial)
            if self.findings.corner == len(self.configs) - 1:
                self._reuse(trial, config, result)
            return
        trial.stop()

    def _make(self, config: Config) -> StoredTrainable:
        resources = self.settings.resources_per_trial
        return self.trainable.without_ray(config, self.data, self.folder, resources)

    def _train(self, trial: StoredTrainable) -> Result:
        """One iteration. Returns its result as `log_result` got it; empty if the trial is over."""
        given: list[Result] = []
        log_result = type(trial).log_result

        def caught(result: Result) -> None:
            given.append(dict(result))
            with self.findings.blaming():
                log_result(trial, result)

        trial.log_result = caught  # type: ignore[method-assign]
        trial.train()
        for result in given:
            self._check_metrics(trial, result)
        return given[0] if given else {}

    def _check_metrics(self, trial: StoredTrainable, result: Result) -> None:
        """Check that a result has each of METRICS: stoppers and loggers need them."""
        filled: dict[str, Any] = trial.get_auto_filled_metrics()
        own = [key for key in result if key not in filled and key not in RAY_KEYS]
        for name in self.metrics:
            if name not in result:
                self._find(
                    f"{self.name}.step does not report {name!r}, which METRICS in settings.py"
                    f" names; it reports {', '.join(map(repr, own)) or 'nothing'}"
                )
            elif not isinstance(result[name], Real):
                kind = type(result[name]).__name__
                self._find(
                    f"{self.name}.step reports {name!r} as {kind}; a plain number is expected"
                )

    def _save(self, trial: StoredTrainable, scratch: Path) -> Any:
        """Save a checkpoint, measure it, and move its folder, as Ray does."""
        saved = trial.save(str(scratch / "saved"))
        size = sum(file.stat().st_size for file in (scratch / "saved").rglob("*"))
        self.outcome.checkpoint_size = max(self.outcome.checkpoint_size, size)
        moved = (scratch / "saved").rename(scratch / "moved")
        return type(saved)(checkpoint=tune.Checkpoint(str(moved)), metrics=saved.metrics)

    def _restore(self, saved: Any, config: Config, results: list[Result]) -> None:
        other = self._make(config)
        other.restore(saved)
        if difference := self._difference(config, results, self._train(other)):
            self._find(
                f"{self.name}: a restored trial does not repeat the next result ({difference}):"
                " save_checkpoint and load_checkpoint miss part of the state"
            )
        other.stop()

    def _reuse(self, used: StoredTrainable, config: Config, result: Result) -> None:
        """Reuse a trial's worker for this configuration, as Ray does."""
        self.reused = True
        if not self.settings.reuse_actors:
            return
        instead = f"start over in it, or set {self.settings.variable('reuse_actors')}=false"
        if not used.reset(dict(config)):
            self._find(
                f"{self.name}.reset_config does not return True, and Ray would fail the trial:"
                f" {instead}"
            )
        elif difference := self._difference(config, [result], self._train(used)):
            self._find(
                f"{self.name}.reset_config: a reused worker does not repeat the result of a new"
                f" one ({difference}): {instead}"
            )

    def _difference(self, config: Config, expected: list[Result], result: Result) -> str | None:
        """The first metric of `result` that differs from the last of the expected results.

        A metric that a new trial doesn't repeat either, such as a time, does not count.
        """
        last = expected[-1]
        differing = [name for name in self.metrics if not same(last.get(name), result.get(name))]
        if not differing or not result:
            return None
        fresh = self._make(config)
        again = [self._train(fresh) for _ in expected]
        fresh.stop()
        repeated = [
            name
            for name in self.metrics
            if all(same(a.get(name), b.get(name)) for a, b in zip(expected, again, strict=True))
        ]
        if self.settings.metric in set(differing) - set(repeated):
            note = "two trials of one configuration and seed differ: a resume was not compared"
            self.outcome.notes += [note] if note not in self.outcome.notes else []
        for name in differing:
            if name in repeated:
                return f"{name} {result[name]:.6g} != {last[name]:.6g}"
        return None

    def _export(self, trial: StoredTrainable) -> None:
        formats, method = self.settings.export_formats, f"{self.name}._export_model"
        if not self.trainable.exports():
            self.outcome.notes.append(f"{self.name} has no _export_model: no model is exported")
            return
        exported = trial.export_model(list(formats))
        if missing := [name for name in formats if name not in exported]:
            self._find(f"{method} returns no file of the format {missing[0]!r}")
        for name, path in exported.items():
            file, given = Path(path), Path(trial.logdir)
            if not file.is_file() or given.resolve() not in file.resolve().parents:
                self._find(
                    f"{method} returns {str(path)!r} for {name!r}; expected is a file in the folder"
                    " that it is given"
                )
            elif name == "model" and self.load_export is not None:
                with self.findings.blaming("load_export"):
                    self._predict(self.load_export(file))

    def _predict(self, model: Any) -> None:
        examples = getattr(self.data, "examples", None)
        if examples is None:
            return
        if (count := len(model.predict(examples))) != len(examples):
            what = f"{count} predictions for {len(examples)} rows"
            self._find(f"load_export: the exported model makes {what}")
