"""Ray's ExperimentAnalysis, where it falls short of what a storage may hold."""

import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pandas as pd
from ray.tune import Checkpoint
from ray.tune.analysis import ExperimentAnalysis
from ray.tune.experiment import Trial

from ..store import tables
from ..store.ranking import Ranking
from ..store.storage import Folder


class SavedAnalysis(ExperimentAnalysis):
    """Ray's class for an experiment's folder whose tables and checkpoints may not be complete.

    file: the state in the folder
    running: whether the experiment runs
    damaged: the trials whose tables lack results, a line each
    """

    def __init__(self, folder: Folder, file: str, ranking: Ranking, running: bool) -> None:
        self.folder, self.ranking, self.running = folder, ranking, running
        self.damaged = list[str]()
        with _ray_says_nothing():
            super().__init__(
                folder.at(file),
                storage_filesystem=folder.filesystem,
                default_metric=ranking.metric,
                default_mode=ranking.mode,
            )

    def _load_trials(self) -> list[Trial]:
        self._experiment_fs_path = self.folder.root  # Ray takes the folder of the state file
        return sorted(super()._load_trials(), key=_sampled)

    def _fetch_trial_dataframe(self, trial: Trial) -> pd.DataFrame:
        """One row a result, of result.json, or of progress.csv where that has more.

        Without both (LOGGERS, or a trial that never reported) there is no row.
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
        if found and not self.running:  # while it runs, they are copied now and then
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

    def get_best_checkpoint(
        self, trial: Trial, metric: str | None = None, mode: str | None = None
    ) -> Checkpoint | None:
        """The checkpoint of a trial with the best metric that is there; None for none.

        The saved state of a killed run may name some that are deleted by now.
        """
        ranking = Ranking(metric or self.ranking.metric, mode or self.ranking.mode)
        with _ray_says_nothing():
            found = self._get_trial_checkpoints_with_metric(trial, ranking.metric)
        there = self.folder.files(str(trial.relative_logdir))
        usable = [
            (ranking.sign * float(value), checkpoint)
            for checkpoint, value in found
            if isinstance(value, int | float) and math.isfinite(value)
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
