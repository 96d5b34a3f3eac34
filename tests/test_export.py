"""`export` and `trials`: the best model, loaded without Ray, and the table of all trials."""

import hashlib
import json
import random
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import with_cookiecutter
from tests.faults.bucket import BUCKET, bucket
from tests.faults.disk import small_disk
from tests.faults.project import PACKAGE, Project, plant, using

pytestmark = pytest.mark.timeout(900)

SAMPLES, ITERATIONS = 4, 3
BEST = 2  # of the configurations that the default seed draws; it fails in its second iteration
KEY, SECRET = "AKIAPLANTED", "planted7secret3key"

# What a Trainable predicts, restored from each checkpoint; and what it scores.
TRAINABLE = f"""
import json, sys
from pathlib import Path
import numpy as np
from {PACKAGE}.data import load_data
from {PACKAGE}.settings import Settings
from {PACKAGE}.trainable import ExperimentTrainable
rows, checkpoints = sys.argv[1], json.loads(sys.argv[2])
data = load_data(Settings(data_path=rows, target="label"))
predicted = []
for folder, config in checkpoints:
    trainable = ExperimentTrainable.without_ray(config, data, Path(sys.argv[3]), {{"cpu": 1}})
    trainable.restore_folder(Path(folder))
    probabilities = trainable.model.predict(data.x_valid)
    predicted.append([data.metrics(probabilities), probabilities.tolist()])
print("\\n" + json.dumps(predicted))
"""
# The same from exported models, where there is no Ray.
CLEAN = f"""
import sys
sys.modules["ray"] = None  # importing it raises
import json
from pathlib import Path
import pandas as pd
from sklearn.model_selection import train_test_split
from {PACKAGE}.data import SPLIT_SEED, VALIDATION_FRACTION
from {PACKAGE}.model import load_export
table = pd.read_csv(sys.argv[1])
labels = table.pop("label")
_, raw = train_test_split(
    table, test_size=VALIDATION_FRACTION, random_state=SPLIT_SEED, stratify=labels
)
models = [load_export(Path(file)) for file in json.loads(sys.argv[2])]
print("\\n" + json.dumps([model.predict_proba(raw).tolist() for model in models]))
"""


class Sweep:
    """An experiment `x` with a failed trial, which is the best; its rows; its project."""

    def __init__(self, project: Project) -> None:
        self.project, self.rows = project, project.folder / "rows.csv"
        chance = random.Random(0)
        drawn = [(chance.random(), chance.random(), chance.choice("rgb")) for _ in range(800)]
        lines = [f"{a},{b},{c},{'yes' if a * (c != 'r') > b else 'no'}\n" for a, b, c in drawn]
        self.rows.write_text("a,b,colour,label\n" + "".join(lines))
        self.said = project.run(
            *("run", "--name", "x", "--num-samples", SAMPLES, "--max-iterations", ITERATIONS),
            *("--data-path", self.rows, "--target", "label", "--max-concurrent-trials", 1),
            code=1,
            env={"FAULT": "raise", "FAULT_ABOVE": "0.01"},
        )
        self.experiment = project.experiment("x")

    def copy(self, name: str) -> Path:
        """A copy of the experiment, to break. Returns its folder."""
        folder = self.project.folder / "results" / name
        ignored = shutil.ignore_patterns("best")
        return Path(shutil.copytree(self.experiment.folder, folder, ignore=ignored))

    def python(self, script: str, *words: object, **env: str) -> Any:
        """Run a script of the project. Returns what its last line of JSON holds."""
        run = self.project.start_program("-c", script, *words, **env)
        assert run.wait() == 0, run.said
        return json.loads(run.said.splitlines()[-1])


@pytest.fixture(scope="module")
def sweep(
    template: Path,
    cluster: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Sweep]:
    folder = tmp_path_factory.mktemp("export")
    source = with_cookiecutter(template, folder, {}).project
    plant(source, quick=False)
    with using(source, Path(sys.executable), folder, cluster=cluster) as project:
        yield Sweep(project)


def facts_in(folder: Path) -> tuple[dict[str, Any], Path]:
    """What export.json says, and the model that it names. There is nothing else."""
    facts: dict[str, Any] = json.loads((folder / "export.json").read_text())
    model = folder / facts["files"]["model"]["file"]
    assert hashlib.sha256(model.read_bytes()).hexdigest() == facts["files"]["model"]["sha256"]
    assert sorted(folder.iterdir()) == sorted([folder / "export.json", model])
    return facts, model


def refusal(ended: tuple[int, str]) -> str:
    """The one line of a command that was refused."""
    code, said = ended
    assert code == 2, said
    *before, line = said.splitlines()
    assert line.startswith("error: ")
    assert not before, said
    return line


