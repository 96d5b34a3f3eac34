"""Ray's ExperimentAnalysis, for an experiment that may be incomplete or still running."""

import math
from typing import Any

import pandas as pd
from ray.tune import Checkpoint
from ray.tune.analysis import ExperimentAnalysis
from ray.tune.experiment import Trial

from ..errors import Refusal
from ..project import Project
from ..settings import RunSettings
from ..store import saved_trials, tables
from ..store.ranking import Ranking
from ..store.record import Record
from ..store.saved_trials import flat
from ..tune.space import chosen


class SavedAnalysis(ExperimentAnalysis):
    """Ray's class for an experiment whose tables and checkpoints may be incomplete."""

    def __init__(self, project: Project, record: Record, settings: RunSettings) -> None:
        self.project, self.record, self.settings = project, record, settings
        self.folder, self.ranking = record.folder, Ranking.of(settings)
        self.outcome, file = record.outcome(), saved_trials.newest_state(self.folder)
        self.running = self.outcome == "running"
        self.damaged = list[str]()
        if file is None:
            raise Refusal(f"{settings.given('name')}: nothing has been saved of it yet")
        super().__init__(
            self.folder.at(file),
            storage_filesystem=self.folder.filesystem,
            default_metric=settings.metric,
            default_mode=settings.mode,
        )

    def history(self, trial: Trial) -> dict[int, float]:
        """METRIC of a trial by iteration, where it is a number; empty without csv and json."""
        table, metric = self.trial_dataframes[trial.trial_id], self.ranking.metric
        if metric not in table:
            return {}
        known = table[[tables.ITERATION, metric]].dropna()
        return dict(zip(known[tables.ITERATION].astype(int), known[metric], strict=True))

    def parameters(self, trial: Trial) -> dict[str, Any]:
        """The hyperparameters of a trial by name; `outer/inner` for a nested one."""
        return chosen(trial.config, self.record.tuned)

    def status(self, trial: Trial) -> str:
        """How a trial ended, or where it is, in a word or two."""
        last, most = trial.last_result or {}, self.settings.max_iterations
        return saved_trials.word(trial.status, last, self.ranking.metric, most, self.running)

    def _load_trials(self) -> list[Trial]:
        self._experiment_fs_path = self.folder.root  # Ray takes the folder of the state file
        return sorted(super()._load_trials(), key=_sampled)

    def _fetch_trial_dataframes(self) -> dict[str, pd.DataFrame]:
        """The table of each trial. Ray's takes a storage that fails for an empty table."""
        return {trial.trial_id: self._fetch_trial_dataframe(trial) for trial in self.trials}

    def _fetch_trial_dataframe(self, trial: Trial) -> pd.DataFrame:
        """One row for each result, from result.json, or from progress.csv if that has more.

        Without either (see LOGGERS), and for a trial that never reported, there is no row.
        """
        last = (trial.last_result or {}).get(tables.ITERATION, 0)
        best, found = pd.DataFrame(), list[str]()
        for file in tables.FILES if last else ():
            content = self.folder.read(str(trial.relative_logdir), file)
            if content is None:
                continue
            table = tables.results(file, content)
            if len(table) and table[tables.ITERATION].iloc[-1] >= last:
                return table
            best = max(best, table, key=len)
            found.append(file)
        if found and not self.running:  # in a run, Ray copies them every few minutes
            there = best[tables.ITERATION].iloc[-1] if len(best) else 0
            self.damaged.append(
                f"{trial.relative_logdir}: results can be read up to iteration {there} of {last}"
                f" ({', '.join(found)})"
            )
        return best

    def _retrieve_rows(
        self, metric: str | None = None, mode: str | None = None
    ) -> dict[str, dict[str, Any]]:
        """One result for each trial: the last where METRIC never was a number (Ray's fails)."""
        rows = {}
        for path, table in self.trial_dataframes.items():
            position = -1
            if mode and metric in table and len(known := table.dropna(subset=[metric])):
                table, column = known, known[metric]
                position = int(column.argmax() if mode == "max" else column.argmin())
            if len(table):
                rows[path] = {str(key): value for key, value in table.iloc[position].items()}
        return rows

    def get_best_checkpoint(
        self, trial: Trial, metric: str | None = None, mode: str | None = None
    ) -> Checkpoint | None:
        """The trial's existing checkpoint with the best metric, or None.

        The saved state of a killed run may name checkpoints that have been deleted since.
        """
        ranking = Ranking(metric or self.ranking.metric, mode or self.ranking.mode)
        manager: Any = trial.run_metadata.checkpoint_manager
        there = self.folder.files(str(trial.relative_logdir))
        usable: list[tuple[float, Checkpoint]] = [
            (ranking.sign * value, saved.checkpoint)
            for saved in manager.best_checkpoint_results
            if math.isfinite(value := ranking.of_result(dict(flat(saved.metrics, lists=False))))
            if saved.checkpoint.path.rpartition("/")[2] in there
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


def _sampled(trial: Trial) -> tuple[float, str]:
    """What sorts trials as they were sampled: the number at the start of the tag, then the id."""
    number = str(trial.experiment_tag).partition("_")[0]
    return (int(number) if number.isdecimal() else math.inf, trial.trial_id)
