"""A rehearsal of the Trainable before a run: a few rows, at the corners of the search space.

It calls what Ray calls (`train`, `save`, `restore`, `reset`, `export_model`, `stop`), so that what
would fail each trial later is one line now.
"""

import inspect
import io
import math
import pickle
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from numbers import Real
from pathlib import Path
from typing import Any

from ray import cloudpickle, tune

from ...settings import Settings
from ..tune.trainable import StoredTrainable

Config = dict[str, Any]
Result = dict[str, Any]
HOOKS = {
    "setup",
    "step",
    "log_result",
    "log_results",
    "save_checkpoint",
    "load_checkpoint",
    "reset_config",
    "_export_model",
    "cleanup",
}
HARNESS = Path(__file__).parents[1]
RAY_KEYS = {"done", "training_iteration", "timesteps_total", "episodes_total"}
SECONDS = 20.0  # a slow model is not tried at every corner


@dataclass
class Outcome:
    """What a rehearsal found; and the bytes of the largest checkpoint."""

    findings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    checkpoint_size: int = 0


def rehearse(
    trainable: Any,
    configs: Sequence[Config],
    data: Any,
    settings: Settings,
    metrics: Sequence[str],
    load_export: Callable[[Path], Any] | None = None,
    seconds: float = SECONDS,
) -> Outcome:
    """Try the Trainable with each configuration, and its whole contract with one of them.

    data: a few rows; metrics: what `step` has to report; load_export: what opens an export;
    seconds: after these, the rest of the configurations is left out
    """
    if reason := _unusable(trainable):
        return Outcome(findings=[reason])
    with (
        tempfile.TemporaryDirectory() as folder,
        redirect_stdout(io.StringIO()),  # in a run it goes to the trial's log
        redirect_stderr(io.StringIO()),
    ):
        try:
            shared = _as_in_a_worker(data)
        except Exception as error:  # whatever does not pickle
            return Outcome([f"load_data: the workers can't be sent what it returns ({error})"])
        rehearsal = _Rehearsal(trainable, configs, shared, settings, metrics, load_export, folder)
        return rehearsal.run(seconds)


def _unusable(trainable: Any) -> str | None:
    """Why a Trainable can't even be made."""
    if not isinstance(trainable, type) or not issubclass(trainable, StoredTrainable):
        name = getattr(trainable, "__name__", trainable)
        return f"{name} should be a class, and a subclass of StoredTrainable"
    try:
        inspect.signature(trainable.setup).bind(None, {}, data=None)
    except TypeError:
        return (
            f"{trainable.__name__}.setup takes no data, which tune_run.py hands over:"
            " `def setup(self, config, data=None)`"
        )
    return None


def _as_in_a_worker(data: Any) -> Any:
    """The data as Ray's object store hands it out: its arrays are read-only."""
    buffers: list[pickle.PickleBuffer] = []
    pickled = cloudpickle.dumps(data, protocol=5, buffer_callback=buffers.append)
    return pickle.loads(pickled, buffers=[buffer.raw().toreadonly() for buffer in buffers])


