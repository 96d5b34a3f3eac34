"""What a project says about its experiments, and where it keeps them: folders and buckets."""

import json
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import commit_all
from tests.faults.bucket import BUCKET, bucket
from tests.faults.kill import check_end, resume_command
from tests.faults.project import PACKAGE, Experiment, Project, using

pytestmark = pytest.mark.timeout(900)

SAMPLES, ITERATIONS = 4, 6
SWEEP = ("--num-samples", SAMPLES, "--max-iterations", ITERATIONS)
SMALL = ("--num-samples", 2, "--max-iterations", 4)
KEY, SECRET = "AKIAPLANTED", "planted7secret3key"
# Ends each trial after as many results as SWEEP does, if they are counted through a resume.
PATIENCE = ("--plateau-results", ITERATIONS, "--plateau-std", 100, "--max-iterations", 50)

# Extends x into a copy, and is killed in the middle, or with all but the record copied.
KILLED_WHILE_COPYING = """
import os, signal, sys
from ray_tune_experiment.harness.cli import main
from ray_tune_experiment.harness.store.record import Record
from ray_tune_experiment.harness.store.storage import Folder
from ray_tune_experiment.project import PROJECT
copy, copied = Folder.copy, []
def killed(*_):
    os.kill(os.getpid(), signal.SIGKILL)
def copy_some(self, *parts):
    copied.append(copy(self, *parts))
    if len(copied) == 3:
        killed()
if sys.argv[1] == "copy-of-some":
    Folder.copy = copy_some
else:
    Record.save = killed
extend = ["extend", "x", "--num-samples", "4", "--max-iterations", "6", "--into", "copy"]
main(PROJECT, extend)
"""

# Takes away what Ray saved last, after it has.
LOSES_THE_LAST_STATE = """
from pathlib import Path


def lose(self, trials, **info):
    place = trials[0].storage
    folder = Path(place.experiment_fs_path)
    for path in folder.glob("experiment_state-*"):
        path.write_bytes(path.read_bytes()[:100])
        (folder / "lost").touch()


FailureCallback.on_experiment_end = lose
"""


@pytest.fixture(scope="module")
def whole(
    installed: tuple[Path, Path],
    cluster: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Experiment]:
    """The sweep, undisturbed, in a folder."""
    with using(*installed, tmp_path_factory.mktemp("whole"), cluster=cluster) as undisturbed:
        undisturbed.run("run", "--name", "x", *SWEEP, "--max-concurrent-trials", 1)
        yield undisturbed.experiment("x")


def trained(project: Project) -> int:
    return sum(map(len, project.trace().values()))


