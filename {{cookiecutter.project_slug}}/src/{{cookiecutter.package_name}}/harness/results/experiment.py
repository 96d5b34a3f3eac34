"""Opens an experiment, in a notebook or for a command, without starting Ray.

    night = open_experiment(PROJECT, "night")
    night.best_config, night.best_checkpoint, night.trials_table(), night.study()

Ray's saved state contains pickles: only open experiments of people you trust.
"""

import math
import pickle
from collections.abc import Callable, Collection
from functools import cached_property
from typing import TYPE_CHECKING, Any

import pandas as pd
from ray.tune import Checkpoint
from ray.tune.experiment import Trial

from ..configuration import Configuration
from ..errors import Refusal, refused
from ..project import Project
from ..settings import RunSettings
from ..store.record import Record
from ..tune.failures import last_line
from .analysis import SavedAnalysis

if TYPE_CHECKING:
    import optuna

CONFIG = "config/"


class Experiment(SavedAnalysis):
    """An opened experiment. Its best trial is the best by METRIC, MODE and SCOPE.

    It has all that Ray's class has: `trials` (in the order in which they were sampled),
    `trial_dataframes` (trial id → one row for each result), `dataframe()`, `results_df`. Of one
    trial, `history(trial)` is METRIC by iteration, `parameters(trial)` its hyperparameters, and
    `status(trial)` how it ended.

    Attributes
    ----------
    project : Project
    record : Record
        experiment.json.
    settings : RunSettings
        The experiment's own, except those given to `open_experiment`.
    outcome : str
        How the last run ended: "done", "trials failed", "running", "killed", …
    damaged : list of str
        One line for each trial whose tables lack results.
    """

    @property
    def name(self) -> str:
        return self.record.name

    @property
    def finished(self) -> bool:
        """Whether all trials have ended."""
        return self.outcome in {"done", "trials failed"}

    @property
    def has_history(self) -> bool:
        """Whether all results were logged (LOGGERS has csv or json), not only each trial's last."""
        return any(len(table) for table in self.trial_dataframes.values())

    @cached_property
    def best_trial(self) -> Trial | None:  # type: ignore[override]  # Ray's may be None too
        """The trial with the best finite METRIC, by MODE and SCOPE; None without one."""
        return next(iter(self.ranking.best(self.trials)), None)

    @property
    def best_value(self) -> float | None:
        """METRIC of the best trial, by SCOPE."""
        return self.ranking.score(self.best_trial) if self.best_trial else None

    @property
    def best_config(self) -> dict[str, Any] | None:  # type: ignore[override]
        """The hyperparameters of the best trial, nested as in the search space, and `seed`."""
        return dict(self.best_trial.config) if self.best_trial else None

    @property
    def best_checkpoint(self) -> Checkpoint | None:  # type: ignore[override]
        """The kept checkpoint of the best trial that has the best METRIC."""
        return self.get_best_checkpoint(self.best_trial) if self.best_trial else None

    def trials_table(self, *, best_first: bool = False) -> pd.DataFrame:
        """A table of the trials, in the order in which they were sampled.

        Parameters
        ----------
        best_first : bool
            Sort by METRIC, the best first; trials without a finite one are last.

        Returns
        -------
        pandas.DataFrame, one row for each trial
            trial_id, status ("completed", "stopped early", "not finite", "failed", "running",
            "unfinished", "pending", "not started"), METRIC by SCOPE, training_iteration (results so
            far), time_total_s (seconds), a column `config/…` for each hyperparameter, and error
            (the last line of a failed trial's traceback).
        """
        rows = []
        for trial in self.ranking.sorted(self.trials) if best_first else self.trials:
            result = trial.last_result or {}
            rows.append(
                {
                    "trial_id": trial.trial_id,
                    "status": self.status(trial),
                    self.ranking.metric: self.ranking.score(trial),
                    "training_iteration": result.get("training_iteration", 0),
                    "time_total_s": result.get("time_total_s", math.nan),
                    **{CONFIG + key: value for key, value in self.parameters(trial).items()},
                    "error": last_line(trial) if trial.status == Trial.ERROR else None,
                }
            )
        return pd.DataFrame(rows)

    def results_table(self) -> pd.DataFrame:
        """One row for each result of all trials; empty unless LOGGERS has csv or json."""
        found = [table for table in self.trial_dataframes.values() if len(table)]
        return pd.concat(found, ignore_index=True) if found else pd.DataFrame()

    def study(
        self,
        storage: str | None = None,
        *,
        text: Callable[[str], str] = str,
        history: bool = True,
    ) -> "optuna.Study":
        """The trials as an Optuna study, for its plots, importances and dashboard.

        Parameters
        ----------
        storage : str, optional
            Where it is stored, ``sqlite:///study.db``. Default: in memory.
        text : callable
            Converts each name and text value, for example to escape markup.
        history : bool
            Whether METRIC at each iteration is added as intermediate values.

        Returns
        -------
        optuna.Study
            All trials, in order. One that ended without a finite METRIC has failed.
        """
        from .study import make_study

        return make_study(self, storage, text, history=history)

    def importances(self) -> dict[str, float]:
        """The share of METRIC's variance that each hyperparameter explains, the largest first.

        They add up to 1. Empty when there are too few completed trials.
        """
        from .study import importances

        return importances(self.study())


def open_experiment(
    project: Project, name: str, storage_path: str | None = None, **instead: Any
) -> Experiment:
    """Open an experiment. It may be running, interrupted, or have failed trials.

    Parameters
    ----------
    project : Project
        The project that ran it: Ray's saved state refers to its modules.
    name : str
        NAME of the experiment.
    storage_path : str, optional
        A folder or a URI. Default: the setting STORAGE_PATH, as for the commands.
    **instead
        Settings in place of the experiment's own: ``metric="training_loss", mode="min"``.

    Returns
    -------
    Experiment

    Raises
    ------
    Refusal
        There is no such experiment, nothing is saved yet, or a file is damaged.
    pydantic.ValidationError
        A setting has an invalid value.
    """
    given = {"name": name, **instead}
    if storage_path is not None:
        given["storage_path"] = storage_path
    return _open(project, project.settings(**given), given)


def open_configured(configuration: Configuration) -> Experiment:
    """Open the experiment NAME for a command; its flags win over the experiment's settings."""
    return _open(configuration.project, configuration.settings, configuration.flags)


def _open(project: Project, settings: RunSettings, given: Collection[str]) -> Experiment:
    record, name = Record.find(settings), settings.given("name")
    try:
        with refused(settings.given("storage_path")):
            return Experiment(project, record, record.settings(settings, given))
    except (ValueError, EOFError, pickle.UnpicklingError) as error:
        raise Refusal(f"{name}: its state is damaged ({type(error).__name__})") from None
    except (ImportError, AttributeError) as error:
        raise Refusal(f"{name}: its state needs code that is not here: {error}") from None
