"""Opens an experiment again, in a notebook or for a command, without starting Ray.

    night = open_experiment(PROJECT, "night")
    night.best_config, night.best_checkpoint, night.trials_table(), night.study()

Ray's state holds pickles: to open an experiment executes what its author wants.
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
    """An experiment, as `open_experiment` opens it; the best is by METRIC, MODE and SCOPE.

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
        """Whether every trial that the experiment wanted has ended."""
        return self.outcome in {"done", "trials failed"}

    @property
    def has_history(self) -> bool:
        """Whether results were logged (LOGGERS with csv or json); else each trial's last is all."""
        return any(len(table) for table in self.trial_dataframes.values())

    @cached_property
    def best_trial(self) -> Trial | None:  # type: ignore[override]  # Ray's may be None too
        """The trial with the best finite METRIC, by MODE and SCOPE; None when none has one."""
        return next(iter(self.ranking.best(self.trials)), None)

    @property
    def best_value(self) -> float | None:
        """What METRIC is of the best trial, by SCOPE."""
        return self.ranking.score(self.best_trial) if self.best_trial else None

    @property
    def best_config(self) -> dict[str, Any] | None:  # type: ignore[override]
        """The hyperparameters of the best trial, nested as in the space, and `seed`."""
        return dict(self.best_trial.config) if self.best_trial else None

    @property
    def best_checkpoint(self) -> Checkpoint | None:  # type: ignore[override]
        """The best trial's checkpoint with the best METRIC, of those that were kept."""
        return self.get_best_checkpoint(self.best_trial) if self.best_trial else None

    def trials_table(self, *, best_first: bool = False) -> pd.DataFrame:
        """One row a trial, in the order in which they were sampled.

        Parameters
        ----------
        best_first : bool
            The trials with the best METRIC first, those without a finite one last.

        Returns
        -------
        pandas.DataFrame, one row a trial
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
        """One row a result of any trial, as the loggers wrote them; empty without csv and json."""
        found = [self.trial_dataframes[trial.trial_id] for trial in self.trials]
        found = [table for table in found if len(table)]
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
            Where it is kept, ``sqlite:///study.db``. Default: in memory.
        text : callable
            What becomes of each name and word, for a place that reads them as markup.
        history : bool
            Whether METRIC at each iteration is in it, as intermediate values.

        Returns
        -------
        optuna.Study
            Every trial, in order. One that ended without a finite METRIC is failed.
        """
        from .study import make_study

        return make_study(self, storage, text, history=history)

    def importances(self) -> dict[str, float]:
        """How much of METRIC's variance each hyperparameter explains, the most important first.

        They add up to 1. Empty when there are too few completed trials to tell.
        """
        from .study import importances

        return importances(self.study())


def open_experiment(
    project: Project, name: str, storage_path: str | None = None, **instead: Any
) -> Experiment:
    """Open an experiment, also one that runs, was interrupted or has failed trials.

    Parameters
    ----------
    project : Project
        The project that ran it: its modules are what Ray's saved state names.
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
        Its text says in one line why it can't be opened: no such experiment, nothing saved of it
        yet, or a damaged file.
    pydantic.ValidationError
        A setting is not accepted.
    """
    given = {"name": name, **instead}
    if storage_path is not None:
        given["storage_path"] = storage_path
    return _open(project, project.settings(**given), given)


def open_configured(configuration: Configuration) -> Experiment:
    """Open the experiment NAME for a command, whose flags win over the experiment's settings.

    Raises Refusal.
    """
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