def test_the_best_model_predicts_the_same_without_ray(sweep: Sweep, tmp_path: Path) -> None:
    """That of `export`, and those that EXPORT_FORMATS let every trial leave."""
    experiment = sweep.experiment
    said = sweep.project.run("export", "x")
    facts, model = facts_in(experiment.folder / "best")
    trials = experiment.trials()
    best = trials[BEST]
    assert best.status == "ERROR"
    value = best.result["validation_accuracy"]
    assert value == max(trial.result["validation_accuracy"] for trial in trials)
    assert (
        said.splitlines()[0]
        == f"x: trial {best.id} after iteration 1, validation_accuracy {value:.4f}"
    )
    assert str(model) in said
    assert (facts["experiment"], facts["trial"], facts["iteration"]) == ("x", best.id, 1)
    assert (facts["metric"], facts["value"]) == ("validation_accuracy", value)
    assert facts["config"] == best.result["config"]
    assert facts["data"] == experiment.record["data"]
    assert "x_train 600x5 float32, x_valid 200x5 float32" in facts["data"]["arrays"]
    assert facts["trained"]["code"] == experiment.record["runs"][0]["git"]

    ended = [trial for trial in trials if trial.status == "TERMINATED"]
    assert len(ended) == SAMPLES - 1
    folders = [experiment.trial_folder(trial.index) for trial in ended]
    checkpoints = [
        (str(max(experiment.checkpoints(trial.index).items())[1]), trial.result["config"])
        for trial in [best, *ended]
    ]
    expected = sweep.python(TRAINABLE, sweep.rows, json.dumps(checkpoints), tmp_path)
    models = [str(model), *(str(folder / "model.skops") for folder in folders)]
    predicted = sweep.python(CLEAN, sweep.rows, json.dumps(models))
    for exported, (_, trained) in zip(predicted, expected, strict=True):
        for one, other in zip(exported, trained, strict=True):
            assert one == pytest.approx(other, abs=1e-6)  # the Trainable's rows are float32
            assert one.index(max(one)) == other.index(max(other))
    assert expected[0][0].items() <= facts["metrics"].items()
    for trial, (scores, _) in zip([best, *ended], expected, strict=True):
        assert scores.items() <= trial.result.items()


def test_what_is_refused_and_what_is_replaced(sweep: Sweep) -> None:
    project, elsewhere = sweep.project, sweep.project.folder / "elsewhere"
    sweep.copy("y")
    for checkpoint in sweep.copy("bare").glob("trial_*/checkpoint_*"):
        shutil.rmtree(checkpoint)
    nothing = sweep.copy("nothing")
    for path in nothing.glob("experiment_state-*"):
        path.unlink()
    (state,) = sweep.copy("nan").glob("experiment_state-*")
    content = json.loads(state.read_text())
    for pair in content["trial_data"]:
        run = json.loads(pair[1])
        run["metric_analysis"]["validation_accuracy"] = {"max": float("nan")}
        pair[1] = json.dumps(run)
    state.write_text(json.dumps(content))
    damaged = next(sweep.copy("damaged").glob(f"trial_*_{BEST:05d}/checkpoint_*/model.skops"))
    damaged.write_bytes(damaged.read_bytes()[:-20])
    shutil.rmtree(project.folder / "results/x/best", ignore_errors=True)
    foreign = project.folder / "foreign"
    foreign.mkdir()
    (foreign / "export.json").write_text("{}")
    moved = project.folder / "moved.csv"
    shutil.copy(sweep.rows, moved)
    at = ["--data-path", moved]
    there = ["--export-path", elsewhere]

    results = sweep.project.run_each(
        ["export", "z"],
        ["export", "x", "--data-path", project.folder / "none.csv"],
        ["export", "bare", *at],
        ["export", "nothing"],
        ["export", "nan", *at],
        ["export", "x", *at, "--export-path", foreign],
        ["export", "x", *at, "--export-path", moved / "below"],
    )
    said = [refusal(ended) for ended in results]
    for line, words in zip(
        said,
        (
            ("EXPERIMENT_NAME='z'", "no such experiment"),
            ("EXPERIMENT_DATA_PATH", "none.csv", "--data-path names where"),
            ("EXPERIMENT_NAME='bare'", "has a checkpoint"),
            ("EXPERIMENT_NAME='nothing'", "nothing has been saved"),
            ("EXPERIMENT_NAME='nan'", "no trial has a finite validation_accuracy"),
            (str(foreign), "was not written by `export`"),
            ("EXPERIMENT_EXPORT_PATH", str(moved / "below"), "can't be written"),
        ),
        strict=True,
    ):
        assert [word for word in words if word not in line] == [], line
    assert not list(project.folder.glob("results/*/best"))
    assert [path.name for path in foreign.iterdir()] == ["export.json"]

    first, held, again, replaced, other, less = sweep.project.run_each(
        ["export", "x", *at, *there],
        ["export", "y", *at, *there],
        ["export", "x", *at, *there],
        ["export", "y", *at, *there, "--export-replace"],
        ["export", "damaged", *at],
        ["export", "x", *at, "--metric", "training_loss", "--mode", "min", "--scope", "last"],
    )
    assert first[0] == again[0] == replaced[0] == 0
    for word in (str(elsewhere), "holds the export of x", "--export-replace"):
        assert word in refusal(held)
    assert "Replaced the export of x" in again[1]
    assert "Replaced the export of x" in replaced[1]
    assert facts_in(elsewhere)[0]["experiment"] == "y"
    # Where the best checkpoint is damaged, the next best one is taken, and said.
    assert other[0] == 0, other
    assert "its files are not those that were saved" in other[1]
    assert "has no complete checkpoint: this is the best that was kept" in other[1]
    losses = {t.id: t.result["training_loss"] for t in sweep.experiment.trials()}
    facts, _ = facts_in(sweep.experiment.folder / "best")
    assert facts["trial"] == min(losses, key=lambda name: losses[name]), less
    assert (facts["metric"], facts["chosen_by"]["scope"]) == ("training_loss", "last")

    moved.write_text(moved.read_text().replace("yes", "no", 1))
    (changed,) = sweep.project.run_each(["export", "x", *at])
    assert "not the rows that x was run on" in refusal(changed)


