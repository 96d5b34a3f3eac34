"""Opens an experiment again, in a notebook or for a command, without starting Ray.

    night = open_experiment("night")
    night.best_config, night.best_checkpoint, night.trials_table(), night.study()

Ray's state holds pickles: to open an experiment executes what its author wants.
"""

import logging
import math
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

import pandas as pd
from pydantic import ValidationError
from ray.tune import Checkpoint
from ray.tune.analysis import ExperimentAnalysis
from ray.tune.experiment import Trial

from ...settings import PREFIX, Settings
from ..cli.listing import find, outcome
from ..configuration import FLAG, Configuration, Refusal
from ..run import resume as state
from ..run.outcome import best_trial, cause, score
from ..store import saved_trials as saved
from ..store import tables
from ..store.record import OF_THE_COMMAND, Record
from ..tune.space import chosen

if TYPE_CHECKING:
    import optuna

CONFIG = "config/"


class Experiment(ExperimentAnalysis):
    """Ray's ExperimentAnalysis of a recorded experiment; the best is by METRIC, MODE and SCOPE.

    What Ray's class offers is there: `trials` (in the order in which they were sampled),
    `trial_dataframes` (trial id → one row a result), `dataframe()`, `results_df`.

    settings: those of the experiment, but for those that were given anew
    record: experiment.json
    outcome: how the last run ended: "done", "trials failed", "running", "killed", …
    damaged: the trials whose tables lack results, a line each
    """

    def __init__(self, record: Record, settings: Settings) -> None:
        self.record, self.settings, self.storage = record, settings, record.storage
        self.outcome, self.damaged = outcome(record), list[str]()
        self._folder = f"{self.storage.root.rstrip('/')}/{record.name}"
        file = saved.newest(self.storage, record.name)
        with _ray_says_nothing():
            super().__init__(
                f"{self._folder}/{file}",
                storage_filesystem=record.storage.filesystem,
                default_metric=settings.metric,
                default_mode=settings.mode,
            )

    def _load_trials(self) -> list[Trial]:
        self._experiment_fs_path = self._folder  # Ray takes the folder of the state file
        return sorted(super()._load_trials(), key=_sampled)

    def _fetch_trial_dataframe(self, trial: Trial) -> pd.DataFrame:
        """One row a result, of result.json, or of progress.csv where that has more.

        Without both (LOGGERS, or a trial that never reported) there is no row.
        """
        last = (trial.last_result or {}).get(tables.ITERATION, 0)
        best, found = pd.DataFrame(), list[str]()
        for file in tables.FILES if last else ():
            content = self.storage.read(self.record.name, str(trial.relative_logdir), file)
            if content is None:
                continue
            table = tables.results(file, content)
            if len(table) and table[tables.ITERATION].iloc[-1] >= last:
                return table
            best = max(best, table, key=len)
            found.append(file)
        if found and self.outcome != "running":  # while it runs, they are copied now and then
            there = best[tables.ITERATION].iloc[-1] if len(best) else 0
            self.damaged.append(
                f"{trial.relative_logdir}: results can be read up to iteration {there} of {last}"
                f" ({', '.join(found)})"
            )
        return best

    def _retrieve_rows(
        self, metric: str | None = None, mode: str | None = None
    ) -> dict[str, dict[str, Any]]:
        """One result a trial. Where METRIC never was a number, on which Ray's fails: the last."""
        rows = {}
        for path, table in self.trial_dataframes.items():
            position = -1
            if mode and metric in table and len(known := table.dropna(subset=[metric])):
                table, column = known, known[metric]
                position = int(column.argmax() if mode == "max" else column.argmin())
            if len(table):
                rows[path] = {str(key): value for key, value in table.iloc[position].items()}
        return rows

    @property
    def name(self) -> str:
        return self.record.name

    @property
    def finished(self) -> bool:
        """Whether every trial that the experiment wanted has ended."""
        return self.outcome in {"done", "trials failed"}

    @property
    def has_history(self) -> bool:
        """Whether results were logged (LOGGERS with csv or json); else each trial's last is all."""
        return any(len(table) for table in self.trial_dataframes.values())

    @cached_property
    def best_trial(self) -> Trial | None:  # type: ignore[override]  # Ray's may be None too
        """The trial with the best finite METRIC, by MODE and SCOPE; None when none has one."""
        with _ray_says_nothing():
            return best_trial(self, self.settings)

    @property
    def best_value(self) -> float | None:
        """What METRIC is of the best trial, by SCOPE."""
        return score(self.best_trial, self.settings) if self.best_trial else None

    @property
    def best_config(self) -> dict[str, Any] | None:  # type: ignore[override]
        return dict(self.best_trial.config) if self.best_trial else None

    @property
    def best_checkpoint(self) -> Checkpoint | None:  # type: ignore[override]
        """The best trial's checkpoint with the best METRIC, of those that were kept."""
        return self.get_best_checkpoint(self.best_trial) if self.best_trial else None

    def get_best_checkpoint(
        self, trial: Trial, metric: str | None = None, mode: str | None = None
    ) -> Checkpoint | None:
        """The checkpoint of a trial with the best metric that is there; None for none.

        The saved state of a killed run may name some that are deleted by now.
        """
        sign = 1 if (mode or self.settings.mode) == "max" else -1
        with _ray_says_nothing():
            found = self._get_trial_checkpoints_with_metric(trial, metric or self.settings.metric)
        there = self.storage.files(self.name, str(trial.relative_logdir))
        usable = [
            (sign * float(value), checkpoint)  # type: ignore[arg-type]
            for checkpoint, value in found
            if _finite(value)
            if checkpoint.path.rpartition("/")[2] in there
        ]
        return max(usable, key=lambda pair: pair[0])[1] if usable else None

    @property
    def results_df(self) -> pd.DataFrame:
        """The last result of each trial, by trial id; a trial that never reported has an empty row.

        The hyperparameters are columns called `config/…`.
        """
        last = [{**trial.last_result, "trial_id": trial.trial_id} for trial in self.trials]
        table = pd.json_normalize(last, sep="/")
        return table.set_index("trial_id") if last else table

    def trials_table(self) -> pd.DataFrame:
        """One row a trial, in the order in which they were sampled.

        trial_id, status ("completed", "stopped early", "not finite", "failed", "running",
        "unfinished", "pending", "not started"), METRIC by SCOPE, training_iteration (results so
        far), time_total_s (seconds), a column `config/…` for each hyperparameter, and error (the
        last line of a failed trial's traceback).
        """
        metric = self.settings.metric
        rows = []
        for trial in self.trials:
            result = trial.last_result or {}
            error = cause(trial).splitlines()[-1:] if trial.status == Trial.ERROR else []
            rows.append(
                {
                    "trial_id": trial.trial_id,
                    "status": self.status(trial),
                    metric: score(trial, self.settings),
                    "training_iteration": result.get("training_iteration", 0),
                    "time_total_s": result.get("time_total_s", math.nan),
                    **{CONFIG + key: value for key, value in self.parameters(trial).items()},
                    "error": "".join(error) or None,
                }
            )
        return pd.DataFrame(rows)

    def results_table(self) -> pd.DataFrame:
        """One row a result of any trial, as the loggers wrote them; empty without csv and json."""
        tables = [self.trial_dataframes[trial.trial_id] for trial in self.trials]
        tables = [table for table in tables if len(table)]
        return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()

    def parameters(self, trial: Trial) -> dict[str, Any]:
        """What was chosen for a trial, by name; `outer/inner` for what is nested."""
        return chosen(trial.config, self.record.tuned)

    def status(self, trial: Trial) -> str:
        """How a trial ended, or where it is, in a word or two."""
        running = self.outcome == "running"
        last, settings = trial.last_result or {}, self.settings
        return saved.word(trial.status, last, settings.metric, settings.max_iterations, running)

    def study(self, storage: str | None = None) -> "optuna.Study":
        """The trials as an Optuna study, for its plots, importances and dashboard.

        storage: where it is kept, `sqlite:///study.db`; default: in memory.
        """
        from .study import make_study

        return make_study(self, storage=storage)

    def importances(self) -> dict[str, float]:
        """How much of METRIC's variance each hyperparameter explains, the most important first.

        They add up to 1. Empty when there are too few completed trials to tell.
        """
        from .study import importances

        return importances(self.study())