class _Rehearsal:
    def __init__(
        self,
        trainable: type[StoredTrainable],
        configs: Sequence[Config],
        data: Any,
        settings: Settings,
        metrics: Sequence[str],
        load_export: Callable[[Path], Any] | None,
        folder: str,
    ) -> None:
        self.trainable, self.name = trainable, trainable.__name__
        self.configs, self.data, self.settings = configs, data, settings
        self.metrics, self.load_export, self.folder = metrics, load_export, Path(folder)
        self.package = Path(inspect.getfile(trainable)).parent
        self.saves = settings.checkpoint_frequency > 0 or settings.checkpoint_at_end
        self.outcome = Outcome()
        self.found: dict[Any, tuple[str, Config, list[int]]] = {}  # the corners of each finding
        self.corner = 0
        self.finite: dict[int, bool] = {}  # whether the metrics are, of each corner that reports
        self.used: StoredTrainable | None = None  # a worker to be reused
        self.reused = False

    def run(self, seconds: float) -> Outcome:
        start, tried = time.monotonic(), 0
        for config in self.configs:
            if tried and time.monotonic() - start > seconds:
                break
            self.corner, tried = tried, tried + 1
            with self._blaming(config), tempfile.TemporaryDirectory(dir=self.folder) as scratch:
                self._try(config, Path(scratch))
        if self.used is not None:
            with self._blaming({}):
                self.used.stop()
        notes, finite = self.outcome.notes, list(self.finite.values())
        if tried < len(self.configs):
            where = f"{tried} of {len(self.configs)} corners of the search space"
            notes.append(f"only {where} were tried in {seconds:g} s")
        if finite and not any(finite):
            self._find(f"{self.name}.step reports NaN or infinity at each corner", {})
        elif not all(finite):
            count = f"{finite.count(False)} of {len(finite)}"
            notes.append(f"NaN or infinity at {count} corners of the search space")
        self.outcome.findings = [self._line(*found) for found in self.found.values()]
        return self.outcome

    def _try(self, config: Config, scratch: Path) -> None:
        """One corner: a trial that reports and saves. The first good one does all the rest too."""
        trial = self._make(config)
        result = self._train(trial, config)
        values = [result[name] for name in self.metrics if isinstance(result.get(name), Real)]
        self.finite[self.corner] = all(map(math.isfinite, values))
        saved = self._save(trial, scratch) if self.saves else None
        if self.used is not None:
            if not self.reused:
                self._reuse(self.used, config, result)
        elif self.finite[self.corner]:
            self.used = trial
            following = self._train(trial, config)
            if saved is not None:
                self._restore(saved, config, [result, following])
            if self.settings.export_formats:
                self._export(trial, config)
            if self.corner == len(self.configs) - 1:
                self._reuse(trial, config, result)
            return
        trial.stop()

    def _make(self, config: Config) -> StoredTrainable:
        resources = self.settings.resources_per_trial
        return self.trainable.without_ray(config, self.data, self.folder, resources)

    def _train(self, trial: StoredTrainable, config: Config) -> Result:
        """One iteration. Returns what `log_result` was given: empty when the trial is over."""
        given: list[Result] = []
        log_result = type(trial).log_result

        def caught(result: Result) -> None:
            given.append(dict(result))
            with self._blaming(config):
                log_result(trial, result)

        trial.log_result = caught  # type: ignore[method-assign]
        trial.train()
        for result in given:
            self._look_at(trial, result, config)
        return given[0] if given else {}

    def _look_at(self, trial: StoredTrainable, result: Result, config: Config) -> None:
        """Stoppers and loggers look up each of METRICS in each result."""
        filled: dict[str, Any] = trial.get_auto_filled_metrics()
        own = [key for key in result if key not in filled and key not in RAY_KEYS]
        for name in self.metrics:
            if name not in result:
                self._find(
                    f"{self.name}.step does not report {name!r}, which METRICS in settings.py"
                    f" names; it reports {', '.join(map(repr, own)) or 'nothing'}",
                    config,
                )
            elif not isinstance(result[name], Real):
                kind = type(result[name]).__name__
                self._find(
                    f"{self.name}.step reports {name!r} as {kind}; a plain number is expected",
                    config,
                )

    def _save(self, trial: StoredTrainable, scratch: Path) -> Any:
        """Save, measure, and move the folder, as Ray does."""
        saved = trial.save(str(scratch / "saved"))
        size = sum(file.stat().st_size for file in (scratch / "saved").rglob("*"))
        self.outcome.checkpoint_size = max(self.outcome.checkpoint_size, size)
        moved = (scratch / "saved").rename(scratch / "moved")
        return type(saved)(checkpoint=tune.Checkpoint(str(moved)), metrics=saved.metrics)

    def _restore(self, saved: Any, config: Config, results: list[Result]) -> None:
        other = self._make(config)
        other.restore(saved)
        if difference := self._difference(config, results, self._train(other, config)):
            self._find(
                f"{self.name}: a restored trial does not repeat the next result ({difference}):"
                " save_checkpoint and load_checkpoint miss part of the state",
                config,
            )
        other.stop()

    def _reuse(self, used: StoredTrainable, config: Config, result: Result) -> None:
        """Let a worker that has trained take this configuration. It may say no."""
        self.reused = True
        if not self.settings.reuse_actors or not used.reset(dict(config)):
            return
        if difference := self._difference(config, [result], self._train(used, config)):
            self._find(
                f"{self.name}.reset_config: a reused worker does not repeat the result of a new"
                f" one ({difference}): begin anew in it, or return False",
                config,
            )

    def _difference(self, config: Config, expected: list[Result], result: Result) -> str | None:
        """The first metric of `result` that is not as expected last.

        A metric that a new trial of this configuration does not repeat either, as a time, does not
        count.
        """
        last = expected[-1]
        differing = [name for name in self.metrics if not _same(last.get(name), result.get(name))]
        if not differing or not result:
            return None
        fresh = self._make(config)
        again = [self._train(fresh, config) for _ in expected]
        fresh.stop()
        repeated = [
            name
            for name in self.metrics
            if all(_same(a.get(name), b.get(name)) for a, b in zip(expected, again, strict=True))
        ]
        if not repeated:
            note = "two trials of one configuration and seed differ: a resume was not compared"
            self.outcome.notes += [note] if note not in self.outcome.notes else []
        for name in differing:
            if name in repeated:
                return f"{name} {result[name]:.6g} != {last[name]:.6g}"
        return None

    def _export(self, trial: StoredTrainable, config: Config) -> None:
        formats, method = self.settings.export_formats, f"{self.name}._export_model"
        if self.trainable._export_model is tune.Trainable._export_model:
            self.outcome.notes.append(f"{self.name} has no _export_model: no model is exported")
            return
        exported = trial.export_model(list(formats))
        if missing := [name for name in formats if name not in exported]:
            self._find(f"{method} returns no file of the format {missing[0]!r}", config)
        for name, path in exported.items():
            file, given = Path(path), Path(trial.logdir)
            if not file.is_file() or given.resolve() not in file.resolve().parents:
                self._find(
                    f"{method} returns {str(path)!r} for {name!r}; expected is a file in the folder"
                    " that it is given",
                    config,
                )
            elif name == "model" and self.load_export is not None:
                with self._blaming(config, "load_export"):
                    self._predict(self.load_export(file), config)

    def _predict(self, model: Any, config: Config) -> None:
        examples = getattr(self.data, "examples", None)
        if examples is None:
            return
        if (count := len(model.predict(examples))) != len(examples):
            what = f"{count} predictions for {len(examples)} rows"
            self._find(f"load_export: the exported model makes {what}", config)

    @contextmanager
    def _blaming(self, config: Config, what: str | None = None) -> Iterator[None]:
        """Make a finding of whatever a team's code raises: which method, what, where."""
        try:
            yield
        except (Exception, SystemExit) as error:
            method, place = what, ""
            for frame, line in traceback.walk_tb(error.__traceback__):
                code = frame.f_code
                if code.co_name in HOOKS and isinstance(frame.f_locals.get("self"), self.trainable):
                    method = f"{self.name}.{code.co_name}"
                file = Path(code.co_filename)
                if self.package in file.parents and HARNESS not in file.parents:
                    place = f" ({file.relative_to(self.package)}:{line})"
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            key = (method, type(error), place)
            self._find(f"{method or self.name} fails with {reason}{place}", config, key)

    def _find(self, text: str, config: Config, key: Any = None) -> None:
        """Keep a finding, once: another corner's is counted."""
        *_, corners = self.found.setdefault(key or text, (text, config, []))
        if self.corner not in corners:
            corners.append(self.corner)

    def _line(self, text: str, config: Config, corners: list[int]) -> str:
        brief = self._brief(config)
        if not brief or len(corners) == len(self.configs):
            return text
        others = len(corners) - 1
        more = f", and at {others} more corners of the search space" if others else ""
        return f"{text}, with {brief}{more}"

    def _brief(self, config: Config) -> str:
        """The hyperparameters in which the corners differ."""
        return " ".join(
            f"{key}={value!s:.40}"
            for key, value in config.items()
            if any(repr(other.get(key)) != repr(value) for other in self.configs)
        )


def _same(one: Any, other: Any) -> bool:
    """Whether two values of a metric are equal; sums in another order may differ in the end."""
    if not isinstance(one, Real) or not isinstance(other, Real):
        return True  # a finding of its own
    both_nan = math.isnan(one) and math.isnan(other)
    return both_nan or math.isclose(one, other, rel_tol=1e-4, abs_tol=1e-7)
