"""`export`: the model of the best checkpoint, and export.json, which says where it comes from."""

import json
import platform
import tempfile
from pathlib import Path
from typing import Any

from ray.tune.utils.serialization import TuneFunctionDecoder

from ..configuration import Configuration, flag
from ..errors import Refusal, refused
from ..project import Project
from ..settings import RunSettings
from ..store import dataset
from ..store.code_state import code_state, packages
from ..store.ranking import Ranking
from ..store.record import Record, now
from ..store.saved_trials import SavedTrial
from ..tune.trainable import StoredTrainable
from .checkpoints import Candidate, Checkpoints
from .publishing import FILE, ModelFile, Target


class Export:
    """Exports an experiment's best checkpoint. Raises Refusal when there is nothing to export.

    settings: the experiment's own, except those that were given to the command
    best: the trials with a finite METRIC, the best first
    """

    def __init__(self, project: Project, record: Record, settings: RunSettings) -> None:
        self.project, self.record, self.settings = project, record, settings
        self.ranking, trials = Ranking.of(settings), record.trials()
        self.best = self.ranking.best(trials)
        if not self.best:
            why = "nothing has been saved of it yet"
            if trials:
                why = f"no trial has a finite {settings.metric}"
            raise Refusal(f"{settings.given('name')}: {why}, so there is no best one to export")

    def make(self) -> tuple[Candidate, dict[str, ModelFile], dict[str, Any]]:
        """Export. Returns the checkpoint, the file of each format, and what export.json says."""
        kind = self.project.parts().trainable
        if not kind.exports():
            method = f"{kind.__name__} has no method _export_model"
            raise Refusal(f"{method}, which writes the file of each format")
        data, resources = self._data(), self.settings.resources_per_trial
        with tempfile.TemporaryDirectory() as name:
            scratch = Path(name)
            checkpoints = Checkpoints(
                self.record,
                self.settings,
                self.best,
                lambda trial: kind.without_ray(trial_config(trial), data, scratch, resources),
            )
            chosen, trainable = checkpoints.restore_best(scratch)
            files = self._files(trainable, scratch / "export")
        return chosen, files, self._facts(chosen, files)

    def _data(self) -> Any:
        """The same data as in the run: the preprocessing was fitted on it."""
        data, name = dataset.load(self.project, self.settings), self.record.name
        if difference := dataset.difference(self.record.content["data"], dataset.describe(data)):
            files = [flag(field) for field, value in self.settings if isinstance(value, Path)]
            theirs = f"{files[0]} names their file, and " if files else ""
            raise Refusal(
                f"{difference}: not the rows that {name} was run on; {theirs}`show {name}`"
                " names the commit that prepared them"
            )
        return data

    def _files(self, trainable: StoredTrainable, folder: Path) -> dict[str, ModelFile]:
        """Call the Trainable's export. Returns the file of each format."""
        folder.mkdir()
        formats: list[str] = [*self.settings.export_formats] or ["model"]
        exported, files = trainable.export_model(formats, str(folder)), {}
        for name in formats:
            file = Path(exported.get(name, ""))
            if not file.is_file():
                method = f"{self.project.parts().trainable.__name__}._export_model"
                raise Refusal(f"{method} returned no file for {name!r}")
            files[name] = ModelFile(file.name, file.read_bytes())
        return files

    def _facts(self, chosen: Candidate, files: dict[str, ModelFile]) -> dict[str, Any]:
        run, code = self.record.last_run, code_state(self.project.folder)[0]
        result, metrics = chosen.result, self.settings.METRICS
        return {
            "experiment": self.record.name,
            "trial": chosen.trial.id,
            "iteration": result["training_iteration"],
            "checkpoint": str(chosen),
            "metric": self.ranking.metric,
            "value": chosen.value,
            "chosen_by": {
                "mode": self.ranking.mode,
                "scope": self.ranking.scope,
                "score": self.ranking.score(chosen.trial),
            },
            "metrics": {name: result[name] for name in metrics if name in result},
            "config": chosen.trial.config,
            "files": {
                name: {"file": file.stored, "sha256": file.sha256} for name, file in files.items()
            },
            "data": self.record.content["data"],
            "trained": {
                "code": {key: run["git"].get(key) for key in ("commit", "dirty")},
                "python": run["python"],
                "start": run["start"],
            },
            "exported": {
                "when": now(),
                "code": {key: code[key] for key in ("commit", "dirty")},
                "python": platform.python_version(),
                "packages": packages(),
            },
        }


def export(configuration: Configuration) -> None:
    """Export the best checkpoint of the experiment NAME, and print which. Raises Refusal."""
    project, record = configuration.project, Record.find(configuration.settings)
    settings = record.settings(configuration.settings, configuration.flags)
    if foreign := record.foreign(project):
        raise Refusal(f"{settings.given('name')}: {foreign}")
    with refused(settings.given("storage_path")):
        made = Export(project, record, settings)
        target = Target(settings, record)
        chosen, files, facts = made.make()
        target.publish(files, facts)
    _say(made, chosen)
    if target.replaces:
        print(f"Replaced {target.replaces}")
    for name, file in files.items():
        print(f"Exported {name}: {target.at(file.stored)}")
    print(f"What it is: {target.at(FILE)}")


def _say(made: Export, chosen: Candidate) -> None:
    name, ranking, best = made.record.name, made.ranking, made.best[0]
    iteration, score = chosen.result["training_iteration"], f"{ranking.score(best):.4f}"
    value = f"{ranking.metric} {chosen.value:.4f}"
    print(f"{name}: trial {chosen.trial.id} after iteration {iteration}, {value}")
    of_results = ranking.scope in ("all", "last")
    if made.record.outcome() == "running":
        print(f"{name} is running: this is its best checkpoint so far")
    elif chosen.trial is not best or (of_results and not chosen.is_best):
        print(
            f"The best result ({ranking}: {score}, of trial {best.id}) has no complete checkpoint:"
            " this is the best that was kept"
        )
    elif not of_results:
        print(f"The best checkpoint of the trial with the best {ranking}: {score}")


def export_into(project: Project, folder: Path, settings: RunSettings) -> dict[str, Any]:
    """Export the best checkpoint of the experiment NAME into a folder on this machine.

    Returns the content of export.json. Raises Refusal when it can't be exported.
    """
    record = Record.find(settings)
    try:
        _, files, facts = Export(project, record, settings).make()
        for name, file in files.items():
            facts["files"][name]["file"] = file.name
            (folder / file.name).write_bytes(file.content)
        (folder / FILE).write_text(json.dumps(facts, indent=2))
    except Refusal:
        raise
    except Exception as error:  # of the storage; a model may raise anything
        raise Refusal(f"{record.name}: {type(error).__name__}: {error}") from None
    return facts


def trial_config(trial: SavedTrial) -> dict[str, Any]:
    """The `config` of the trial's Trainable. Values that JSON can't hold are Ray's pickles."""
    decoder = TuneFunctionDecoder(allow_cloudpickle=True)
    config: dict[str, Any] = decoder.decode(json.dumps(trial.config))
    return config
