"""An experiment of the stub project as a run leaves it, made without Ray."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.configuration import Configuration, load
from harness.project import Project
from harness.store import dataset
from harness.store.record import Record
from harness.store.storage import Folder
from harness.tune.description import describe_space
from stub import PROJECT
from stub.pieces import StubTrainable

CONFIG = {"rate": 0.5, "size": 2, "seed": 0}
FLAGS = ["--name", "x", "--no-check-search-space"]


class SavedExperiment:
    """An experiment `x` of one trial with two checkpoints, on rows in a file."""

    def __init__(self, folder: Path) -> None:
        self.rows, self.folder = folder / "rows.txt", folder / "results/x"
        self.rows.write_text("1\n2\n3\n4\n")
        self.trial = self.folder / "trial_a_00000"
        configuration = self.loaded("--data-path", "rows.txt", "--max-iterations", "2")
        settings = configuration.settings
        data, parts = dataset.load(PROJECT, settings), PROJECT.parts()
        self.record = Record.new(
            Folder.open(settings.storage_path) / "x",
            PROJECT.package,
            describe_space(parts.search_space()),
            [],
            dataset.describe(data),
        )
        self.record.start_run(configuration)
        self.record.end_run("done", best=None)
        self._save(data)

    def loaded(self, *flags: str, project: Project = PROJECT) -> Configuration:
        return load(project, [*FLAGS, *flags])

    def _save(self, data: Any) -> None:
        scratch, results = self.folder.parent.parent / "scratch", []
        scratch.mkdir()
        trainable = StubTrainable.without_ray(CONFIG, data, scratch, {"cpu": 1.0})
        for number in range(2):
            result = trainable.train()
            results.append({k: v for k, v in result.items() if k != "config"})
            trainable.save(str(self.trial / f"checkpoint_{number:06d}"))
        trainable.stop()
        first, last = (result["score"] for result in results)
        trial = {
            "trial_id": "a_00000",
            "experiment_tag": "0",
            "status": "TERMINATED",
            "relative_logdir": self.trial.name,
            "config": CONFIG,
            "evaluated_params": CONFIG,
        }
        analysis = {"max": last, "min": first, "avg": (first + last) / 2, "last": last}
        run = {"last_result": results[-1], "metric_analysis": {"score": analysis}}
        state = {"trial_data": [[json.dumps(trial), json.dumps(run, default=str)]]}
        (self.folder / "experiment_state-1.json").write_text(json.dumps(state))


def changed(**parts: Any) -> Project:
    """The stub project with some parts in the place of its own."""
    its = replace(PROJECT.parts(), **parts)
    return replace(PROJECT, parts=lambda: its)