def holding(secret: str, folder: Path) -> list[Path]:
    """The files below a folder that hold a text."""
    files = (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return [path for path in files if secret.encode() in path.read_bytes()]


def test_a_bucket(project: Project, whole: Experiment) -> None:
    """A sweep in a bucket: ended, resumed, listed, and no trace of the key. Patience lasts."""
    with bucket(KEY, SECRET) as s3:
        place = ("--storage-path", f"s3://{BUCKET}/team")
        words = ("run", "--name", "x", "--num-samples", SAMPLES, *PATIENCE, *place)
        both = [project.start(*words, env=s3.env, FAULT_SLEEP="1") for _ in range(2)]
        both[0].until(lambda: trained(project) >= 5 or any(r.process.poll() for r in both))
        run, refused = sorted(both, key=lambda run: run.process.poll() is not None)
        assert refused.wait() == 2, refused.said
        assert len(refused.said.splitlines()) == 1, refused.said
        run.until(lambda: trained(project) >= 5)
        run.kill(signal.SIGTERM)
        assert run.wait() == 143, run.said
        assert not run.gone(agents=False)
        command = resume_command(project, run.said)
        before = trained(project)
        said = project.run(*command, env=s3.env, FAULT_SLEEP="0")
        assert "Best of 4 trials" in said
        assert trained(project) > before
        reported, listed, shown, taken = project.run_each(
            *(("report", "x", *place), ("list", *place), ("show", "x", *place)),
            ("run", "--name", "x", *place),
            **s3.env,
        )
        assert reported[0] == 0, reported
        experiment = Experiment(s3.download(project.folder / "bucket") / "team/x")
        check_end(experiment, whole, ITERATIONS)
        assert "validation_accuracy" in (experiment.folder / "report.html").read_text()
        for index in range(SAMPLES):
            names = {path.name for path in experiment.trial_folder(index).iterdir()}
            assert {"progress.csv", "result.json", "stdout", "stderr", "model.skops"} <= names
        assert "x" in listed[1]
        assert "interrupted by SIGTERM" in shown[1]
        assert taken[0] == 2
        assert "exists already" in taken[1]
        more = ("--num-samples", SAMPLES + 1, "--into", "copy")
        said = project.run("extend", "x", *more, *place, env=s3.env, FAULT_SLEEP="0")
        assert "Best of 5 trials" in said
        copy = Experiment(s3.download(project.folder / "copies") / "team/copy")
        assert copy.record["parent"] == "x"
        assert {trial.status for trial in copy.trials()} == {"TERMINATED"}
        assert not {"half-a-copy", "run.lock"} & {path.name for path in copy.folder.iterdir()}
    assert not (project.folder / "results").exists()
    assert not holding(SECRET, project.folder)
    assert not holding(SECRET, project.scratch)


def test_a_key_in_the_storage_path(project: Project) -> None:
    """Ray would write it into its state: refused, and not repeated."""
    where = f"s3://{KEY}:{SECRET}@{BUCKET}/x"
    for words in (["run", f"--storage-path={where}"], ["list", "--storage-path", where]):
        (finding,) = project.run(*words, code=2).splitlines()
        assert finding.startswith("error: ")
        assert "AWS_SECRET_ACCESS_KEY" in finding
        assert SECRET not in finding
    (finding,) = project.run("check", code=2, EXPERIMENT_STORAGE_PATH=where).splitlines()
    assert SECRET not in finding
    assert not holding(SECRET, project.folder)
    assert not holding(SECRET, project.scratch)


@pytest.mark.more
@pytest.mark.shared_ray
def test_a_bucket_that_is_lost_for_a_while(project: Project, whole: Experiment) -> None:
    with bucket(KEY, SECRET) as s3:
        place = ("--storage-path", f"s3://{BUCKET}/team")
        run = project.start("run", "--name", "x", *SWEEP, *place, env=s3.env, FAULT_SLEEP="2")
        run.until(lambda: any("/seal.json" in name for name in s3.objects()))
        s3.gate.set("closed")
        before = {name: text for name, text in s3.objects().items() if "/checkpoint_" in name}
        assert run.wait(400) in (1, 2), run.said
        assert not run.gone(agents=False)
        assert f"s3://{BUCKET}/team" in run.said, run.said
        after = s3.objects()
        assert {name: after.get(name) for name in before} == before
        s3.gate.set("denied")
        start = time.monotonic()
        refused = project.run("run", "--name", "x", "--resume", *place, code=2, env=s3.env)
        assert time.monotonic() - start < 60
        assert len(refused.splitlines()) == 1, refused
        s3.gate.set("open")
        command = resume_command(project, run.said)
        project.run(*command, env=s3.env, FAULT_SLEEP="0")
        experiment = Experiment(s3.download(project.folder / "bucket") / "team/x")
        check_end(experiment, whole, ITERATIONS)


@pytest.mark.shared_ray
def test_names_and_what_changed(project: Project) -> None:
    """A shared folder as a URI, a data file of one's own, and every refusal of a name."""
    shared = project.folder / "shared"
    table = project.folder / "rows.csv"
    numbers = "".join(f"{i % 7},{i % 3},{i % 2}\n" for i in range(400))
    table.write_text("a,b,label\n" + numbers)
    place = ("--storage-path", f"file://{shared}")
    data = ("--data-path", table, "--target", "label")
    project.run("run", "--name", "morning", *SMALL, *place, *data)
    experiment = Experiment(shared / "morning")
    assert [trial.status for trial in experiment.trials()] == ["TERMINATED"] * 2
    before = trained(project)

    again = ("run", "--resume", "--name", "morning", *place)
    finished = project.run(*again)
    assert "finished" in finished
    assert f"{PACKAGE} extend morning" in finished
    refused = project.run_each(
        ("run", "--name", "morning", *place),
        ("run", "--resume", "--name", "mornign", *place),
        (*again, "--num-samples", 5),
    )
    assert [code for code, _ in refused] == [2, 2, 2]
    taken, absent, more = (said for _, said in refused)
    assert len((taken + absent).splitlines()) == 2
    assert "'morning'" in taken
    assert "exists already" in taken
    assert "no such experiment" in absent
    assert "did you mean morning?" in absent
    assert "NUM_SAMPLES" in more
    assert "extend" in more

    package = project.copy_source()
    space = package / "search_space.py"
    space.write_text(space.read_text().replace("1e-6, 1e-1", "1e-6, 1e-2"))
    table.write_text("a,b,label\n" + numbers[:-6])
    changes = ("--metric", "validation_log_loss", "--mode", "min")
    said = project.run(*again, *changes, code=2)
    findings = said.splitlines()
    assert all(line.startswith("error: ") for line in findings)
    for words in (
        ("search space: l2", "0.1", "0.01"),
        ("data: ", str(table)),
        ("METRIC", "validation_accuracy", "validation_log_loss"),
        ("MODE", "'max'", "'min'"),
    ):
        assert any(all(word in line for word in words) for line in findings), (words, said)
    assert trained(project) == before
    assert len(experiment.record["runs"]) == 1


@pytest.mark.shared_ray
def test_extend(project: Project, whole: Experiment) -> None:
    """More iterations and more samples, of the same trials or of a copy: as one longer run."""
    project.env["FAULT_SLEEP"] = "0"
    project.run("run", "--name", "x", *SMALL)
    first = project.experiment("x")
    ids = [trial.id for trial in first.trials()]
    untouched = snapshot(first.folder)

    for command in ("copy-of-some", "copy-of-all"):
        killed = project.start_program("-c", KILLED_WHILE_COPYING, command)
        assert killed.wait() == -signal.SIGKILL, killed.said
        assert (project.folder / "results/copy/half-a-copy").exists()
        assert "copy" not in project.run("list")
    (finding,) = project.run("run", "--name", "copy", code=2).splitlines()
    assert "an incomplete copy; the same `extend … --into copy` makes it again" in finding
    said = project.run("extend", "x", *SWEEP, "--into", "copy")
    assert not (project.folder / "results/copy/half-a-copy").exists()
    assert "Best of 4 trials" in said
    copy = project.experiment("copy")
    assert copy.record["parent"] == "x"
    check_end(copy, whole, ITERATIONS)
    assert snapshot(first.folder) == untouched
    assert "copy of x" in project.run("show", "copy")
    assert not (copy.folder / "run.lock").exists()
    epochs = project.trace().values()
    assert all(len(done) == ITERATIONS for done in epochs), epochs  # from the checkpoints
    assert writes_whole_files(copy), "also those that were sampled after the resume"

    project.run("extend", "x", "--max-iterations", ITERATIONS)
    assert [trial.iteration for trial in first.trials()] == [ITERATIONS] * 2
    said = project.run("extend", "x", "--num-samples", SAMPLES)
    check_end(first, whole, ITERATIONS)
    assert [trial.id for trial in first.trials()][:2] == ids
    refused = project.run_each(("extend", "x"), ("extend", "x", "--num-samples", 1))
    assert [code for code, _ in refused] == [2, 2]
    (no_limit,), (fewer,) = (said.splitlines() for _, said in refused)
    assert "--num-samples" in no_limit
    assert "can only grow" in fewer


def writes_whole_files(experiment: Experiment) -> bool:
    """Whether every trial has the storage in which a file is whole, or absent."""
    state = max(experiment.folder.glob("experiment_state-*"))
    trials = [json.loads(trial) for trial, _ in json.loads(state.read_text())["trial_data"]]
    return all(b"WholeFiles" in bytes.fromhex(trial["storage"]["value"]) for trial in trials)


def snapshot(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.mark.shared_ray
def test_a_last_state_that_did_not_arrive(project: Project) -> None:
    """Ray logs that the storage did not take its last state, and says no more."""
    callbacks = project.copy_source() / "callbacks.py"
    callbacks.write_text(callbacks.read_text() + LOSES_THE_LAST_STATE)
    project.run("run", "--name", "x", "--num-samples", 1, "--max-iterations", 2)
    experiment = project.experiment("x")
    assert (experiment.folder / "lost").exists()
    (state,) = experiment.folder.glob("experiment_state-*")
    assert len(json.loads(state.read_text())["trial_data"]) == 1
    assert [(trial.status, trial.iteration) for trial in experiment.trials()] == [("TERMINATED", 2)]
    assert "is finished" in project.run("run", "--name", "x", "--resume")


def test_provenance(project: Project) -> None:
    """experiment.json says what was run, `show` says how to do it again, and it is the same."""
    project.copy_source()
    shutil.copytree(project.source, project.folder, dirs_exist_ok=True)
    project.source = project.folder
    commit_all(project.folder)
    readme = project.folder / "README.md"
    readme.write_text(readme.read_text() + "\nA note that is not committed\n")
    (project.folder / ".env").write_text(f"EXPERIMENT_NUM_SAMPLES=3\nHIDDEN_TOKEN={SECRET}\n")
    experiment = project.experiment("x")
    env = {"EXPERIMENT_MAX_ITERATIONS": "5", "SOME_API_TOKEN": SECRET}
    run = project.start(
        "run", "--name", "x", "--seed", 7, "--stop", '{"time_total_s": 99}', env=env
    )
    run.until(lambda: (experiment.folder / "experiment.json").exists())
    assert trained(project) == 0
    early = experiment.record
    assert early["runs"][0]["outcome"] == "running"
    run.until(lambda: trained(project) >= 1)
    assert run.listening() <= {"127.0.0.1", "::1"}
    assert run.wait() == 0, run.said
    assert not run.gone(agents=False)

    record = experiment.record
    (only,) = record["runs"]
    assert {**early["runs"][0], "end": 0, "outcome": 0}.items() <= {
        **only,
        "end": 0,
        "outcome": 0,
    }.items()
    origins = {name: entry["origin"] for name, entry in record["settings"].items()}
    expected = {"seed": "flag", "max_iterations": "environment", "num_samples": ".env"}
    assert {**origins, **expected} == origins
    assert origins["metric"] == "default"
    assert record["settings"]["seed"]["value"] == 7
    assert record["settings"]["stop"]["value"] == {"time_total_s": 99}
    assert set(record["search_space"]) == {"hidden_units", "learning_rate", "l2", "batch_size"}
    assert only["outcome"] == "done"
    assert only["start"] < only["end"] or only["start"] == only["end"]
    assert only["packages"]["ray"]
    assert only["packages"]["scikit-learn"]
    assert only["python"].count(".") == 2
    assert only["host"]["name"]
    assert only["resources"]["CPU"] >= 1
    assert only["git"]["dirty"]
    assert len(only["git"]["commit"]) == 40
    assert "A note that is not committed" in (experiment.folder / only["git"]["diff"]).read_text()

    assert "x" in project.run("list")
    shown = project.run("show", "x")
    assert only["git"]["commit"][:12] in shown
    (again,) = [words for words in project.commands(shown) if "…" in words]
    again[again.index("…")] = "again"
    (project.folder / ".env").unlink()
    project.run(*again, FAULT_SLEEP="0")
    assert project.experiment("again").metrics() == experiment.metrics()
    configurations = [trial.result["config"] for trial in experiment.trials()]
    assert [t.result["config"] for t in project.experiment("again").trials()] == configurations

    (absent,) = project.run("show", "y", code=2).splitlines()
    assert "no such experiment" in absent
    assert not holding(SECRET, project.folder / "results")
    assert not holding(SECRET, project.scratch)


@pytest.mark.shared_ray
def test_resources_that_no_node_has(project: Project) -> None:
    wanted = ("--num-samples", 1, "--resources-per-trial", json.dumps({"cpu": 1, "rare": 1}))
    run = project.start("run", "--name", "x", *wanted)
    assert run.wait() == 2, run.said
    assert not run.gone(agents=False)
    last = run.said.splitlines()[-1]
    assert last.startswith("error: ")
    assert "rare" in last
    assert "WAIT_FOR_RESOURCES" in last
    assert "Traceback" not in run.said
    assert not (project.folder / "results/x").exists()

    run = project.start("run", "--name", "x", *wanted, EXPERIMENT_WAIT_FOR_RESOURCES="true")
    experiment = project.experiment("x")
    run.until(lambda: list(experiment.folder.glob("experiment_state-*.json")))
    run.kill(signal.SIGINT)
    assert run.wait() == 130, run.said
    assert not run.gone(agents=False)
    assert experiment.trials()[0].status != "ERROR"


def test_preflight_finds_everything_at_once(project: Project) -> None:
    package = project.copy_source()
    space = package / "search_space.py"
    zero = space.read_text().replace("[16, 32, 64, 128]", "[0, 16]")
    space.write_text(zero.replace("return {", 'return {"table": bytes(2_000_000), ', 1))
    taken = project.folder / "results/x"
    taken.mkdir(parents=True)
    (taken / "notes.txt").write_text("somebody's\n")
    env = {"EXPERIMENT_MIN_FREE_GB": "1000000", "EXPERIMENT_NAME": "x"}
    for code, said in project.run_each(["check"], ["run"], **env):
        assert code == 2
        findings = said.splitlines()
        assert all(line.startswith("error: ") for line in findings), said
        for word in (
            *("MIN_FREE_GB=1e+06", "'x': there is a folder of that name", "hidden_units=0"),
            "search space: 2 MB would go to the workers",
        ):
            assert sum(word in line for line in findings) == 1, (word, said)
        assert len(findings) == 4
        assert max(map(len, findings)) < 300
    space.write_text(zero)
    data = ("--data-path", project.folder / "none.csv", "--target", "label")
    file = project.folder / "file"
    file.write_text("")
    refused = project.run_each(
        ("check", *data),
        ("check", "--storage-path", file / "below", "--no-check-search-space"),
        ("check", "--storage-path", "nfs://host/x", "--no-check-search-space"),
    )
    assert [code for code, _ in refused] == [2, 2, 2]
    (unreadable,), (below,), (nfs,) = (said.splitlines() for _, said in refused)
    assert "DATA_PATH" in unreadable
    for finding, reason in ((below, "Not a directory"), (nfs, "nfs")):
        assert "STORAGE_PATH" in finding
        assert reason in finding
    assert not trained(project)
    left = sorted(path.name for path in project.folder.rglob("*"))
    assert left == ["file", "notes.txt", "results", "x"]
    assert "No experiment in" in project.run("list")