def open_experiment(name: str, storage_path: str | None = None, **instead: Any) -> Experiment:
    """Open the experiment `name`, also one that runs, was interrupted or has failed trials.

    storage_path: a folder or a URI; default: the setting STORAGE_PATH, as for the commands.
    instead: settings to use in place of the experiment's own: metric="training_loss", mode="min".

    Raises Refusal, whose text says it in one line: no such experiment, or nothing saved of it yet.
    """
    given = {"name": name, **instead}
    if storage_path is not None:
        given["storage_path"] = storage_path
    return _open(Settings(**given), set(given))


def open_configured(configuration: Configuration) -> Experiment:
    """Open the experiment NAME for a command, whose flags win over the experiment's settings.

    Raises Refusal.
    """
    given = {field for field, origin in configuration.origins.items() if origin == FLAG}
    return _open(configuration.settings, given)


def _open(settings: Settings, given: set[str]) -> Experiment:
    record = find(settings)
    if not state.exists(record.storage, record.name):
        raise Refusal(f"{PREFIX}NAME={record.name!r}: nothing has been saved of it yet")
    stored = {
        field: entry["value"]
        for field, entry in record.content["settings"].items()
        if field in Settings.model_fields and field not in {*given, *OF_THE_COMMAND}
    }
    values = {**settings.model_dump(), **stored}
    try:
        settings = Settings(**values)
    except ValidationError:  # the project has changed since; to look at it, they need not be valid
        settings = settings.model_copy(update=stored)
    try:
        return Experiment(record, settings)
    except (ValueError, EOFError, pickle.UnpicklingError) as error:
        raise Refusal(
            f"{PREFIX}NAME={record.name!r}: its state is damaged ({type(error).__name__})"
        ) from None
    except (ImportError, AttributeError) as error:
        raise Refusal(
            f"{PREFIX}NAME={record.name!r}: its state needs code that is not here: {error}"
        ) from None


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _sampled(trial: Trial) -> tuple[float, str]:
    """The number of a trial, with which its tag begins, and its id."""
    number = str(trial.experiment_tag).partition("_")[0]
    return (int(number) if number.isdecimal() else math.inf, trial.trial_id)


@contextmanager
def _ray_says_nothing() -> Iterator[None]:
    """Silence Ray's remarks on trials without results or checkpoints: here they are ordinary."""
    logger = logging.getLogger("ray.tune.analysis.experiment_analysis")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)
