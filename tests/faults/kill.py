"""What must hold after a fault and a resume."""

import csv
import hashlib
from dataclasses import dataclass, field
from pathlib import Path

from .project import Experiment, Project


def rate(experiment: Experiment, index: int) -> float:
    """The learning rate of a trial: what a trace knows it by."""
    value: float = experiment.trials()[index].result["config"]["learning_rate"]
    return value


def resume_command(project: Project, said: str) -> list[str]:
    """The command that an ended run names for going on."""
    found = [words for words in project.commands(said) if "--resume" in words]
    assert found, said
    return found[-1]


@dataclass
class Loss:
    """What a fault cost: epochs of a trial that were trained once more."""

    rate: float
    completed: bool  # a trial that had ended: it must not train at all
    reached: int  # the last epoch before
    went_on: int  # the first epoch after

    @property
    def epochs(self) -> int:
        return max(0, self.reached - self.went_on + 1)


@dataclass
class Moment:
    """How far an experiment was when a fault struck."""

    trained: dict[float, int] = field(default_factory=dict)  # epochs, by learning rate
    completed: dict[float, str] = field(default_factory=dict)  # digests of the ended trials

    @classmethod
    def now(cls, project: Project, experiment: Experiment) -> "Moment":
        moment = cls({rate: len(epochs) for rate, epochs in project.trace().items()})
        for trial in experiment.trials():
            if trial.status == "TERMINATED":
                rate = trial.result["config"]["learning_rate"]
                moment.completed[rate] = digest(experiment.trial_folder(trial.index))
        return moment

    def losses(self, project: Project) -> list[Loss]:
        """What was trained again since then, by trial."""
        found = []
        for rate, epochs in project.trace().items():
            before, after = epochs[: self.trained.get(rate, 0)], epochs[self.trained.get(rate, 0) :]
            if before and after:
                found.append(Loss(rate, rate in self.completed, max(before), after[0]))
        return found

    def check(self, project: Project, experiment: Experiment, *, tables: bool = True) -> None:
        """Completed trials are as they were; no other lost more than a checkpoint interval.

        With a checkpoint after each epoch, as by default, an interval is an epoch.

        tables: also their tables; not where the kill kept Ray from copying these
        """
        for loss in self.losses(project):
            assert not loss.completed, f"a completed trial was run again: {loss}"
            assert loss.epochs <= 1, f"more than an interval was lost: {loss}"
        for trial in experiment.trials():
            learning_rate = trial.result.get("config", {}).get("learning_rate")
            if tables and learning_rate in self.completed:
                now = digest(experiment.trial_folder(trial.index))
                assert now == self.completed[learning_rate], trial


def digest(folder: Path) -> str:
    """A digest of what a trial left: results, logs, checkpoints and exports."""
    found = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            found.update(path.relative_to(folder).as_posix().encode() + path.read_bytes())
    return found.hexdigest()


def table_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def check_end(experiment: Experiment, whole: Experiment, iterations: int) -> None:
    """The experiment ended as one that nobody disturbed: same trials, metrics and best."""
    trials, expected = experiment.trials(), whole.trials()
    assert [t.index for t in trials] == [t.index for t in expected]
    assert len({t.id for t in trials}) == len(trials)
    assert len(list(experiment.folder.glob("trial_*"))) == len(trials)
    assert [(t.status, t.iteration) for t in trials] == [("TERMINATED", iterations)] * len(trials)
    assert experiment.metrics() == whole.metrics()
    experiment.check_files()
    for trial in trials:
        folder = experiment.trial_folder(trial.index)
        for table in (experiment.results(trial.index), table_of(folder / "progress.csv")):
            reported = [int(row["training_iteration"]) for row in table]
            assert reported == [*range(1, iterations + 1)], reported
        assert (folder / "model.skops").is_file()
        kept = sorted(experiment.checkpoints(trial.index))
        assert kept[-1] == iterations, kept
        assert len(list(folder.glob("checkpoint_*"))) <= 3
    assert experiment.best() == whole.best()