def test_a_disk_that_fills_up_keeps_the_export_that_it_has(sweep: Sweep, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "2m") as disk:
        there = ["--export-path", disk.folder / "model"]
        ((code, said),) = sweep.project.run_each(["export", "x", *there])
        assert code == 0, said
        facts_in(disk.folder / "model")
        before = {path: path.read_bytes() for path in (disk.folder / "model").iterdir()}
        disk.fill()
        with disk.filler.open("r+b") as file:
            file.truncate(disk.filler.stat().st_size - 4096)  # enough for the probe
        line = refusal(sweep.project.run_each(["export", "x", *there])[0])
        assert "No space left" in line
        assert {path: path.read_bytes() for path in (disk.folder / "model").iterdir()} == before


def test_from_a_bucket_and_into_one(sweep: Sweep) -> None:
    """The table and the export of an experiment in a bucket are those of one in a folder."""
    with bucket(KEY, SECRET) as s3:
        for path in sweep.experiment.folder.rglob("*"):
            if path.is_file() and "best" not in path.parts:
                name = path.relative_to(sweep.project.folder / "results").as_posix()
                s3.client.put_object(Bucket=BUCKET, Key=f"team/{name}", Body=path.read_bytes())
        place = ["--storage-path", f"s3://{BUCKET}/team"]
        there, export, into, here = sweep.project.run_each(
            ["trials", "x", *place],
            ["export", "x", *place],
            ["export", "x", "--export-path", f"s3://{BUCKET}/current"],
            ["trials", "x"],
            **s3.env,
        )
        assert there == here
        assert export[0] == into[0] == 0, (export, into)
        downloaded = s3.download(sweep.project.folder / "bucket")
        facts, _ = facts_in(downloaded / "team/x/best")
        assert f"s3://{BUCKET}/team/x/best/{facts['files']['model']['file']}" in export[1]
        copy, _ = facts_in(downloaded / "current")
        assert copy["config"] == facts["config"]
        s3.gate.set("denied")
        unreachable = sweep.project.run_each(
            ["export", "x", "--export-path", f"s3://{BUCKET}/current"], **s3.env
        )
        assert "can't be written" in refusal(unreachable[0])


def test_the_table_of_trials(sweep: Sweep) -> None:
    """Each trial once, the best first, with what it failed of; whole, when it is not a terminal."""
    said = sweep.project.run("trials", "x")
    heading, names, *lines = said.splitlines()
    assert heading.startswith("x: trials failed; 4 trials, 3 completed, 1 failed; ranked by max of")
    trials = sorted(
        sweep.experiment.trials(), key=lambda trial: -trial.result["validation_accuracy"]
    )
    for trial, line in zip(trials, lines, strict=True):
        assert line.startswith(trial.id)
        for name, value in trial.result["config"].items():
            assert name == "seed" or (name in names and str(value) in line.split())
    assert "failed" in lines[0]
    assert lines[0].endswith("RuntimeError: the planted fault")
