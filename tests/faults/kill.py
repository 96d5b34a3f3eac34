"""What must hold after a fault and a resume."""

from pathlib import Path

from .project import Experiment, Project, Trial


def rate(experiment: Experiment, index: int) -> float:
    """The learning rate of a trial: what a trace knows it by."""
    value: float = experiment.trials()[index].result["config"]["learning_rate"]
    return value


def resume_command(project: Project, said: str) -> list[str]:
    """The command that an ended run names for going on."""
    found = [words for words in project.commands(said) if "--resume" in words]
    assert found, said
    return found[-1]


class Watch:
    """Looks at an experiment when a run has ended, and compares when the next one works."""

    def __init__(self, project: Project, experiment: Experiment) -> None:
        self.project, self.experiment = project, experiment
        self.trained: dict[float, int] = {}  # how many epochs were trained, by learning rate
        self.saved: dict[float, int] = {}  # the iteration of the newest whole checkpoint
        self.done: dict[Path, bytes] = {}  # the results of completed trials
        self.lost: list[int] = []  # iterations that were trained again, by trial
        self.trials: list[Trial] = []
        self.look()

    def look(self) -> None:
        """Remember what there is."""
        self.trained = {rate: len(epochs) for rate, epochs in self.project.trace().items()}
        if not list(self.experiment.folder.glob("experiment_state-*.json")):
            return
        self.trials = self.experiment.trials()
        self.done, self.saved = {}, {}
        for trial in self.trials:
            if not trial.iteration:
                continue
            folder = self.experiment.trial_folder(trial.index)
            rate = trial.result["config"]["learning_rate"]
            self.saved[rate] = max(self.experiment.checkpoints(trial.index), default=0)
            if trial.status == "TERMINATED":
                self.done[folder / "result.json"] = (folder / "result.json").read_bytes()

    def check_resumed(self) -> None:
        """Completed trials are as they were, and running ones went on from their checkpoints."""
        now = self.project.trace()
        finished = {t.result["config"]["learning_rate"] for t in self.trials if t.iteration} & {
            t.result["config"]["learning_rate"] for t in self.trials if t.status == "TERMINATED"
        }
        for rate, count in self.trained.items():
            before, after = now[rate][:count], now[rate][count:]
            if rate in finished:
                assert not after, f"a completed trial was run again: {before}, then {after}"
            if after:
                assert after[0] > self.saved.get(rate, 0), (
                    f"saved at {self.saved.get(rate)}, went on at {after[0]}: {before}, {after}"
                )
                self.lost.append(max(before) - after[0] + 1)
        for path, content in self.done.items():
            assert path.read_bytes() == content, path


def check_end(experiment: Experiment, whole: Experiment, iterations: int) -> None:
    """The experiment ended as one that nobody disturbed: same trials, metrics and best."""
    trials, expected = experiment.trials(), whole.trials()
    assert [t.index for t in trials] == [t.index for t in expected]
    assert len({t.id for t in trials}) == len(trials)
    assert len(list(experiment.folder.glob("trial_*"))) == len(trials)
    assert [(t.status, t.iteration) for t in trials] == [("TERMINATED", iterations)] * len(trials)
    assert experiment.metrics() == whole.metrics()
    for trial in trials:
        reported = [row["training_iteration"] for row in experiment.results(trial.index)]
        assert sorted(set(reported)) == [*range(1, iterations + 1)], reported
        kept = sorted(experiment.checkpoints(trial.index))
        assert kept[-1] == iterations, kept
        assert len(list(experiment.trial_folder(trial.index).glob("checkpoint_*"))) <= 3
    assert experiment.best() == whole.best()
